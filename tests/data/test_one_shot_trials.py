"""Archives of trials are read as published, and whatever is wrong in one is a sentence."""

import numpy as np
import pytest
from made_trials import made_trials, zipped

from mtl.data.one_shot_trials import read_trials
from mtl.errors import UserError


@pytest.mark.parametrize("top", ["", "all_runs/"])
@pytest.mark.parametrize("unpacked", [False, True])
def test_an_archive_and_a_folder_are_read_alike(tmp_path, top, unpacked):
    files = made_trials(top=top)
    names = (f"__MACOSX/{top}run01/training/._class01.png", "../../run09/test/evil.png", "read.me")
    if unpacked:
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        (tmp_path / "other.txt").touch()
    place = tmp_path if unpacked else zipped(tmp_path / "all_runs.zip", files | dict.fromkeys(names, b"x"))
    runs = read_trials(place)
    assert [run.name for run in runs] == ["run01", "run02", "run03"]
    for run in runs:
        assert len(run.training) == len(run.test) == 5
        assert sorted(run.labels) == [0, 1, 2, 3, 4]
        labels = files[f"{top}{run.name}/class_labels.txt"].decode().split()[1::2]
        assert run.labels == tuple(int(label[-6:-4]) - 1 for label in labels)
        assert all(image.size == (105, 105) for image in (*run.training, *run.test))
    for (
        run
    ) in runs:  # the drawings are those that the labels name: the nearest ones, as they are hardly moved
        pixels = [np.asarray(image, dtype=float) for image in (*run.training, *run.test)]
        distances = [[np.abs(query - one).sum() for one in pixels[:5]] for query in pixels[5:]]
        assert np.mean(np.argmin(distances, 1) == run.labels) > 0.5


LABELS = "run02/class_labels.txt"
TWICE = b"".join(b"run02/test/item01.png run02/training/class0%d.png\n" % i for i in (1, 2))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.clear(), "holds 0 runs"),
        (lambda f: [f.pop(n) for n in [*f] if n[:5] in {"run01", "run03"}], "holds 1 run,"),
        (lambda f: f.pop(LABELS), f"{LABELS} is missing"),
        (lambda f: f.update({LABELS: f[LABELS].replace(b"class05", b"class06")}), "06.png is no training"),
        (lambda f: f.update({LABELS: f[LABELS].replace(b"item05", b"item06")}), "5: .*06.png is no test"),
        (lambda f: f.update({LABELS: f[LABELS].replace(b" ", b"\n", 1)}), "line 1: must be a test file"),
        (lambda f: f.update({LABELS: b"\n".join(f[LABELS].splitlines()[1:])}), "item01.png: has no line"),
        (lambda f: f.update({LABELS: f[LABELS].splitlines()[0] + b" x"}), "line 1: must be"),
        (lambda f: f.update({LABELS: f[LABELS] + TWICE}), "only training file"),
        (lambda f: [f.pop(n) for n in [*f] if n.startswith("run02/training")], "run02 has 0 pictures"),
        (lambda f: [f.pop(n) for n in [*f] if n.startswith("run02/test")], "and 0 in test"),
        (lambda f: f.update({"run03/test/item02.png": b"no picture"}), "02.png: is not a readable"),
        (lambda f: f.update({"run03/test/item02.png": b"\0" * (1 << 21)}), "more than 1,048,576 bytes"),
        (lambda f: f.update({"twice/run01/test/item01.png": b""}), "run01/test/item01.png is there twice"),
        (lambda f: f.update({f"{n}": b"" for n in range(5000)}), "more than any archive"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_an_archive_is_a_sentence(tmp_path, change, words):
    files = made_trials()
    change(files)
    with pytest.raises(UserError, match=words) as caught:
        read_trials(zipped(tmp_path / "x.zip", files))
    assert "x.zip: " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut short", b"text"])
def test_what_is_no_archive_is_a_sentence(tmp_path, content):
    if content is not None:
        (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.zip (is not there|cannot)|x\.zip: cannot be read"):
        read_trials(tmp_path / "x.zip")


def test_a_damaged_or_locked_file_in_an_archive_is_a_sentence(tmp_path):
    place = zipped(tmp_path / "x.zip", made_trials())
    content = place.read_bytes()
    start = content.index(b"run01/training/class01.png") + 60
    place.write_bytes(content[:start] + b"\xff" * 40 + content[start + 40 :])
    with pytest.raises(UserError, match=r"class01.png cannot be unpacked"):
        read_trials(place)
    locked = bytearray(content)
    for head, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := locked.find(head, at + 1)) >= 0:
            locked[at + flags] |= 1
    place.write_bytes(bytes(locked))
    with pytest.raises(UserError, match=r"cannot be unpacked.*password"):
        read_trials(place)
