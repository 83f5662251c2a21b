"""Pretraining: ordinary classification of the base classes.

    python run_meta.py pretrain --config configs/omniglot.yaml

Writes checkpoints/<run>/pretrain.pt: the backbone whose few-shot accuracy on the validation classes was best.
With `pretrain.epochs: 0` it is the backbone as it is, with the weights of `backbone.weights` or random ones.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mtl.config import Config
from mtl.data.augment import augment
from mtl.data.image_set import fingerprint
from mtl.data.ink import as_plain, file_sides, ink_of_set
from mtl.episodes.class_index import ClassIndex
from mtl.learners.types import episode_labels
from mtl.losses import ImageLoss, SelfPacedLoss
from mtl.models.backbones import load_weights
from mtl.models.classifiers import build_classifier, within_domain
from mtl.models.heads import prototype_logits
from mtl.runtime import checkpoints
from mtl.runtime.devices import Device, choose_device, recorded_precision, settle_precision
from mtl.runtime.events import Events, require_tensorboard
from mtl.runtime.process import StopRequest
from mtl.runtime.progress import Means, Progress, tell
from mtl.runtime.run_folder import Clock, Metrics, RunFolder
from mtl.runtime.seeds import generator
from mtl.training import curriculum
from mtl.training.inference import SplitImages, extract, solve_table
from mtl.training.ledger_rounds import require_same_training_images
from mtl.training.meta_step import require_finite, set_rate, warm_up_cosine
from mtl.training.pretrain_batches import Batches, pretraining_loss
from mtl.training.restore import fresh_backbone
from mtl.training.run_data import RunData, load_run_data

STAGE = "pretrain"
DECIDED_BY = checkpoints.DECIDING[STAGE]


def pretrain(config: Config, resume: bool = False, run_data: RunData | None = None) -> None:
    """Trains the backbone and a classifier of all base classes with SGD.

    Args:
        config: of the run.
        resume: go on where the files of the run say it stopped; a run that has ended is left as it is.
        run_data: the image set, where the caller has it already.

    Raises:
        UserError: before anything is written, for what the user can mend.
        RunStopped: the loss is no longer finite.
        Interrupted: after Ctrl-C, with the checkpoint written.
    """
    folder = RunFolder.of(config)
    with folder.held(STAGE):
        _pretrain(folder, config, resume, run_data)


def _pretrain(folder: RunFolder, config: Config, resume: bool, run_data: RunData | None) -> None:
    if not resume:
        folder.refuse_existing(STAGE)
    if folder.pretrain.exists():
        checkpoints.require_fit(folder.pretrain, checkpoints.read(folder.pretrain), config, DECIDED_BY)
        tell(f"{STAGE}: {folder.pretrain} is there, nothing is left to do", config.log)
        return
    require_tensorboard(config.log)
    saved = folder.unfinished(STAGE, gaps=config.log.allow_gaps)
    config = settle_precision(config, recorded_precision(saved) if saved else None)
    device = choose_device(config.runtime)
    run_data = run_data or load_run_data(config)
    how, train = config.pretrain, run_data.splits.train
    backbone = fresh_backbone(config, train)
    if saved:
        checkpoints.require_fit(folder.last, saved, config, DECIDED_BY)
        require_same_training_images(folder.last, saved, train)
        checkpoints.tell_other_rounding(saved, device.computed_on())
    else:
        load_weights(backbone, config.backbone)
    folder.write_config(config)

    features = int(backbone.out_features)  # type: ignore[arg-type]
    classifier = build_classifier(how, features, train.num_classes, generator(config.seed, "classifier"))
    network = nn.ModuleDict({"backbone": backbone, "classifier": classifier})
    device.place(network)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=how.lr,
        momentum=how.momentum,
        weight_decay=how.weight_decay,
        nesterov=how.momentum > 0,
        fused=True,
    )
    batches = Batches(config, run_data)
    per_epoch = batches.per_epoch
    steps = how.epochs * per_epoch
    counts = torch.bincount(train.labels[run_data.pretrain_images], minlength=train.num_classes)
    criterion = pretraining_loss(how, counts, len(train)).to(device.torch_device)
    domains = train.domain_ids() if how.sets.heads == "per_set" and train.domains else None

    step, best, elapsed, kept = 0, None, 0.0, None
    means = Means()  # of loss and accuracy, for the next line of metrics.jsonl
    admitted: list[Tensor] = []  # of self-paced learning, what each image weighed in each epoch
    if saved:
        with checkpoints.restoring(folder.last):
            network.load_state_dict(saved["network"])
            optimizer.load_state_dict(saved["optimizer"])
            criterion.load_state_dict(saved["loss"])
            step, best, elapsed, kept = int(saved["step"]), saved["best"], saved["elapsed"], saved["metrics"]
            admitted, means = saved["admitted"], Means(saved.get("means"))  # which older checkpoints lack
    metrics, clock = Metrics(folder.metrics, STAGE, kept), Clock(config.runtime.checkpoint_seconds, elapsed)
    header, own_images = checkpoints.header(config, STAGE, train.class_names), fingerprint(train)

    def state() -> dict[str, Any]:
        return {
            **header,
            "fingerprint": own_images,
            "computed_on": device.computed_on(),
            "step": step,
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "loss": criterion.state_dict(),
            "admitted": admitted,
            "best": best,
            "elapsed": clock.elapsed,
            "metrics": metrics.size,
            "means": means.state_dict(),
        }

    pictures, val_pictures = run_data.split_images("train", device), run_data.split_images("val", device)

    def validated(best: dict[str, Any] | None, told_first: str, **numbers: float) -> dict[str, Any]:
        """The best weights so far, the present ones included."""
        scores = validate(backbone, run_data, val_pictures, device, how.validate_tasks, config.seed)
        line = {**numbers, "seconds": clock.elapsed, **scores}
        metrics.write(step=step, **line)
        events.write(step, line)
        progress.say(f"{told_first}{told(scores)}")
        score = sum(scores.values()) / len(scores)
        if best is not None and score < best["mean"]:
            return best
        parts = network if steps else {"backbone": backbone}  # a classifier that never learned is of no use
        weights = {name: copy_of(part) for name, part in parts.items()}
        return {"mean": score, "step": step, "scores": scores, **weights}

    with (
        Progress(STAGE, steps, step, config.log) as progress,
        Events(folder.path, STAGE, step, config.log) as events,
        StopRequest() as stop,
    ):
        if best is None and not steps:
            best = validated(best, "the backbone as it is: ", epoch=0)
        while step < steps:
            epoch = step // per_epoch
            criterion.begin_epoch(epoch)
            rows = batches.at(step)
            random = generator(config.seed, "augment", step)
            images = run_data.normalise(augment(pictures.images[rows], config.data.augment, random))
            rate = how.lr * warm_up_cosine(step, steps, how.warm_up)
            set_rate(optimizer, rate)

            network.train()
            loss, accuracy = pretrain_step(
                network, device, optimizer, criterion, images, train.labels[rows], rows, domains
            )
            require_finite(loss, STAGE, step, "pretrain.lr", rate)
            step += 1
            means.add(loss=loss, accuracy=accuracy)
            progress.step(images=len(rows), loss=loss, accuracy=accuracy, epoch=epoch + 1)
            if step % per_epoch == 0 and isinstance(criterion, SelfPacedLoss):
                admitted.append(curriculum.percent(criterion.weights_now[run_data.pretrain_images]))
            if step % (per_epoch * how.validate_every) == 0 or step == steps:
                mean = means.take()
                words = f"loss {mean['loss']:.3f}, base accuracy {mean['accuracy']:.3f}, "
                best = validated(best, f"epoch {epoch + 1}/{how.epochs}: {words}", epoch=epoch + 1, **mean)
            if stop.wanted or clock.due():
                folder.save(state())
            stop.here(STAGE, step, steps)
    folder.save(state())
    assert best is not None  # the last step validates, or the start where there is none
    if admitted:
        curriculum.write(folder.curriculum, header, run_data, admitted)
    normalise = {"mean": list(run_data.normalise.mean), "std": list(run_data.normalise.std)}
    taken = {
        "size": train.size,
        "channels": train.channels,
        "levels": run_data.splits.levels,
        "ink": as_plain(ink_of_set(train.images, file_sides(config.data, train.size))),
    }
    result = {**header, **best, "normalise": normalise, "images": taken, "seconds": clock.elapsed}
    folder.finish(STAGE, result)


def pretrain_step(
    network: nn.ModuleDict,
    device: Device,
    optimizer: Optimizer,
    criterion: ImageLoss,
    images: Tensor,
    labels: Tensor,
    rows: Tensor,
    domains: Tensor | None,
) -> tuple[float, float]:
    """One update of backbone and classifier; loss and accuracy of the batch.

    Args:
        images: (B, C, H, W) normalised.
        labels: (B,) base classes.
        rows: (B,) indices of the images into the train split.
        domains: (C,) the image set of each class, where each set has a head of its own.
    """
    labels = labels.to(device.torch_device)
    features = device.forward(network["backbone"], images)
    logits = network["classifier"](features, labels)
    if domains is not None:
        logits = within_domain(logits, labels, domains)
    loss = criterion(logits, labels, features, rows)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    right = (logits.argmax(-1) == labels).float().mean()
    # read last, and both at once: a GPU is waited for when all of the step is on its way
    value, accuracy = torch.stack([loss.detach(), right]).tolist()
    return value, accuracy


def copy_of(network: nn.Module) -> dict[str, Tensor]:
    """The state of a network, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def validate(
    backbone: nn.Module, run_data: RunData, pictures: SplitImages, device: Device, tasks: int, seed: int
) -> dict[str, float]:
    """Accuracy of cosine prototypes on fixed tasks of the validation classes, by setting."""
    backbone.eval()
    val = run_data.splits.val
    table = extract(lambda x: device.forward(backbone, x), pictures, torch.arange(len(val.labels)))
    index = ClassIndex.of(val.labels, torch.arange(len(val.labels)), val.group_ids())
    way = min(5, int(torch.bincount(val.domain_ids()).max()))  # a task is of one set
    scores = {}
    for shot in (1, 5):
        queries = min(15, int(index.most_queries(shot).min()))
        if queries < 1:
            continue
        episodes = run_data.fixed_episodes("val", way, shot, queries, tasks, seed, "validate")
        outcome = solve_table(cosine_prototypes, table, episodes.image_indices(), episodes)
        scores[f"val_{way}way_{shot}shot"] = float(outcome.accuracy.mean())
    return scores


def cosine_prototypes(features: Tensor, way: int, shot: int) -> Tensor:
    """Query logits (T, N·Q, N) of features (T, N·K + N·Q, D) by cosine with the prototypes, times 10."""
    support, query = features[:, : way * shot], features[:, way * shot :]
    labels = episode_labels(len(features), way, shot, features.device)
    return 10 * prototype_logits(support, labels, query, way, "cosine")


def told(scores: dict[str, float]) -> str:
    """Scores for a person: `val 5-way 1-shot 61.2`."""
    return ", ".join(
        f"{k.replace('_', ' ').replace('way', '-way').replace('shot', '-shot')} {100 * v:.1f}"
        for k, v in scores.items()
    )
