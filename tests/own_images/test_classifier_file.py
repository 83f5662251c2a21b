"""A classifier as a file: what comes back is what was written, and nothing else passes for one."""

import json
import os
import pickle
import re
import struct
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_classifiers import HEADS, embedder, fitted, images
from safetensors import safe_open
from safetensors.torch import save_file

from mtl.config import Head, Runtime
from mtl.data.ink import Ink
from mtl.data.variants import Moves, Variants
from mtl.errors import UserError
from mtl.own_images import classifier_file as file

DAMAGED = "is not a classifier, or was cut short or changed"
DEVICES = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
RUNTIME = Runtime(device="cpu", keep_memory=False)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The file of a small classifier, for tests that only read it or copy it."""
    path = tmp_path_factory.mktemp("classifiers") / "trees.fewshot"
    file.save(fitted(embedder()), path)
    return path


def refused(path) -> str:
    """The sentence with which a file is refused."""
    with pytest.raises(UserError) as caught:
        file.load(path, RUNTIME)
    told = str(caught.value)
    assert told.startswith(str(path))
    assert "\n" not in told
    return told


@pytest.mark.parametrize(
    ("name", "how"),
    [(f"conv4 {name}", {"head": head}) for name, head in HEADS.items()]
    + [
        ("conv4 learned start", {"head": Head(init="learned", inner_steps=2)}),
        ("conv4 levels", {"head": Head(levels=2, map="linear", power=0.5), "train": "all"}),
        ("conv4 colour", {"channels": 3, "variants": Variants(True, 1.3, Moves(rotate=5))}),
        ("conv4 untrained", {"train": "head"}),
        ("conv4 learners", {"learners": 3}),
        (
            "conv4 learners that share a backbone",
            {"learners": 2, "train": "head", "head": Head(map="linear")},
        ),
        ("conv4 bfloat16", {"precision": "bfloat16"}),
        ("resnet12 ss", {}),
        ("resnet12 all", {"train": "all"}),
        ("resnet12 ss_affine", {"train": "ss_affine", "size": 32}),
    ],
)
def test_answers_are_the_same_to_the_last_bit(name, how, tmp_path):
    before = fitted(embedder(name.split()[0], **how))
    file.save(before, tmp_path / "a.fewshot")
    after = file.load(tmp_path / "a.fewshot", RUNTIME)
    prepared = before.embedder.preparation
    pixels = images(4, prepared.channels, prepared.size, seed=1)
    features = before.embedder(pixels)
    assert torch.equal(after.embedder(pixels), features)
    old, new = before.answer(features, open_set=True), after.answer(features, open_set=True)
    assert torch.equal(old.probabilities, new.probabilities)
    assert torch.equal(old.none, new.none)


def test_all_that_is_known_comes_back(tmp_path):
    names = ("a\nb", "c\udcff", "ж")  # a line end, a byte that is no text
    before = replace(fitted(embedder(), (3, 1, 2), names), label_kind="int", label_dtype="uint64")
    ink = Ink(True, (0.0, 1.0, 2.0), (90.0, 250.5, 255.0), 3.0, (0.2, 0.6, 0.9), sides=(28, 105))
    prepared = replace(before.embedder.preparation, ink=ink, levels=4095)
    before = replace(before, embedder=replace(before.embedder, preparation=prepared))
    file.save(before, tmp_path / "a.fewshot")
    after = file.load(tmp_path / "a.fewshot", RUNTIME)
    assert (after.classes, after.support.files) == (names, before.support.files)
    assert (after.temperature, after.label_kind, after.label_dtype) == (before.temperature, "int", "uint64")
    for part in ("preparation", "origin", "temperatures"):
        assert getattr(after.embedder, part) == getattr(before.embedder, part)
    assert torch.equal(after.support.features, before.support.features)
    assert torch.equal(after.support.labels, before.support.labels)
    assert torch.equal(after.held_out.rows, before.held_out.rows)
    assert torch.equal(after.held_out.logits, before.held_out.logits)
    file.save(after, tmp_path / "b.fewshot")
    assert (tmp_path / "b.fewshot").read_bytes() == (tmp_path / "a.fewshot").read_bytes()


def test_a_classifier_of_one_image_a_class_comes_back(tmp_path):
    file.save(fitted(embedder(), (1, 1, 1)), tmp_path / "a.fewshot")
    after = file.load(tmp_path / "a.fewshot", RUNTIME)
    assert after.open_set is None
    assert (len(after.held_out), after.held_out.logits.shape) == (0, (0, 3))


def test_the_precision_is_the_one_it_was_fitted_in(tmp_path):
    file.save(fitted(embedder(precision="bfloat16")), tmp_path / "a.fewshot")
    kept = file.load(tmp_path / "a.fewshot", RUNTIME)
    exact = file.load(tmp_path / "a.fewshot", RUNTIME, precision="float32")
    assert (kept.embedder.device.precision, exact.embedder.device.precision) == (
        torch.bfloat16,
        torch.float32,
    )
    assert not torch.equal(kept.embedder(images(2)), exact.embedder(images(2)))


def test_nothing_in_a_file_is_run(written, monkeypatch):
    def never(*_, **__):
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, never)
    monkeypatch.setattr(torch, "load", never)
    assert file.load(written, RUNTIME).classes == ("ash", "elm", "oak")


def test_a_file_is_whole_or_not_there(written, tmp_path, monkeypatch):
    path = tmp_path / "a.fewshot"
    path.write_bytes(b"before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match=r"a\.fewshot: cannot be written \(No space left on device\)"):
        file.save(file.load(written, RUNTIME), path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a.fewshot": b"before"}


def test_what_is_no_classifier_is_refused(tmp_path):
    assert "there is no such classifier; fit --out" in refused(tmp_path / "none.fewshot")
    (tmp_path / "empty").write_bytes(b"")
    assert refused(tmp_path / "empty").endswith("empty: the file is empty")
    (tmp_path / "text").write_text("a text that is longer than the length of a header\n" * 9)
    (tmp_path / "short").write_text("a")
    torch.save({"a": torch.zeros(3)}, tmp_path / "pickled.pt")
    for name in ("text", "short", "pickled.pt"):
        assert refused(tmp_path / name).endswith(f"{name}: {DAMAGED}")
    (tmp_path / "folder").mkdir()
    assert refused(tmp_path / "folder").endswith("folder: is a folder, no classifier")
    (tmp_path / "folder" / "config.yaml").touch()
    assert refused(tmp_path / "folder").endswith(
        "folder: is the folder of a run; --run and --support go with it"
    )
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    assert "safetensors of another program" in refused(tmp_path / "other.safetensors")
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors", {"made by": "another"})
    assert "safetensors of another program" in refused(tmp_path / "other.safetensors")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(share, written, tmp_path):
    content = written.read_bytes()
    length = int(share * len(content))
    (tmp_path / "cut").write_bytes(content[:length])
    assert refused(tmp_path / "cut").endswith(f"cut: {DAMAGED}" if length else "cut: the file is empty")


def test_what_the_network_needs_is_no_damage(written, tmp_path):
    def change(tree, _):
        tree["told"]["origin"]["backbone"]["name"] = "timm.resnet0"

    assert re.search(r"/a: .*timm", told := refused(rewritten(written, tmp_path / "a", change)))
    assert DAMAGED not in told


def test_a_device_that_is_not_there_is_no_damage(written):
    missing = next(name for name, there in DEVICES.items() if not there)
    with pytest.raises(UserError, match=rf"fewshot: runtime\.device: {missing} is not available here"):
        file.load(written, Runtime(device=missing))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), in_header=st.booleans())
def test_one_bit_that_is_another_is_found(share, bit, in_header, written, tmp_path):
    content = bytearray(written.read_bytes())
    length = 8 + struct.unpack("<Q", content[:8])[0]
    place = int(share * (length if in_header else len(content)))
    content[place] ^= 1 << bit
    (tmp_path / "other").write_bytes(content)
    told = refused(tmp_path / "other").removeprefix(f"{tmp_path / 'other'}: ")
    ours = rf"{DAMAGED}( \(its checksum is another\)| \(it lacks '.*'\))?"
    others = (
        "is not a classifier, but safetensors of another program|has format .*, this version reads format 3"
    )
    assert re.match(f"{ours}$|{others}", told)


def rewritten(written, path, change, sealed=True):
    """The file with its header's JSON and its tensors changed, and the checksum of what it then holds."""
    with safe_open(written, "pt") as opened:
        tree = json.loads(opened.metadata()["fewshot"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    change(tree, tensors)
    if sealed and "told" in tree:
        tree["sha256"] = file._digest(tree["told"], tensors)
    save_file(tensors, path, {"fewshot": json.dumps(tree)})
    return path


def test_what_is_sealed_again_is_read(written, tmp_path):
    """Without it the tests below would hold of a checksum alone."""
    path = rewritten(written, tmp_path / "a", lambda tree, _: tree["told"].update(temperature=2.5))
    assert file.load(path, RUNTIME).temperature == 2.5
    path = rewritten(
        written, tmp_path / "b", lambda tree, _: tree["told"].update(temperature=2.5), sealed=False
    )
    assert "checksum" in refused(path)


@pytest.mark.parametrize("zoomed", [{}, {"zoom": 1.3}])
def test_the_first_format_had_mirror_and_zoom_where_variants_are(zoomed, written, tmp_path):
    def as_before(tree, _):
        tree["format"] = 1
        del tree["told"]["preparation"]["variants"]
        tree["told"]["preparation"].update(mirror=True, **zoomed)

    loaded = file.load(rewritten(written, tmp_path / "a", as_before), RUNTIME)
    assert loaded.embedder.preparation.variants == Variants(True, zoomed.get("zoom", 1.0))


@pytest.mark.parametrize("found", [2, 4, None, "1"])
def test_another_format_is_refused(found, written, tmp_path):
    path = rewritten(written, tmp_path / "a", lambda tree, _: tree.update(format=found, told=0), sealed=False)
    assert refused(path).endswith(f"has format {found}, this version reads format 3; fit it again")


@pytest.mark.parametrize(
    "key",
    [
        "format",
        "sha256",
        "told",
        "classes",
        "files",
        "preparation",
        "origin",
        "precision",
        "temperatures",
        "temperature",
        "open_set",
        "label_kind",
        "label_dtype",
    ],
)
def test_a_key_that_is_missing_is_named(key, written, tmp_path):
    def change(tree, _):
        del (tree if key in tree else tree["told"])[key]

    sealed = key != "sha256"
    assert f"it lacks '{key}'" in refused(rewritten(written, tmp_path / "a", change, sealed))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (["label_dtype"], "int7"),
        (["preparation"], []),
        (["preparation", "levels"], 0),
        (["preparation", "ink"], {"light": True}),
        (["classes"], "ash"),
        (["classes"], ["ash", "elm", 3]),
        (["classes"], ["ash", "elm"]),
        (["classes"], ["ash", "elm", "ash"]),
        (["files"], ["a"]),
        (["files"], None),
        (["temperature"], "warm"),
        (["temperature"], 0),
        (["temperature"], float("nan")),
        (["temperatures"], [[1]]),
        (["temperatures"], [[1, -2.0]]),
        (["precision"], "float8"),
        (["label_kind"], "date"),
        (["open_set"], [1.0]),
        (["open_set"], [1.0, float("inf")]),
        (["preparation"], {}),
        (["preparation", "size"], 32),
        (["preparation", "size"], "large"),
        (["preparation", "channels"], 3),
        (["preparation", "std"], [0.0]),
        (["origin", "backbone", "name"], "resnet12"),
        (["origin", "backbone", "name"], 4),
        (["origin", "backbone", "channels"], [4, 4, 6, 7]),
        (["origin", "backbone", "channels"], [10**12, 4, 6, 6]),
        (["origin", "backbone", "channels"], [10**30, 4, 6, 6]),
        (["origin", "backbone", "layers"], 4),
        (["origin", "head", "levels"], 3),
        (["origin", "head", "map"], "linear"),
        (["origin", "head", "name"], "forest"),
        (["origin", "way"], None),
        (["origin", "learners"], 2),
        (["origin", "learners"], 0),
        (["origin", "learners"], 10**12),
        (["origin"], [1, 2]),
    ],
    ids=str,
)
def test_a_header_of_other_content_is_refused(keys, value, written, tmp_path):
    def change(tree, _):
        inner = tree["told"]
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    told = refused(rewritten(written, tmp_path / "a", change))
    ours = r"[a-z_.0-9]+ is not as it should be|it lacks .*|tensor .*|names of .* lists of texts|learners: .*"
    assert re.fullmatch(rf".*/a: {DAMAGED}( \(({ours})\))?", told)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "3", "null", "[" * 100_000], ids=len)
