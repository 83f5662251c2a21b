"""The classifier as scikit-learn has classifiers: what goes in, what comes out, and how it is kept."""

import logging
import math
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline

import mtl
from mtl import FewShotClassifier
from mtl.cli import main
from mtl.config import Runtime, read_config, to_dict
from mtl.own_images.classifier import fit_classifier
from mtl.own_images.embedder import Embedder, embedder_of_run
from mtl.own_images.support import Support
from mtl.runtime.run_folder import RunFolder

SUPPORT, EACH = 5, 12  # images a class that are learned from, and all


@pytest.fixture(scope="module")
def things(image_root):
    """Paths and names of three classes that no training has seen: first those to learn from, then others."""
    folders = sorted((image_root / "test").iterdir())[:3]
    files = [sorted(folder.iterdir()) for folder in folders]
    first, rest = [f for fs in files for f in fs[:SUPPORT]], [f for fs in files for f in fs[SUPPORT:]]
    return first, [f.parent.name for f in first], rest, [f.parent.name for f in rest]


@pytest.fixture(scope="module")
def unfitted(whole_run):
    return FewShotClassifier.load(whole_run.path, device="cpu")


@pytest.fixture
def learned(unfitted, things):
    """Fitted to three classes."""
    return clone(unfitted).fit(*things[:2])


def pixels(paths):
    return np.stack([np.array(Image.open(path)) for path in paths])


def test_it_answers_as_the_classifier_below_it(learned, things, whole_run):
    paths, names, more, truth = things
    embedder = embedder_of_run(whole_run.path, Runtime(device="cpu", keep_memory=False))

    support, query = (embedder(torch.from_numpy(pixels(files)[:, None])) for files in (paths, more))
    below = fit_classifier(embedder, Support.of(support, names, names)).answer(query, open_set=True)
    found = learned.predict_proba(more)
    assert (found.shape, found.dtype) == ((len(more), 3), np.float64)
    np.testing.assert_allclose(found, below.probabilities.numpy(), atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1)
    np.testing.assert_allclose(learned.predict_none_proba(more), below.none.numpy(), atol=1e-6)
    assert learned.classes_.tolist() == sorted(set(names))
    answers = learned.predict(more)
    assert answers.tolist() == learned.classes_[found.argmax(1)].tolist()
    assert learned.score(more, truth) == np.mean(answers == np.array(truth))
    assert learned.score(more, truth) > 0.5
    assert learned.fitted_.support.files == tuple(map(str, paths))


def test_the_form_of_images_makes_no_difference(learned, things):
    wanted = learned.predict_proba(things[2])
    forms = [
        np.array(list(map(str, things[2]))),
        [Image.open(path) for path in things[2]],
        pixels(things[2]),
        np.stack([pixels(things[2])] * 3, -1),
    ]
    for form in forms:
        np.testing.assert_allclose(learned.predict_proba(form), wanted, atol=1e-6)
    again = clone(learned).fit(pixels(things[0]), np.array(things[1]))
    np.testing.assert_allclose(again.predict_proba(things[2]), wanted, atol=1e-6)
    assert again.fitted_.support.files[3] == "image 3"


