"""Figures come into files whole or not at all, and names stay on one line."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image
from scipy.optimize import isotonic_regression

from mtl.errors import UserError
from mtl.runtime.figure_files import save_png, short, spread, write


def test_a_figure_with_names_that_no_font_has_becomes_a_png(tmp_path):
    figure = Figure(figsize=(2, 1), dpi=50)
    figure.text(0.5, 0.5, "𐎀 $x_1$", parse_math=False)
    save_png(figure, tmp_path / "new" / "a.png")
    with Image.open(tmp_path / "new" / "a.png") as image:
        assert (image.format, image.size) == ("PNG", (100, 50))
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.png"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.png"
    write(path, lambda target: target.write_bytes(b"whole"))
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]

    def fail(target):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"a\.png: the picture cannot be written \(No space left on device\)"):
        write(path, fail)
    assert path.read_bytes() == b"whole"
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"b\.png: the picture cannot be written \("):
        write(tmp_path / "file" / "b.png", lambda target: target.touch())


def test_a_long_name_loses_its_middle():
    assert short("exactly ten", 11) == "exactly ten"
    assert short("one too many", 11) == "one t… many"
    assert short("a\nb", 9) == "a�b"
    assert all(len(short("n" * 50, most)) <= most for most in range(3, 60))


@settings(max_examples=100, deadline=None)
@given(at=st.lists(st.floats(-5, 5), min_size=1, max_size=25), gap=st.floats(0.01, 1))
def test_labels_are_moved_as_little_as_can_be(at, gap):
    at = sorted(at)
    found = np.array(spread(at, gap, -1e6, 1e6))
    offsets = gap * np.arange(len(at))
    assert np.allclose(found - offsets, isotonic_regression(np.array(at) - offsets).x, atol=1e-9)
    assert (np.diff(found) >= gap - 1e-9).all()


def test_labels_stay_within_the_axes_where_they_fit():
    assert spread([0.9, 0.95, 1.0], 0.2, 0.0, 1.0) == pytest.approx([0.6, 0.8, 1.0])
    assert spread([0.0, 0.0, 1.0], 0.2, 0.0, 1.0) == pytest.approx([0.0, 0.2, 1.0])
