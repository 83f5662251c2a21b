"""Fine-tuning of a published network: what learns, what is kept, and what left-out pictures say of it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_classifiers import SIDE
from torch import nn

from mtl import FewShotClassifier
from mtl.cli import main
from mtl.config import Backbone, Head, Log, Meta, Runtime
from mtl.errors import UserError
from mtl.learners import MetaTransfer
from mtl.models.backbones import FromLibrary, build_backbone
from mtl.own_images import classifier_file, fine_tune, fit
from mtl.own_images.embedder import Embedder, Origin, Preparation
from mtl.own_images.fine_tune import FineTuned, fine_tuned, require_trainable
from mtl.own_images.published import fit_with_chosen_head
from mtl.own_images.support import Support
from mtl.runtime.devices import choose_device
from mtl.runtime.seeds import generator

QUIET = Log(quiet=True)
NAME = "torchvision.squeezenet1_1"


class _Small(nn.Module):
    """A stem, a residual block, and the mean of the maps."""

    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1),
            )  # fmt: skip

        def forward(self, maps):
            return torch.relu(maps + self.layers(maps))

    def __init__(self, width=32):
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, width, 3, stride=2, bias=False), self.Block(width)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images):
        return torch.flatten(self.pool(self.block(torch.relu(self.stem(images)))), 1)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(fine_tune, "_COPIES", 2)


@pytest.fixture
def made():
    """A network as `embedder_of` gives it, before a head is chosen."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = FromLibrary(_Small(), 32, ())
    device = choose_device(Runtime(device="cpu", threads=1, keep_memory=False, precision="float32"))
    learner = MetaTransfer(network, Meta(head=Head(name="prototype"), train="head"), device)
    preparation = Preparation(SIDE, 3, (0.5,) * 3, (0.25,) * 3)
    origin = Origin(None, Backbone("timm.small", weights="small.pth"), Head(name="prototype"), 5)
    return replace(Embedder.of(learner, preparation, origin), head_settled=False)


def _stripes(count, seed=0, of=2, width=2):
    """Noisy images (of · count) of horizontal, vertical (and no) stripes, and the name of each."""
    random = generator(seed, "stripes")
    waves = torch.arange(SIDE) // width % 2 * 30.0
    kinds = torch.stack([waves[:, None].expand(-1, SIDE), waves.expand(SIDE, -1), torch.zeros(SIDE, SIDE)])
    images = kinds[:of].repeat_interleave(count, 0)[:, None] + 225 * torch.rand(
        of * count, 3, SIDE, SIDE, generator=random
    )
    return images.to(torch.uint8), [name for name in ("across", "down", "none")[:of] for _ in range(count)]


def _supported(made, images, names):
    support = Support.of(made(images), names, [f"{i}.png" for i in range(len(names))])
    return support, fit_with_chosen_head(made, support, QUIET)


def _tuned(made, images, names):
    support, frozen = _supported(made, images, names)
    return fine_tuned(made, support, images, frozen, QUIET), frozen


def test_left_out_pictures_do_not_teach_what_answers_them(made, monkeypatch):
    images, names = _stripes(7)
    taught, asked, answers = [], [], fine_tune._answers
    monkeypatch.setattr(fine_tune, "_maps", lambda *_: torch.arange(14.0)[:, None])  # of each its number
    monkeypatch.setattr(fine_tune, "_train", lambda _, maps, *__: taught.append(set(maps.flatten().tolist())))
    monkeypatch.setattr(fine_tune, "_features", lambda *_: made(images))
    monkeypatch.setattr(
        fine_tune, "_answers", lambda head, support, out: (asked.append(out), answers(head, support, out))[1]
    )
    found, _ = _tuned(made, images, names)
    *parts, whole = taught
    assert whole == set(range(14))
    assert len(parts) == 5
    for number, known in enumerate(parts):
        left_out = asked[2 * number].nonzero().flatten().tolist()
        assert known == whole - set(left_out)
    assert torch.stack(asked[::2]).sum(0).tolist() == [1] * 14
    assert len(found.classifier.held_out) == 14


def test_only_the_last_block_changes_and_the_given_network_does_not(made):
    before = {name: value.clone() for name, value in made.learner.backbone.state_dict().items()}
    found, _ = _tuned(made, *_stripes(6))
    for name, value in made.learner.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
    state = found.classifier.embedder.learner.backbone.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(state[name], value)}
    assert changed
    assert all(name.startswith("network.block.") for name in changed)
    assert not any("parametrizations" in name for name in state)


def test_the_same_pictures_give_the_same_network(made):
    first, second = (_tuned(made, *_stripes(5))[0].classifier for _ in range(2))
    assert torch.equal(first.support.features, second.support.features)
    assert torch.equal(first.held_out.logits, second.held_out.logits)


