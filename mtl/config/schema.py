"""Every key that a config may have, its default and what is allowed. Imports no torch: `--help` is fast."""

import os
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from mtl.config.comparison import Compare
from mtl.config.hard_tasks import HardTasks
from mtl.config.values import (
    NUMBER,
    STRICT,
    BelowOne,
    Count,
    FolderName,
    Layout,
    NetworkName,
    NonNegative,
    PathText,
    Pattern,
    Positive,
    PositiveShare,
    Rate,
    Seed,
    Several,
    Share,
    Size,
    Tasks,
    UpTo10000,
    UpToAMillion,
)


@dataclass(frozen=True, config=STRICT)
class Augment:
    """Random changes of training images, drawn for each image."""

    crop: Annotated[int, Field(ge=0, le=1024), NUMBER] = 0  # pixels of padding around a random crop
    flip: bool = False  # left-right
    rotate: Annotated[float, Field(ge=0, le=360)] = 0.0  # up to this many degrees either way
    translate: Share = 0.0  # up to this share of the side
    scale: BelowOne = 0.0  # zoom in [1 - scale, 1 + scale]
    shear: Annotated[float, Field(ge=0, le=89)] = 0.0  # up to this many degrees
    brightness: BelowOne = 0.0  # factor in [1 - b, 1 + b]
    contrast: BelowOne = 0.0
    saturation: BelowOne = 0.0

    @property
    def movements(self) -> dict[str, float]:
        """By how much an image is moved at most, by the key that says so."""
        keys = ("rotate", "shear", "scale", "translate", "crop")
        return {key: getattr(self, key) for key in keys}


SetName = Literal[
    "glyphs", "omniglot", "cifar_fs", "fc100", "mini_imagenet", "tiered_imagenet", "image_folder"
]


@dataclass(frozen=True, config=STRICT)
class Imbalance:
    """Base classes made unequal, to measure what helps then. Which are small follows from data.split_seed."""

    type: Literal["none", "exponential", "step"] = "none"  # shares fall geometrically from class to class, or
    #   half of the classes is small
    factor: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 100.0  # the largest share over the smallest


@dataclass(frozen=True, config=STRICT)
class ClassNames:
    """Classes of each split, by name or pattern (`dog*`); splits without names share the other classes."""

    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


@dataclass(frozen=True, config=STRICT)
class Data:
    """The image set and its split by classes."""

    name: Literal[SetName, "several"] = "glyphs"
    sets: tuple[SetName, ...] = ()  # several only: these as one, brought to one size and number of channels
    root: PathText = "data"  # where the set is, and where its decoded copy is kept
    image_size: Annotated[int, Field(ge=16, le=1024), NUMBER] | None = None  # None: the weights' or the set's
    grayscale: bool | None = None  # None: as the set is
    split: Literal["vinyals", "lake"] = "vinyals"  # omniglot only
    rotations: bool = False  # each base class turned by 90, 180, 270 degrees is a further class; of omniglot
    #   with the split vinyals also each validation and novel class
    samples_per_class: Size = 20  # glyphs only
    split_fractions: tuple[Rate, Rate, Rate] = (0.6, 0.2, 0.2)  # image_folder without train/val/test folders
    classes: ClassNames = field(default_factory=ClassNames)  # image_folder only, and the six below as well
    layout: Layout = "auto"  # <root>/<class>/*, or <root>/{train,val,test}/<class>/* with different classes;
    #   merge: the same classes in all three are put together first; nested: <root>/<group>/<class>/*
    min_images: Positive = 1  # classes with fewer are left out
    max_images: Positive | None = None  # of a class; which ones follows from split_seed
    group_by: Pattern | None = (
        None  # regular expression on the file's name, which gives the clip, or the animal,
    )
    #   that a picture is of (its first parenthesis, or all of it): support and queries of a class are then of
    #   different ones, and none is divided
    duplicates: Literal["refuse", "exact", "drop", "keep"] = "refuse"  # the same picture in two classes: an
    #   error; exact: likewise, but only equal pixels are looked for; drop: all such pictures are left out,
    #   and of copies within a class all but one; keep: not looked for
    unreadable: Literal["refuse", "skip"] = "refuse"  # images that cannot be read: an error, or left out
    levels: Literal["auto", "full"] | Positive = "auto"  # image_folder: which grey value is white in files of
    #   more than 8 bits: the largest of the fewest bits that hold all values; that of 16 bits; or this one
    split_seed: Seed = 0  # of drawn splits, glyph samples and held-out images; runs of other seeds share them
    download: bool = True  # fetch a set that is not below root
    cache: bool = True  # keep the decoded set in <root>/.cache for next time
    probe_fraction: Annotated[float, Field(ge=0, le=0.8)] = 0.0  # base images that pretraining never sees;
    #   meta-training then draws its episodes and rounds from these alone
    imbalance: Imbalance = field(default_factory=Imbalance)  # of the base images that pretraining sees
    label_noise: BelowOne = 0.0  # share of those with the label of another class
    augment: Augment = field(default_factory=Augment)