LABELS = {
    "texts": np.array(["b", "ü", "a\nb"]),
    "texts as objects": np.array(["b", "ü", "a"], dtype=object),
    "integers": np.array([10, 9, -1]),  # as texts they would be in another order
    "small integers": np.array([200, 3, 40], dtype=np.uint8),
    "large integers": np.array([2**63 + 1, 1, 2], dtype=np.uint64),
    "single precision": np.array([16_777_216, 1, 2], dtype=np.float32),
    "numbers": np.array([2.0, 10.0, -3.0]),
    "bools": np.array([True, False, False]),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_labels_are_what_they_were_also_after_keeping(learned, things, labels, tmp_path):
    names = sorted(set(things[1]))
    made = clone(learned).fit(things[0], [labels[names.index(name)] for name in things[1]])
    assert made.classes_.tolist() == sorted(set(labels.tolist()))
    answers, shares = made.predict(things[2]), made.predict_proba(things[2])
    assert answers.tolist() == made.classes_[shares.argmax(1)].tolist()
    if len(set(labels.tolist())) == 3:
        texts = learned.predict(things[2]).tolist()
        assert answers.tolist() == [labels[names.index(name)] for name in texts]
        np.testing.assert_allclose(
            shares[:, np.argsort(np.argsort(labels))], learned.predict_proba(things[2]), atol=1e-6
        )
    made.save(tmp_path / "things.fewshot")
    kept = FewShotClassifier.load(tmp_path / "things.fewshot", device="cpu")
    assert kept.classes_.tolist() == made.classes_.tolist()
    assert kept.classes_.dtype == made.classes_.dtype or made.classes_.dtype.kind == "O"
    assert kept.predict(things[2]).tolist() == answers.tolist()
    assert np.array_equal(kept.predict_proba(things[2]), shares)


def test_a_kept_classifier_is_fitted_again_without_its_run(learned, things, tmp_path):
    learned.save(tmp_path / "things.fewshot")
    kept = FewShotClassifier.load(tmp_path / "things.fewshot", device="cpu")
    with pytest.raises(NotFittedError):
        clone(kept).predict(things[2])
    again = clone(kept).fit(*things[:2])
    assert np.array_equal(again.predict_proba(things[2]), learned.predict_proba(things[2]))


def test_scikit_learns_tools_take_paths(unfitted, things):
    paths, names = things[0] + things[2], things[1] + things[3]
    scores = cross_val_score(unfitted, paths, names, cv=3)
    assert scores.shape == (3,)
    assert np.array_equal(scores, cross_val_score(unfitted, np.array(paths), np.array(names), cv=3))
    assert scores.mean() > 0.5
    searched = GridSearchCV(unfitted, {}, cv=2).fit(paths, names)
    with pytest.warns(UserWarning, match="4 of the 4 images are support images"):
        assert searched.predict(paths[:4]).shape == (4,)
    whole = Pipeline([("classify", clone(unfitted))]).fit(*things[:2])
    assert whole.predict_proba(things[2][:4]).shape == (4, 3)
    assert whole.score(*things[2:]) == clone(unfitted).fit(*things[:2]).score(*things[2:])


def test_a_fitted_one_is_not_pickled_but_one_to_be_fitted_is(learned, unfitted):
    with pytest.raises(TypeError, match=r"not pickled or copied; save\(\) and load\(\) keep it"):
        pickle.dumps(learned)
    assert pickle.loads(pickle.dumps(unfitted)).get_params() == unfitted.get_params()


def test_only_so_many_images_are_held_at_once(learned, things, monkeypatch):
    asked, embed = [], Embedder.__call__

    def noting(self, images):
        asked.append(len(images))
        return embed(self, images)

    monkeypatch.setattr(Embedder, "__call__", noting)
    monkeypatch.setattr(Embedder, "images_at_once", 4)
    for images in (things[2], pixels(things[2])):
        asked.clear()
        learned.predict(images)
        assert (max(asked), sum(asked)) == (4, len(things[2]))


def test_images_of_none_of_the_classes_are_told(learned, things, image_root):
    strange = sorted((image_root / "train" / "train 03").iterdir())[:6] + things[2]
    none = learned.predict_none_proba(strange)
    plain = learned.predict(strange)
    learned.set_params(open_set=True)
    answers = learned.predict(strange)
    assert answers.tolist() == np.where(none > 0.5, "none of these", plain).tolist()
    assert 0 < np.sum(answers == "none of these") < len(strange)
    np.testing.assert_allclose(learned.predict_proba(strange).sum(1), 1)  # if it is one of them
    numbers = clone(learned).fit(things[0], [{"0": 7, "1": 8, "2": 9}[name[-1]] for name in things[1]])
    assert numbers.predict(strange).dtype.kind == "i"
    assert np.array_equal(numbers.predict(strange) == -1, none > 0.5)


@pytest.mark.parametrize(
    "labels", [["none of these", "a", "b"], [-1, 0, 1], [-1.0, 0.0, 1.0], [True, False, True]], ids=str
)
def test_a_label_that_is_the_answer_itself_is_refused(learned, things, labels):
    given = [labels[i // SUPPORT] for i in range(3 * SUPPORT)]
    made = clone(learned).fit(things[0], given)
    for ask in (made.set_params(open_set=True).predict, lambda x: made.fit(x, given)):
        with pytest.raises(ValueError, match="open_set: labels must be texts or numbers, none of them"):
            ask(things[0])


def test_one_image_a_class_does_not_tell_unlike_ones(unfitted, things):
    some = slice(None, None, SUPPORT)
    made = clone(unfitted).fit(things[0][some], things[1][some])
    assert made.predict(things[2]).shape == (len(things[2]),)
    with pytest.raises(ValueError, match="no class has two different images"):
        made.predict_none_proba(things[2])
    with pytest.raises(ValueError, match="open_set: needs a class with two images"):
        made.set_params(open_set=True).predict(things[2])
    refused = clone(made)
    with pytest.raises(ValueError, match="open_set: needs a class with two images"):
        refused.fit(things[0][some], things[1][some])
    with pytest.raises(NotFittedError):
        refused.predict(things[2])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "requires y to be passed"),
        (["a"] * 14, "inconsistent numbers of samples"),
        (["a"] * 15, "labels are of 1 class;"),
        ([f"{i / 7}" for i in range(14)] + [None], "labels are object; they must be all texts"),
        (np.linspace(0, 1, 15), "Unknown label type: labels are continuous; numbers must be whole"),
        ([["a", "b"]] * 15, "1d array"),
        (np.array([b"a", b"b", b"c"] * 5), r"labels are \|S1; they must be all texts"),
        (np.array(["a", 1, "b"] * 5, dtype=object), "labels are object; they must be all texts"),
        ([1.0, np.nan, 2.0] * 5, "NaN"),
    ],
    ids=["none", "too few", "one class", "one missing", "continuous", "two columns", "bytes", "mixed", "nan"],
)
def test_labels_of_no_use_are_refused(unfitted, things, labels, message):
    with pytest.raises(ValueError, match=message):
        clone(unfitted).fit(things[0], labels)


