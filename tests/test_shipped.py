"""What is shipped works, on a tiny image set: every config, and every command that README and docs show."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from made_trials import made_trials, zipped
from torch.utils.data import TensorDataset

from mtl.cli import main
from mtl.config import load_config
from mtl.config.hard_tasks import is_read
from mtl.models.backbones import build_backbone
from mtl.own_images.published import published

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
COMPARED = sorted((ROOT / "configs" / "compare").glob("*.yaml"))
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*/README.md"))]
FOUND = [  # without their comments, and without the spaces that align them
    (" ".join(line.partition("  #")[0].split()), text)
    for text in reversed(TEXTS)
    for line in re.findall(r"^(?:\$ )?python run_meta\.py (.+)$", text.read_text("utf-8"), re.M)
]
COMMANDS = [  # each once, whichever run it is about
    pytest.param(command, id=f"{text.name}: {command}"[:90])
    for command, text in {re.sub(r"checkpoints/\w+", "RUN", found[0]): found for found in FOUND}.values()
]

#: Networks that the texts name, and the files of their weights.
LITE = "timm.tf_efficientnet_lite0"
PUBLISHED = {
    "torchvision.efficientnet_b0": "efficientnet_b0_rwightman-7f5810bc.pth",
    LITE: "efficientnet-lite0-57934424.pth",
}


@pytest.fixture
def small(image_root: Path, tmp_path: Path) -> list[str]:
    """Overrides that make any shipped config a run of seconds."""
    return [
        f"checkpoints={tmp_path / 'checkpoints'}",
        "data.name=image_folder",
        "data.sets=[]",
        "pretrain.sets.samples=null",
        "data.probe_fraction=0",
        "data.imbalance.type=none",
        f"data.root={image_root}",
        "data.image_size=16",
        "data.grayscale=true",
        "data.rotations=false",
        "backbone.name=conv4",
        "backbone.weights=null",
        "backbone.channels=[4,4,8,8]",
        "pretrain.epochs=1",
        "pretrain.batch_size=32",
        "pretrain.validate_tasks=5",
        "meta.way=3",
        "meta.queries=3",
        "meta.tasks=2",
        "meta.steps=4",
        "meta.validate_every=2",
        "meta.validate_within_group=false",
        "meta.validate_tasks=5",
        "hard_tasks.every=2",
        "hard_tasks.share=0.8",
        "evaluate.settings=[[3,1],[3,2]]",
        "evaluate.queries=3",
        "evaluate.within_group=false",
        "evaluate.tasks=10",
        "evaluate.resample.rounds=2",
        "evaluate.resample.tasks=3",
        "runtime.threads=1",
    ]


@pytest.mark.parametrize("path", [*CONFIGS, *COMPARED], ids=lambda p: f"{p.parent.name} {p.stem}")
def test_every_config_opens_with_its_command_and_what_to_expect(path: Path):
    opening = path.read_text("utf-8").split("\nrun:")[0]
    assert opening.startswith("# python run_meta.py ")
    assert f"configs/{path.relative_to(ROOT / 'configs')}" in opening.splitlines()[0]
    assert "Expected time on 2 cores" in opening
    assert "Expected accuracy" in opening
    assert load_config(path).run == ("compare_" if path in COMPARED else "") + path.stem


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_config_runs(path: Path, small: list[str], capsys: pytest.CaptureFixture[str]):
    unread = () if is_read("every", load_config(path).hard_tasks.sampler) else ("hard_tasks.",)
    assert main(["run", "--config", str(path), *(one for one in small if not one.startswith(unread))]) == 0
    shown = capsys.readouterr().out
    assert "3-way 1-shot, 10 test tasks" in shown
    assert "nearest pixels" in shown


@pytest.mark.parametrize("path", COMPARED, ids=lambda p: p.stem)
def test_every_comparison_runs(path: Path, small: list[str], capsys: pytest.CaptureFixture[str]):
    pretrains = load_config(path).compare.stage == "pretrain"
    ways = {
        "hard_tasks.sampler": ("uniform", "neighbours"),
        "pretrain.examples.by": ("all", "self_paced"),
    }
    key = list(ways)[pretrains]
    arms = [{"name": way, "change": [f"{key}={way}"]} for way in ways[key]]
    fewer = [f"compare.arms={json.dumps(arms)}", f"compare.reference={ways[key][0]}", "evaluate.split=test"]
    one_way = [
        f"compare.judged_tasks={0 if pretrains else 10}",
        f"compare.longer={str(not pretrains).lower()}",
    ]
    assert main(["compare", "--config", str(path), *small, *one_way, "compare.seeds=1", *fewer]) == 0
    shown = capsys.readouterr().out
    assert "3-way 1-shot: 10 tasks" in shown
    assert ("pretrained longer" in shown) == (not pretrains)


@pytest.fixture
def at_home(
    image_root: Path, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Makes, in the working folder, what a person with own pictures has: a run, folders and a classifier."""

    def prepare(run: str) -> None:
        monkeypatch.chdir(ROOT)
        assert main(["run", "--config", "configs/quickstart.yaml", *small, f"run={run}"]) == 0
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
        cache = tmp_path / "torch" / "hub" / "checkpoints"
        cache.mkdir(parents=True)
        for backbone, file in PUBLISHED.items():  # random weights of that form
            if backbone.startswith("timm"):
                pytest.importorskip("timm", reason="timm is not installed")
            network = build_backbone(published(backbone), 3, 224, torch.Generator()).network
            torch.save(network.state_dict(), cache / file)
        shutil.copyfile(cache / PUBLISHED[LITE], tmp_path / PUBLISHED[LITE])
        classes = sorted((image_root / "train").iterdir())
        for number, name in enumerate(("fox", "rose", "whale", "poppy", "ash")):
            for folder in ("more",) if name == "ash" else ("my_things", "many_things"):
                shutil.copytree(classes[number], tmp_path / folder / name)
            for i, file in enumerate(sorted(classes[number].iterdir())):
                place = tmp_path / "photos" / ("train", "test")[i % 2] / name
                place.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place / file.name)
        shutil.copytree(classes[0], tmp_path / "new_pictures")
        for file in list((tmp_path / "new_pictures").iterdir()):
            file.rename(file.with_name(f"fox-{file.name}"))
        shutil.copyfile(next((tmp_path / "new_pictures").iterdir()), tmp_path / "new.jpg")
        (tmp_path / "corrections.csv").write_text("path,label\nnew.jpg,rose\n")
        of_run = ("--run", f"checkpoints/{run}", "--support", "my_things")
        assert main(["fit", *of_run, "--out", "things.fewshot"]) == 0

    return prepare


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_in_the_texts_runs(
    command: str,
    small: list[str],
    at_home: Callable[[str], None],
    image_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    words = [w for w in shlex.split(command, comments=True) if w != "[--resume]"]
    monkeypatch.chdir(ROOT)
    if "parquet" in words:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    if words[0] in {"hard-tasks", "agreement", "curriculum", "report"}:  # they read runs that are there
        for place, folder in enumerate(words):
            if folder.startswith("checkpoints/") and "." not in folder:
                run = Path(folder).name.strip("<>")
                recorded = [f"run={run}", "pretrain.examples.by=self_paced"]
                assert main(["run", "--config", "configs/quickstart.yaml", *small, *recorded]) == 0
                words[place] = str(tmp_path / "checkpoints" / run)
            elif words[place - 1] in {"--png", "--out"}:
                words[place] = str(tmp_path / folder)
        assert main(words) == 0
        return
    if words[0] in {"predict", "fit", "export", "learning-curve"}:
        run = words[words.index("--run") + 1] if "--run" in words else "checkpoints/cifar_fs"
        at_home(Path(run).name)
        assert main([*words, "--overwrite"]) == 0
        return
    if words[0] == "studio":
        uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
        monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
        at_home("cifar_fs")
        assert main(words) == 0
        return
    if words[0] == "score":
        at_home("cifar_fs")
        learned = ("--support", "photos/train", "--out", "photos.fewshot")
        assert main(["fit", "--run", "checkpoints/cifar_fs", *learned]) == 0
        assert main(words) == 0
        return
    name = next((w for w in words if w.startswith("run=")), None)
    extra = small if name is None else [*small, name]
    if words[0] == "data":
        extra = [*extra, "--sheet", str(tmp_path / "sheet.png")]
    if words[0] == "compare" and "--seeds" not in words:
        extra = [*extra, "compare.seeds=1"]  # enough to see that it runs
    if words[0] in {"meta-train", "evaluate"}:
        if "--trials" in words:
            words[words.index("--trials") + 1] = str(zipped(tmp_path / "all_runs.zip", made_trials()))
        shutil.copytree(image_root / "test", tmp_path / "birds")  # another folder of novel classes
        words = [word.replace("root: birds", f"root: {tmp_path / 'birds'}") for word in words]
        given = [word for word in words if word.startswith("data.")]
        before = ["pretrain", *words[1 : words.index("--config") + 2], *given]
        assert main([*before, *extra]) == 0
    assert main([*words, *extra]) == 0


def test_the_texts_show_commands():
    assert len(COMMANDS) > 5


def _python(word: str) -> str:
    """The one block of Python in the texts that has this word in it."""
    blocks = [b for text in TEXTS for b in re.findall(r"```python\n(.*?)```", text.read_text("utf-8"), re.S)]
    assert len(blocks) == 3
    (found,) = (block for block in blocks if word in block)
    return found


def test_the_samplers_and_losses_that_the_texts_show_run():
    """Image sets that the reader would have stand in as tensors."""
    photos, drawings = (TensorDataset(torch.zeros(n, 3, 8, 8), torch.arange(n) % 3) for n in (40, 90))
    names = {"photos": photos, "drawings": drawings}
    exec(_python("ImbalancedSampler"), names)
    loss, loader = names["loss"], names["loader"]
    loss.begin_epoch(0)
    images, labels = next(iter(loader))
    assert len(images) == 64
    assert loss(torch.zeros(64, 3), labels, images=torch.arange(64) % len(photos)).isfinite()


@pytest.mark.filterwarnings("ignore:.* support images")  # the same few pictures are at hand for all
def test_the_classifier_that_the_texts_show_runs(at_home: Callable[[str], None]):
    at_home("cifar_fs")
    names: dict[str, object] = {}
    exec(_python("FewShotClassifier"), names)
    assert list(names["classifier"].classes_) == ["fox", "poppy", "rose", "whale"]


def test_the_exported_classifier_answers_as_the_texts_show(
    at_home: Callable[[str], None], capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    at_home("cifar_fs")
    assert main(["export", "--classifier", "things.fewshot", "--format", "onnx"]) == 0
    block = _python("onnxruntime").replace('convert("RGB")', 'convert("L")')  # the tiny images are grey
    exec(block.replace("np.asarray(square).transpose(2, 0, 1)", "np.asarray(square)[None]"), {})
    assert "fox" in capsys.readouterr().out.splitlines()[-1]
