"""What the estimator does with labels and grey values that programs have, through fit, save and load."""

import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from mtl import FewShotClassifier
from mtl.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:.* support images")


@pytest.fixture(scope="module")
def pictures(image_root):
    """Four pictures of each of three classes."""
    folders = sorted((image_root / "test").iterdir())[:3]
    return [file for folder in folders for file in sorted(folder.iterdir())[:4]]


@pytest.fixture
def classifier(whole_run):
    return FewShotClassifier(whole_run.path, device="cpu")


@pytest.mark.parametrize(
    "labels",
    [
        np.repeat(np.array([2**63 + 1, 1, 2], dtype=np.uint64), 4),
        [label for label in (2**63 + 1, 1, 2) for _ in range(4)],
        np.repeat(np.array([16_777_216, 1, 2], dtype=np.float32), 4),
        np.repeat(np.array([-3, 0, 100], dtype=np.int8), 4),
        np.repeat(["b", "a", "c"], 4),
    ],
)
def test_labels_come_back_from_a_file_as_they_were(classifier, pictures, labels, tmp_path):
    before = classifier.fit(pictures, labels)
    answers = before.predict(pictures)
    before.save(tmp_path / "a.fewshot")
    after = FewShotClassifier.load(tmp_path / "a.fewshot", device="cpu")
    assert after.classes_.dtype == before.classes_.dtype
    assert after.classes_.tolist() == sorted(set(np.asarray(labels, dtype=object).tolist()))
    assert after.predict(pictures).tolist() == answers.tolist()


def test_unsigned_labels_leave_room_for_none_of_them(whole_run, pictures):
    classifier = FewShotClassifier(whole_run.path, open_set=True, device="cpu")
    found = classifier.fit(pictures, np.repeat(np.array([7, 8, 9], dtype=np.uint8), 4)).predict(pictures)
    assert found.dtype == np.int64
    assert set(found.tolist()) <= {-1, 7, 8, 9}
    with pytest.raises(ValueError, match="open_set"):
        classifier.fit(pictures, np.repeat(np.array([7, 8, 2**63 + 1], dtype=np.uint64), 4))


def test_labels_that_look_the_same_are_refused_or_told(classifier, pictures, caplog):
    with pytest.raises(ValueError, match="Unicode forms"):
        classifier.fit(pictures, np.repeat(["caf\u00e9", "cafe\u0301", "elm"], 4))
    with caplog.at_level(logging.WARNING):
        classifier.fit(pictures, np.repeat(["Dog", "dog", "elm"], 4))
    assert '"Dog", "dog"' in caplog.text


def test_one_colour_array_alone_is_refused(classifier, pictures):
    fitted = classifier.fit(pictures, np.repeat(["a", "b", "c"], 4))
    with pytest.raises(ValueError, match="one image is given alone"):
        fitted.predict(np.zeros((64, 64, 3), dtype=np.uint8))


def deep(file, most):
    """A picture of 8 bits in 16, of which `most` is white."""
    return Image.fromarray((np.asarray(Image.open(file)).astype(np.int64) * most // 255).astype(np.uint16))


@pytest.mark.parametrize("most", [255, 4080])
def test_deep_grey_is_answered_as_eight_bits_are(classifier, pictures, most, tmp_path, caplog):
    labels = np.repeat(["a", "b", "c"], 4)
    wanted = classifier.fit(pictures, labels).predict_proba(pictures)
    files = [tmp_path / f"{i}.tif" for i in range(len(pictures))]
    for file, source in zip(files, pictures, strict=True):
        deep(source, most).save(file)
    for images in (files, [deep(file, most) for file in pictures]):
        with caplog.at_level(logging.WARNING):
            fitted = classifier.fit(images, labels)
        assert "stretched" in caplog.text
        np.testing.assert_allclose(fitted.predict_proba(images), wanted, atol=0.03)
        np.testing.assert_allclose(
            fitted.predict_proba(images[:1]), wanted[:1], atol=0.03
        )  # as it was fitted


def test_support_and_query_have_one_white(whole_run, pictures, tmp_path, capsys):
    for i, file in enumerate(pictures):
        (tmp_path / "things" / "abc"[i // 4]).mkdir(parents=True, exist_ok=True)
        deep(file, 4080).save(tmp_path / "things" / "abc"[i // 4] / f"{i}.tif")
    (tmp_path / "new").mkdir()
    dark = np.asarray(deep(pictures[0], 4080)) // 20  # dark, not of 8 bits
    Image.fromarray(dark.astype(np.uint16)).save(tmp_path / "new" / "dark.tif")
    kept, out = tmp_path / "a.fewshot", tmp_path / "a.csv"
    source = ["--run", str(whole_run.path), "--support", str(tmp_path / "things")]
    assert main(["fit", *source, "--out", str(kept), "-q"]) == 0
    assert "4,095 is white" in capsys.readouterr().err
    assert FewShotClassifier.load(kept, device="cpu").fitted_.embedder.preparation.levels == 4095
    query = ["--query", str(tmp_path / "new"), "--out", str(out), "-q", "--overwrite"]
    assert main(["predict", "--classifier", str(kept), *query]) == 0
    assert "stretched" not in capsys.readouterr().err
    shutil.rmtree(tmp_path / "new")
    (tmp_path / "new").mkdir()
    Image.fromarray(np.full((16, 16), 60_000, dtype=np.uint16)).save(tmp_path / "new" / "bright.tif")
    assert main(["predict", "--classifier", str(kept), *query]) == 0
    assert "beyond 4,095" in capsys.readouterr().err