@dataclass(frozen=True, config=STRICT)
class Backbone:
    """The network that turns an image into a feature."""

    name: NetworkName = "conv4"  # conv4, resnet12, torchvision.NAME or timm.NAME
    weights: PathText | None = None  # DEFAULT or another name of published weights (torchvision, timm), or a
    #   file of weights (.pth, .pt, .safetensors); None: random
    channels: tuple[Size, Size, Size, Size] | None = None  # conv4 and resnet12; None: as published
    pool: Literal["flatten", "mean"] | None = None  # None: flatten for conv4, mean for resnet12
    networks: Size = 1  # conv4 and resnet12: so many beside each other, each with its own classifier in
    #   pretraining; their features are joined


@dataclass(frozen=True, config=STRICT)
class Balance:
    """Classes of unequal size: how the small ones get more weight. One way at a time."""

    by: Literal["none", "sampling", "weights", "logits"] = "none"  # how often images are drawn, what their
    #   loss counts, or an offset of the logits by the classes' shares
    weighting: Literal["inverse", "effective"] = "effective"  # sampling, weights: 1 / n, or by the effective
    #   number of images
    beta: BelowOne = 0.9999  # of the effective number
    strength: Rate = 1.0  # logits: factor of the offset
    start: Share = 0.0  # share of the epochs before it begins


@dataclass(frozen=True, config=STRICT)
class Examples:
    """Images of unequal use: which of a batch count, and how much. One way at a time."""

    by: Literal["all", "focal", "influence", "hardest", "self_paced"] = "all"
    start: Share = 0.0  # influence, self_paced: share of the epochs before it begins
    gamma: NonNegative = 2.0  # focal: how fast the weight falls with the probability of the own class
    alpha: Rate = 1000.0  # influence: factor of the weights
    epsilon: Rate = 1e-3  # influence: keeps them finite
    detach: bool = True  # influence: gradients take the weight for a constant
    part: PositiveShare = 0.7  # hardest: share of the images that count; self_paced:
    #   share that counts in its first epoch
    scope: Literal["batch", "class", "memory"] = "batch"  # hardest: among the images of the batch, of each
    #   class in it, or all by their last loss
    cap: BelowOne = 0.0  # hardest: share at the very top that is left out
    regulariser: Literal["hard", "linear", "logarithmic", "mixture"] = "hard"  # self_paced
    threshold: Literal["quantile", "absolute"] = "quantile"  # self_paced: what `part` and `growth` speak of
    level: Rate = 1.0  # self_paced with absolute: the threshold of the first epoch, as a loss
    growth: NonNegative = 0.02  # self_paced: added to the share at each epoch; with absolute the threshold
    #   is multiplied by 1 + growth


@dataclass(frozen=True, config=STRICT)
class Sets:
    """Several image sets in one pretraining (data.name several): how batches are made of them."""

    schedule: Literal["round_robin", "proportional", "temperature"] = "round_robin"
    temperature: Rate = 2.0  # temperature: sets in proportion to size^(1/T)
    samples: tuple[Positive, ...] | None = None  # images of each set in every batch, in the order of
    #   data.sets; null: a batch is of one set
    heads: Literal["per_set", "shared"] = "per_set"  # an image competes with the classes of its set, or all


@dataclass(frozen=True, config=STRICT)
class RotationPrediction:
    """Beside the class, pretraining predicts by which right angle an image is turned."""

    share: Share = 0.0  # images of a batch that are turned by 90, 180 or 270 degrees; 0: no prediction
    weight: Rate = 1.0  # of its loss, beside that of the classes