def test_images_of_no_use_are_refused(learned, things, tmp_path):
    with pytest.raises(ValueError, match="images are a sequence of paths"):
        learned.predict(str(things[0][0]))
    with pytest.raises(ValueError, match="one image is given alone"):
        learned.predict(np.zeros((64, 64, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        learned.predict([])
    (tmp_path / "a.png").write_text("no picture")
    paths = [*things[0][:-1], tmp_path / "a.png"]
    for ask in (learned.predict, learned.predict_proba, lambda x: learned.fit(x, things[1])):
        with pytest.raises(ValueError, match=r"a\.png: is not a readable image"):
            ask(paths)
    with pytest.raises(ValueError, match=r"none\.png: is not a readable image \(there is no such file"):
        learned.predict([tmp_path / "none.png"])


def test_a_run_of_no_use_is_refused(unfitted, things, whole_run, tmp_path):
    with pytest.raises(ValueError, match="is not a folder of a run"):
        FewShotClassifier.load(tmp_path)
    with pytest.raises(ValueError, match="is not a folder of a run"):
        FewShotClassifier(run=tmp_path / "none").fit(*things[:2])
    (tmp_path / "a.fewshot").write_text("no classifier")
    with pytest.raises(ValueError, match="is not a classifier, or was cut short or changed"):
        FewShotClassifier.load(tmp_path / "a.fewshot")
    with pytest.raises(ValueError, match="device: 'gpu' is not allowed; allowed are auto, cpu"):
        FewShotClassifier(run=whole_run.path, device="gpu").fit(*things[:2])
    tree = to_dict(whole_run.read_config())
    tree["meta"]["batch_norm"], tree["hard_tasks"] = "episode", {"sampler": "uniform"}
    RunFolder(tmp_path / "episodes").write_config(read_config(tree, "test"))
    with pytest.raises(ValueError, match="whose answers depend on whole episodes"):
        FewShotClassifier(run=tmp_path / "episodes").fit(*things[:2])


def test_where_it_cannot_be_kept_is_said(unfitted, learned, tmp_path):
    with pytest.raises(NotFittedError):
        unfitted.save(tmp_path / "a.fewshot")
    with pytest.raises(ValueError, match=r"the folder .*nowhere does not exist"):
        learned.save(tmp_path / "nowhere" / "a.fewshot")
    with pytest.raises(ValueError, match="is a folder"):
        learned.save(tmp_path)
    learned.save(tmp_path / "a.fewshot")
    learned.save(tmp_path / "a.fewshot")  # what is there is replaced
    assert [path.name for path in tmp_path.iterdir()] == ["a.fewshot"]


def test_the_package_loads_it_when_it_is_asked_for():
    code = "import mtl, sys; assert not {'torch', 'sklearn', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert mtl.FewShotClassifier is FewShotClassifier
    with pytest.raises(AttributeError, match="module 'mtl' has no attribute 'FewShot'"):
        _ = mtl.FewShot


def test_images_that_it_was_fitted_to_are_no_part_of_the_score(learned, things):
    paths, names, more, truth = things
    wanted = learned.score(more, truth)
    with pytest.warns(UserWarning, match=f"{len(paths)} of the {len(paths) + len(more)} images are support"):
        assert learned.score([*paths, *more], ["wrong"] * len(paths) + truth) == wanted
    with pytest.warns(UserWarning, match="2 of the 2 images are support images"):
        assert math.isnan(learned.score(pixels(paths[:2]), names[:2]))
    with pytest.warns(UserWarning, match="1 of the 3 images are support images"):
        learned.predict([*more[:2], paths[0]])
    weights = np.r_[5, np.arange(len(more))]
    with pytest.warns(UserWarning, match="1 of the 22 images"):
        found = learned.score([paths[0], *more], [names[0], *truth], weights)
    assert found == pytest.approx(np.average(learned.predict(more) == np.array(truth), weights=weights[1:]))


def test_a_kept_classifier_knows_its_images_and_their_views(unfitted, things, tmp_path):
    paths, names, more, _ = things
    copies = [np.array(Image.open(path)) for path in paths]
    copies = np.stack([*copies, *(np.clip(x.astype(int) + 3, 0, 255).astype(np.uint8) for x in copies[:2])])
    learned = clone(unfitted).fit(copies, [*names, *names[:2]])
    assert learned.views_.tolist() == [*range(len(paths)), 0, 1]
    learned.save(tmp_path / "kept.fewshot")
    kept = FewShotClassifier.load(tmp_path / "kept.fewshot")
    assert kept.views_.tolist() == learned.views_.tolist()
    with pytest.warns(UserWarning, match="1 of the 2 images"):
        kept.predict([paths[3], more[0]])


pytestmark = pytest.mark.filterwarnings("ignore:.* support images")


@pytest.fixture(scope="module")
def pictures(image_root):
    """Four pictures of each of three classes."""
    folders = sorted((image_root / "test").iterdir())[:3]
    return [file for folder in folders for file in sorted(folder.iterdir())[:4]]


@pytest.fixture
def classifier(whole_run):
    return FewShotClassifier(whole_run.path, device="cpu")


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
