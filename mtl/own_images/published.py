"""A published network as it is: nothing is trained but a head, which the support set chooses.

python run_meta.py predict --support my_things --query new_pictures
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.config import Backbone, Config, Head, Log, Meta, Runtime, read_config
from mtl.config.values import is_file
from mtl.data.near_copies import Compared
from mtl.errors import UserError
from mtl.learners import MetaTransfer
from mtl.models.backbones import build_backbone, input_format, load_weights, require_size
from mtl.models.heads import BaseLearner, power_transform
from mtl.own_images.classifier import FittedClassifier, fit_classifier
from mtl.own_images.embedder import Embedder, Origin, Preparation, embedder_of_run
from mtl.own_images.leave_one_out import HeldOut, leave_out
from mtl.own_images.support import Support, find_views
from mtl.runtime.devices import choose_device, settle_precision
from mtl.runtime.process import collection_paused
from mtl.runtime.progress import tell
from mtl.runtime.seeds import generator

#: The network of those who name none; docs/own-images.md says why this one.
DEFAULT = Backbone("torchvision.efficientnet_b0", "DEFAULT")

#: Of features: fewer of them decide alone.
POWER = 0.5
#: Heads that a support set chooses from; the first where it cannot tell them apart.
HEADS = {
    "logistic regression": Head(name="logistic", power=POWER, map="shift", penalty=0.3),
    "ridge regression": Head(name="ridge", power=POWER, map="shift", penalty=30.0),
    "nearest prototype": Head(name="prototype", power=POWER, map="shift"),
}
_RAW = Head(name="prototype")  # leaves features as the backbone gives them
_MOST = 500  # images that the choice is made with; more would take seconds


def published(name: str | None = None, weights: str | None = None) -> Backbone:
    """A published network by its name in a library; by default `DEFAULT`, with its published weights.

    Raises:
        UserError: the name has another form.
    """
    tree = {"name": name or DEFAULT.name, "weights": weights or "DEFAULT"}
    return read_config({"backbone": tree}, "--backbone and --weights").backbone


@collection_paused()
def embedder_of(network: Path | Backbone, runtime: Runtime | None = None) -> Embedder:
    """The embedder of a run's folder, or of a published network, whose head `with_chosen_head` settles.

    Raises:
        UserError: as of `embedder_of_run`; or the network or its weights are not available.
    """
    if isinstance(network, Path):
        return embedder_of_run(network, runtime)
    images = input_format(network)
    if images is None:
        raise UserError(
            f"--backbone: {network.name} is a network of this project; take one of torchvision or timm, as "
            f"{DEFAULT.name}, or a run with --run"
        )
    backbone = build_backbone(network, 3, images.size, generator(0, "backbone"))
    require_size(network, images.size, backbone)
    load_weights(backbone, network)
    device = choose_device(settle_precision(Config(runtime=runtime or Runtime())).runtime)
    learner = MetaTransfer(backbone, Meta(head=_RAW, train="head"), device)
    preparation = Preparation(images.size, 3, images.mean, images.std)
    weights = str(network.weights)
    named = replace(network, weights=Path(weights).name if is_file(weights) else weights)
    origin = Origin(None, named, _RAW, learner.config.way)
    return replace(Embedder.of(learner, preparation, origin), head_settled=False)


def fit_with_chosen_head(
    embedder: Embedder, support: Support, log: Log | None = None, compared: Compared | None = None
) -> FittedClassifier:
    """As `fit_classifier`, with the head of `with_chosen_head`; pictures are compared once."""
    compared = {} if compared is None else compared
    return fit_classifier(*with_chosen_head(embedder, support, log, compared), compared)


@torch.no_grad()
def with_chosen_head(
    embedder: Embedder, support: Support, log: Log | None = None, compared: Compared | None = None
) -> tuple[Embedder, Support]:
    """The embedder and the support set with the head that classifies left-out support images best.

    That is the first of `HEADS`, unless another is better by more than the standard error: with five images
    of a class most differences are chance.

    Features get unit length, and the mean of the support set's is taken off them: those of published networks
    have a large part in common. Says which head was taken and how all of them did; the
    embedder of a run has its head, and is returned as it is. `compared` as of `near_copies`.
    """
    if embedder.head_settled:
        return embedder, support
    views = _some(find_views(support, compared).by_view())
    held_out = {
        name: _held_out(base_learner_of(head, support.features), views) for name, head in HEADS.items()
    }
    labels = views.labels[held_out[next(iter(HEADS))].rows]
    logits = {name: answers.logits for name, answers in held_out.items()}
    rights = {name: mean_recall(answers, labels) for name, answers in logits.items()}
    chosen = _chosen(logits, labels)
    if len(views) > views.way:
        others = ", ".join(f"{name} {100 * right:.0f} %" for name, right in rights.items() if name != chosen)
        others += "; more may be chance" if max(rights.values()) > rights[chosen] else ""
        why = f"with which {100 * rights[chosen]:.0f} % of left-out support pictures are right ({others})"
    else:
        why = "as no picture can be left out to compare heads: every class has one"
    tell(f"head: {chosen}, {why}", log)
    return settled(embedder, HEADS[chosen], support)


@torch.no_grad()
def settled(embedder: Embedder, head: Head, support: Support) -> tuple[Embedder, Support]:
    """The embedder and the support set with a head, which the embedder has none of yet."""
    learner = embedder.learner
    learner = MetaTransfer(learner.backbone, replace(learner.config, head=head), embedder.device)
    base_learner = base_learner_of(head, support.features)
    learner.base_learner = base_learner.to(embedder.device.torch_device)
    made = Embedder.of(learner, embedder.preparation, replace(embedder.origin, head=head))
    return made, replace(support, features=made.base_learner.transform_features(support.features))


@torch.no_grad()
def base_learner_of(head: Head, features: Tensor) -> BaseLearner:
    """The base learner of one of `HEADS`, which takes the mean of these features (S, D) off all."""
    shift = F.normalize(power_transform(features, POWER), dim=-1).mean(0)
    made = BaseLearner(head, len(shift), way=2)  # which only a learned start depends on
    made.shift.copy_(shift)
    return made


def _some(views: Support) -> Support:
    """As many views of each class as are needed to compare heads."""
    most, seen, rows = max(_MOST // views.way, 2), Counter[int](), []
    for row, label in enumerate(views.labels.tolist()):
        seen[label] += 1
        if seen[label] <= most:
            rows.append(row)
    return views.some(rows)


def _held_out(base_learner: BaseLearner, views: Support) -> HeldOut:
    """Answers to left-out views, of features as the network gives them."""
    return leave_out(base_learner, base_learner.transform_features(views.features), views.labels, views.way)


def _chosen(logits: Mapping[str, Tensor], labels: Tensor) -> str:
    """The name of the first answers (H, N), or of the best if those are better by more than chance."""
    first = next(iter(logits))
    shares = {name: mean_recall(answers, labels) for name, answers in logits.items()}
    best = max(shares, key=shares.__getitem__)  # of equals the first
    error = difference_error(logits[best], logits[first], labels)
    return best if shares[best] - error > shares[first] else first


def difference_error(logits: Tensor, others: Tensor, labels: Tensor) -> float:
    """The standard error of the difference of two shares, of answers (H, N) to the same views; 0 of none."""
    right, other = (answers.argmax(-1) == labels for answers in (logits, others))
    return float((right != other).double().sum().sqrt()) / max(len(labels), 1)


def mean_recall(logits: Tensor, labels: Tensor) -> float:
    """The share of answers (H, N) that are right, the mean of the classes that have any; 0 of none."""
    right = (logits.argmax(-1) == labels).double()
    recalls = [right[labels == label].mean() for label in sorted(set(labels.tolist()))]
    return float(torch.stack(recalls).mean()) if recalls else 0.0
