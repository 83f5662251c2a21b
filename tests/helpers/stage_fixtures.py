"""What tests of several stages begin with: images, pretrained runs, interruptions, a finished comparison."""

import dataclasses
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from small_comparison import small_comparison, spy_on_updates

from mtl.compare import runs as cells
from mtl.compare import study as stage
from mtl.compare import work
from mtl.compare.study import compare
from mtl.data.augment import Normalise
from mtl.episodes.episode import Outcome
from mtl.runtime.devices import choose_device
from mtl.runtime.progress import Progress
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.training import meta_train, pretrain
from mtl.training.restore import pretrained_backbone, read_pretrained
from mtl.training.run_data import load_run_data
from mtl.training.solve import SplitImages, extract


@pytest.fixture
def pictures():
    """60 images of noise."""
    pixels = torch.randint(0, 256, (60, 1, 16, 16), dtype=torch.uint8, generator=generator(0, "pixels"))
    return SplitImages(pixels, Normalise((0.5,), (0.25,)), 7)


def _same(one, other) -> bool:
    """Equal containers, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    return one == other


@pytest.fixture
def same():
    return _same


@pytest.fixture
def interrupt_at(monkeypatch):
    """A signal (Ctrl-C) while these steps are under way, once in each: the steps that are still to come."""

    def patch(steps: set[int], number: int = signal.SIGINT) -> set[int]:
        coming, plain = set(steps), Progress.step

        def step(self, **numbers):
            plain(self, **numbers)
            if self.done in coming:
                coming.discard(self.done)
                signal.raise_signal(number)

        monkeypatch.setattr(Progress, "step", step)
        return coming

    return patch


@pytest.fixture
def in_groups():
    """The image set of a config, the training classes of which are in these groups."""

    def load(config, groups):
        run_data = load_run_data(config)
        train = dataclasses.replace(run_data.splits.train, groups=groups)
        return dataclasses.replace(run_data, splits=dataclasses.replace(run_data.splits, train=train))

    return load


@pytest.fixture
def prepared(tiny, from_pretrained):
    """Makes the config of a tiny run whose backbone is pretrained, the image set, and the device."""

    def make(**sections):
        config = tiny(run="base", **{"seed": 3, **sections})
        config = dataclasses.replace(config, compare=dataclasses.replace(config.compare, judged_tasks=25))
        from_pretrained(config)
        return config, load_run_data(config), choose_device(config.runtime)

    return make


def _novel_features(config, run_data, device):
    payload = read_pretrained(RunFolder.of(config), config)
    backbone = pretrained_backbone(payload, config, run_data.splits.train)
    backbone.eval()
    pictures = run_data.split_images("test", device)
    return extract(backbone, pictures, torch.arange(len(pictures.images)))


@pytest.fixture
def novel_features():
    """The features of every novel image, by the pretrained backbone of a run."""
    return _novel_features


@pytest.fixture
def guessing():
    """Answers any task at random, and remembers what it was asked."""
    asked = []

    def solve(episodes):
        asked.append(episodes)
        shape = len(episodes), episodes.way * episodes.queries, episodes.way
        random = generator(0, "guess", len(asked))
        return Outcome.of(torch.randn(shape, generator=random), episodes.way, episodes.queries)

    return solve, asked


@pytest.fixture
def few_validation_tasks(monkeypatch):
    """Heads are chosen on few tasks."""
    monkeypatch.setattr(cells, "VALIDATION_TASKS", 30)


@pytest.fixture
def quick(monkeypatch, few_validation_tasks):
    """Few tasks to choose heads on, and no plots: `finished` has drawn them."""
    for plot in ("forest", "curves"):
        monkeypatch.setattr(stage.plots, plot, lambda *_: Figure())


@pytest.fixture(scope="session")
def config_of(image_root):
    """Makes configs of small comparisons below a folder: `config_of(folder, compare={"seeds": 1})`."""
    return partial(small_comparison, image_root)


@dataclasses.dataclass
class Finished:
    """A comparison that ran to its end, and what was seen on the way."""

    home: Path
    study: object
    updates: list[Path]  # the run folder of each update of meta-training
    judged: list[tuple[int, str, dict]]  # seed, arm, the judged tasks that it was given


def _spied(plain, seen):
    def call(config, arm, run_data, device, judged, *more):
        seen.append((config.seed, arm, judged))
        return plain(config, arm, run_data, device, judged, *more)

    return call


@pytest.fixture(scope="session")
def finished(config_of, tmp_path_factory):
    config = config_of(tmp_path_factory.mktemp("finished"))
    seen = Finished(Path(config.checkpoints) / config.run, None, [], [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "VALIDATION_TASKS", 30)
        spy_on_updates(patch, seen.updates)
        for name in ("arm_cells", "pretrained_cell"):
            patch.setattr(work, name, _spied(getattr(work, name), seen.judged))
        seen.study = compare(config)
    return seen


@pytest.fixture
def again(config_of, finished, tmp_path):
    """A copy of the finished comparison to go on with: makes its config."""

    def make(**sections):
        shutil.copytree(finished.home, tmp_path / "study", dirs_exist_ok=True)
        return config_of(tmp_path, **sections)

    return make


@pytest.fixture
def no_training(monkeypatch):
    """Every update, of whichever stage, fails."""

    def failing(*_, **__):
        raise AssertionError("nothing is left to train")

    monkeypatch.setattr(meta_train, "meta_step", failing)
    monkeypatch.setattr(pretrain, "pretrain_step", failing)