def test_what_is_kept_is_that_of_the_tuned_network(made):
    classifier = _tuned(made, *_stripes(5, of=3))[0].classifier
    torch.testing.assert_close(
        classifier.support.features,
        classifier.embedder(_stripes(5, of=3)[0]),
    )
    assert classifier.embedder.origin.fine_tuned
    assert "fine-tuned" in classifier.embedder.origin.network
    assert (
        classifier.open_set is classifier.stored_open_set is not None
    )  # of left-out pictures, not fitted anew


def test_classes_without_five_pictures_are_named(made):
    images, names = _stripes(5)
    support, frozen = _supported(made, images[:-1], names[:-1])
    with pytest.raises(UserError, match="down has 4"):
        fine_tuned(made, support, images[:-1], frozen, QUIET)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_each_class_is_spread_over_the_folds(labels):
    labels = torch.tensor(labels)
    fold = fine_tune._folds(labels)
    for label in labels.unique():
        counts = torch.bincount(fold[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 1


@pytest.fixture
def five(home, monkeypatch):
    """Pictures in `home`, five of each class, and the options that name a small network."""
    monkeypatch.setattr(fine_tune, "_EPOCHS", 1)
    network = build_backbone(Backbone(NAME), 3, 224, generator(3)).network
    torch.save(network.state_dict(), "squeeze.pth")
    from torchvision.transforms.functional import to_pil_image

    for name, seed in (("fir", 0), ("ivy", 1)):
        Path("five", name).mkdir(parents=True)
        for i, image in enumerate(_stripes(5, seed=seed, of=1)[0]):
            to_pil_image(image).save(f"five/{name}/{i}.png")
    return ("--backbone", NAME, "--weights", "squeeze.pth", "runtime.threads=1", "runtime.precision=float32")


def test_a_fine_tuned_classifier_is_kept_answers_as_before_and_is_not_changed(five, monkeypatch, capsys):
    monkeypatch.setattr(fine_tune.FineTuned, "helps", True)
    assert main(["fit", "--support", "five", "--fine-tune", *five, "--out", "a.fewshot"]) == 0
    said = capsys.readouterr().err
    assert "varied copies of each" in said
    assert "fine-tuning: is kept" in said
    assert classifier_file.load(Path("a.fewshot")).embedder.origin.fine_tuned
    assert main(["predict", "--classifier", "a.fewshot", "--query", "new", "--out", "a.csv", "-q"]) == 0
    assert "fit --classifier" not in Path("a.html").read_text()  # which is refused
    whole = ("predict", "--support", "five", "--fine-tune", *five)
    assert main([*whole, "--query", "new", "--out", "b.csv", "-q"]) == 0
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()
    before = Path("a.fewshot").read_bytes()
    for command in (
        ("fit", "--classifier", "a.fewshot", "--add", "things"),
        ("learning-curve", "--classifier", "a.fewshot"),
        ("studio", "--classifier", "a.fewshot"),
    ):
        capsys.readouterr()
        assert main(list(command)) == 2
        assert "is fine-tuned to its pictures" in capsys.readouterr().err
    assert Path("a.fewshot").read_bytes() == before


@pytest.mark.parametrize(("right", "kept"), [(0.8, True), (0.5, True), (0.41, True), (0.39, False)])
def test_it_is_kept_unless_left_out_pictures_show_a_loss(five, monkeypatch, right, kept):
    tuned = object()
    monkeypatch.setattr(fit, "fine_tuned", lambda *_: FineTuned(tuned, right, 0.5, 0.1))
    source = fit.ClassifierSource(Backbone(NAME, "squeeze.pth"), Path("five"), fine_tune=True)
    assert (fit.load_or_fit(source, QUIET).classifier is tuned) == kept


def test_what_cannot_be_fine_tuned_is_refused_before_pictures_are_read(five, made, monkeypatch, capsys):
    with pytest.raises(UserError, match="meta-trained"):
        require_trainable(replace(made, head_settled=True))
    monkeypatch.setattr(fine_tune, "last_block", lambda *_: None)
    monkeypatch.setattr(fit, "read_support", lambda *_, **__: pytest.fail("pictures were read"))
    here = ("fit", "--support", "five", "--fine-tune", *five, "--out", "a.fewshot")
    assert main(list(here)) == 2
    assert "cannot be trained alone" in capsys.readouterr().err
    assert main(["fit", "--classifier", "a.fewshot", "--fine-tune", "--add", "five"]) == 2
    assert "fitted already" in capsys.readouterr().err


def test_python_fine_tunes_too(five, monkeypatch):
    monkeypatch.setattr(fine_tune.FineTuned, "helps", True)
    pictures = sorted(Path("five").glob("*/*.png"))
    made = FewShotClassifier(backbone=NAME, weights="squeeze.pth", device="cpu", fine_tune=True)
    made.fit(pictures, [picture.parent.name for picture in pictures])
    assert made.fitted_.embedder.origin.fine_tuned
    with pytest.raises(ValueError, match="fir has 4"):
        made.fit(pictures[1:], [picture.parent.name for picture in pictures[1:]])