@dataclass(frozen=True, config=STRICT)
class Distillation:
    """Pretraining also learns the answers of a network that is trained already, on the same classes."""

    teacher: PathText | None = None  # folder of a run, or its pretrain.pt; None: no distillation
    weight: PositiveShare = 0.5  # of the distance to its answers; the labels have the rest
    temperature: Rate = 4.0  # by which both logits are divided


@dataclass(frozen=True, config=STRICT)
class Pretrain:
    """Ordinary classification of the base classes."""

    epochs: UpToAMillion = 10  # 0: none; meta-training starts with the backbone as it is
    batch_size: Tasks = 128
    lr: Rate = 0.1
    momentum: BelowOne = 0.9
    weight_decay: NonNegative = 5e-4
    warm_up: Share = 0.1  # share of the steps in which the rate climbs; cosine to 0 after it
    label_smoothing: BelowOne = 0.0
    classifier: Literal["linear", "cosine"] = "linear"
    scale: Rate = 20.0  # cosine classifier: logits are scale times cosine
    margin: BelowOne = 0.0  # cosine classifier: taken off the own class's cosine
    validate_every: Positive = 1  # epochs
    validate_tasks: Tasks = 400
    rotation: RotationPrediction = field(default_factory=RotationPrediction)
    distillation: Distillation = field(default_factory=Distillation)
    balance: Balance = field(default_factory=Balance)
    examples: Examples = field(default_factory=Examples)
    sets: Sets = field(default_factory=Sets)


@dataclass(frozen=True, config=STRICT)
class Head:
    """The base learner that is adapted to an episode's support set."""

    name: Literal["gradient_descent", "prototype", "ridge", "logistic"] = "gradient_descent"
    power: PositiveShare = 1.0  # of the features, first; 0.5 helps cosine classifiers
    levels: Annotated[int, Field(ge=1, le=4), NUMBER] = 1  # blocks of conv4 or resnet12 in a feature
    map: Literal["none", "linear", "shift"] = "none"  # linear: unit features pass a D × D layer, from
    #   identity; shift: a vector is taken off them, from 0
    noise: NonNegative = 0.0  # while meta-training: normal noise on each feature, as a share of its length
    normalise: bool = True  # features are brought to length `scale` first
    scale: Rate = 10.0  # learned while meta-training, from here
    metric: Literal["cosine", "euclid"] = "cosine"  # prototype
    init: Literal["zero", "prototype", "learned"] = "prototype"  # gradient_descent: where it starts
    inner_steps: Count = 20  # gradient_descent
    inner_lr: Rate = 0.01  # gradient_descent
    order: Literal["first", "second"] = "second"  # gradient_descent
    penalty: Rate = 1.0  # ridge and logistic: weight of ½‖W‖²


@dataclass(frozen=True, config=STRICT)
class Meta:
    """Meta-training."""

    algorithm: Literal["mtl", "maml", "anil", "meta_sgd"] = "mtl"
    way: Several = 5
    shot: Size = 1
    queries: Size = 15
    tasks: Size = 4  # a meta-batch
    steps: Positive = 1000  # of each learner
    learners: Size = 1  # trained one after the other, each afresh on the tasks that those before it failed;
    #   all of them vote (mtl)
    lr: Rate = 1e-3
    head_lr: Rate | None = None  # of the head's parameters, where it is to be another (mtl)
    weight_decay: NonNegative = 0.0
    train: Literal["ss", "ss_affine", "all", "head"] = "ss"  # which weights of the backbone learn (mtl);
    #   head: none, the parameters of `head` alone
    batch_norm: Literal["frozen", "update", "episode"] = "frozen"
    head: Head = field(default_factory=Head)
    inner_lr: Rate = 0.1  # maml, anil, meta_sgd
    inner_steps: Positive = 5  # maml, anil, meta_sgd
    order: Literal["first", "second"] = "second"  # maml, anil, meta_sgd
    augment: bool = True  # data.augment on episodes too
    sets: Literal["uniform", "size", "boosted"] = "uniform"  # data.name several: which set an episode is from
    examples: Examples = field(default_factory=Examples)  # which queries count: all, focal or hardest
    validate_every: Positive = 100  # steps
    validate_tasks: Tasks = 400
    validate_within_group: bool = False  # like evaluate.within_group, of the validation tasks