def test_a_header_that_is_no_json_object_is_refused(text, written, tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "a", {"fewshot": text})
    told = refused(tmp_path / "a")
    assert told.endswith((DAMAGED, "(it lacks 'format')"))


NAMES = [
    *("support.features", "support.labels", "head.weight", "head.bias", "held_out.rows", "held_out.logits"),
    *("open_set.prototypes", "network.backbone.convs.0.weight", "network.backbone.norms.3.running_var"),
    *("network.backbone.convs.2.bias", "network.base_learner.log_scale"),
]
CHANGES = {
    "missing": lambda value: None,
    "another shape": lambda value: torch.cat([value.reshape(-1)] * 2),
    "one row less": lambda value: value[:-1] if value.ndim else value[None],
    "another kind": lambda value: value.double() if value.is_floating_point() else value.int(),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", CHANGES)
def test_a_tensor_that_does_not_fit_is_refused(name, what, written, tmp_path):
    def change(_, tensors):
        value = CHANGES[what](tensors.pop(name))
        if value is not None:
            tensors[name] = value.contiguous()

    refused(rewritten(written, tmp_path / "a", change))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"support.labels", "held_out.rows"}])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(name, wrong, written, tmp_path):
    def change(_, tensors):
        tensors[name].view(-1)[0] = wrong

    assert f"tensor {name} holds values that are not numbers" in refused(
        rewritten(written, tmp_path / "a", change)
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("support.labels", 3), ("support.labels", -1), ("held_out.rows", 9), ("held_out.rows", -1)],
)
def test_rows_and_labels_that_point_nowhere_are_refused(name, value, written, tmp_path):
    def change(_, tensors):
        tensors[name][0] = value

    refused(rewritten(written, tmp_path / "a", change))


def test_tensors_that_nobody_knows_are_refused(written, tmp_path):
    def change(_, tensors):
        tensors["network.backbone.convs.4.weight"] = torch.zeros(3)

    assert "convs.4.weight is of another network" in refused(rewritten(written, tmp_path / "a", change))
