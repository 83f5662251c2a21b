"""Which paths lie on a network file system."""

import pytest

from mtl.runtime.file_system import network_kind

_TABLE = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /mnt/a\040b rw shared:2 - nfs4 host:/export rw,vers=4.2
31 30 0:41 / /mnt/a\040b/local rw - xfs /dev/vdb rw
32 22 0:42 / /mnt/over rw - ext4 /dev/vdc rw
33 32 0:43 / /mnt/over rw - cifs //host/share rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/x", None),
        ("/mnt/a b", "nfs4"),
        ("/mnt/a b/run/hard_tasks.sqlite", "nfs4"),
        ("/mnt/a bc/x", None),
        ("/mnt/a b/local/x", None),
        ("/mnt/over/x", "cifs"),
    ],
)
def test_the_mount_that_is_nearest_counts(tmp_path, path, kind):
    table = tmp_path / "mountinfo"
    table.write_text(_TABLE)
    assert network_kind(path, table) == kind


def test_without_a_table_nothing_is_known(tmp_path):
    assert network_kind(tmp_path, tmp_path / "mountinfo") is None