@dataclass(frozen=True, config=STRICT)
class Resample:
    """Drawing the worst novel tasks again, with nothing trained."""

    rounds: UpTo10000 = 10
    tasks: Size = 40  # a round


@dataclass(frozen=True, config=STRICT)
class ScoredSet:
    """An image set to score a run on; its name alone is enough where it is below data.root."""

    name: SetName
    root: PathText | None = None  # None: data.root
    layout: Layout = "auto"  # image_folder with a root: as data.layout, which is of the run's own folder

    @property
    def label(self) -> str:
        """What results call it: a set by its name, a folder by its own."""
        return self.name if self.root is None else os.path.basename(os.path.abspath(self.root))


def _as_section(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """N-way K-shot accuracy on the novel classes."""

    # (way, shot) of each
    settings: Annotated[tuple[tuple[Several, Size], ...], Field(min_length=1)] = ((5, 1), (5, 5))
    queries: Size = 15
    tasks: Annotated[int, Field(ge=2, le=10**6), NUMBER] = 2000
    split: Literal["test", "val"] = "test"
    # novel classes of these image sets, instead of the run's own: names, or {name: image_folder, root: birds}
    sets: tuple[Annotated[ScoredSet, BeforeValidator(_as_section)], ...] = ()
    within_group: bool = False  # all classes of a task from one alphabet, script or superclass
    mirror: bool = False  # features are the mean of those of an image and of its mirror image
    zoom: Annotated[float, Field(ge=1, le=4)] = 1.0  # and of those of its middle, enlarged by this; helps
    #   networks that average maps, as resnet12 does
    moves: Share = 0.0  # and of those of copies, turned, sheared, resized and shifted by this share of the
    #   most that data.augment does; the mirror images of all of them
    copies: Literal[4, 8] = 8  # how many, fewer where some are alike
    transductive: tuple[
        Literal["bd_cspn", "laplacian"], ...
    ] = ()  # solvers that see all queries of a task at
    #   once, on the features of the learner; in tables of their own
    baseline: bool = True  # logistic regression on the pretrained features, and nearest pixels, beside it
    resample: Resample = field(default_factory=Resample)


@dataclass(frozen=True, config=STRICT)
class Runtime:
    """Where and how things run; nothing here changes what is computed, beyond rounding."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: Annotated[int, Field(ge=0, le=512), NUMBER] = 0  # 0: as many as there are cores
    precision: Literal["auto", "float32", "bfloat16"] = "float32"  # of the backbone's convolutions; auto: the
    #   faster one on the machine where the run begins, which its later stages keep
    ordered_sum: bool = (
        False  # meta-training: one task after another, gradients added in their order: the same
    )
    #   bits with any number of processes, slower
    keep_memory: bool = True  # freed memory stays with the process: faster on Linux (glibc)
    checkpoint_seconds: NonNegative = 60.0


@dataclass(frozen=True, config=STRICT)
class Log:
    """What is shown and written while a stage runs; nothing here changes what is computed."""

    every_seconds: NonNegative = 20.0  # between two lines of progress, where the output is not a terminal
    quiet: bool = False  # no progress: results and errors alone
    allow_gaps: bool = False  # go on though the ledger or metrics.jsonl lost what last.pt was saved with
    tensorboard: bool = False  # also event files for TensorBoard, in <checkpoints>/<run>/tensorboard/; needs
    #   its package: pip install tensorboard


@dataclass(frozen=True, config=STRICT)
class Sections:
    """What a config consists of, each key checked by itself; `Config` checks that they fit each other."""

    run: FolderName = "run"
    checkpoints: PathText = "checkpoints"
    seed: Seed = 0
    data: Data = field(default_factory=Data)
    backbone: Backbone = field(default_factory=Backbone)
    pretrain: Pretrain = field(default_factory=Pretrain)
    meta: Meta = field(default_factory=Meta)
    hard_tasks: HardTasks = field(default_factory=HardTasks)
    evaluate: Evaluate = field(default_factory=Evaluate)
    compare: Compare = field(default_factory=Compare)
    runtime: Runtime = field(default_factory=Runtime)
    log: Log = field(default_factory=Log)
