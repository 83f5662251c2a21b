"""The command line: help, and mistakes reported without a traceback."""

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mtl import cli
from mtl.config import Backbone, Config, Runtime, load_config
from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.errors import RunStopped
from mtl.ledger.store import Ledger
from mtl.own_images.fit import Changes, ClassifierSource
from mtl.own_images.published import DEFAULT
from mtl.runtime import checkpoints
from mtl.runtime.process import Interrupted
from mtl.runtime.run_folder import RunFolder

ROOT = Path(__file__).parents[1]
OF_A_RUN = ("hard-tasks", "agreement", "report", "curriculum")  # these take its folder, not a config
OWN = ("predict", "fit", "export", "learning-curve")  # these take a person's own pictures
TRAINING = ("run", "pretrain", "meta-train", "evaluate", "compare", "data")
COMMANDS = (*TRAINING, *OF_A_RUN, *OWN)


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A config in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text("run: mine\ncheckpoints: runs\ndata: {root: sets, download: false}\n", encoding="utf-8")
    return path


def _mistake(capsys, *arguments):
    """The sentences of a command that has to end with a mistake of the user and write nothing."""
    before = sorted(Path.cwd().rglob("*"))
    assert cli.main(arguments) == 2
    out, told = capsys.readouterr()
    assert out == ""
    assert told.startswith("error: ")
    assert "Traceback" not in told
    assert sorted(Path.cwd().rglob("*")) == before
    return told


def _exit(*arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    return caught.value.code


def _script(*arguments, **options):
    """run_meta.py in a process of its own."""
    command = [sys.executable, ROOT / "run_meta.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_help_names_every_command_and_where_to_start(capsys):
    assert _exit("--help") == 0
    told = capsys.readouterr().out
    assert all(command in told for command in COMMANDS)
    assert "run --config configs/quickstart.yaml" in told


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_one_can_work_from(command, capsys):
    assert _exit(command, "--help") == 0
    told = capsys.readouterr().out
    assert f"run_meta.py {command}" in told
    assert ("key.sub=value" in told) == (command in TRAINING)
    assert ("--config FILE" in told) == (command in TRAINING)
    assert ("--resume" in told.split("Any value")[0]) == (command in TRAINING and command != "data")
    assert max(map(len, told.splitlines())) <= 112


def test_help_costs_no_import_of_torch():
    code = "import sys, mtl.cli; mtl.cli.main(['predict', '--help'])"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--query" in done.stdout
    assert not any(name in done.stderr for name in (" torch\n", " numpy\n", " rich\n"))


def test_the_script_runs_from_anywhere_and_ends_with_the_exit_code_of_the_command(tmp_path):
    done = _script("--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: run_meta.py")
    done = _script("pretrain", "--config", "none.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: none.yaml: there is no such config")


@pytest.mark.parametrize(
    "arguments", [(), ("train",), ("pretrain",), ("hard-tasks",), ("agreement",), ("predict",)]
)
def test_what_is_no_command_ends_with_usage(arguments, capsys):
    assert _exit(*arguments) == 2
    assert "usage: run_meta.py" in capsys.readouterr().err


@pytest.mark.parametrize("command", TRAINING)
def test_mistakes_of_the_config_are_told_before_anything_is_written(command, config, capsys):
    told = _mistake(capsys, command, "--config", str(config), "meta.wya=5", "seed=-1")
    assert "mine.yaml and the command line: 2 mistakes" in told
    assert "meta.wya: no such key; did you mean meta.way?" in told
    assert "seed: -1 " in told


@pytest.mark.parametrize("command", ["meta-train", "evaluate"])
def test_what_needs_a_pretrained_backbone_says_so(command, config, capsys):
    told = _mistake(capsys, command, "--config", str(config))
    assert "pretrain.pt: there is no such checkpoint; pretrain comes first" in told


@pytest.mark.parametrize("folder", ["nowhere", "."])
@pytest.mark.parametrize(
    ("command", "record"), [("hard-tasks", "hard_tasks.sqlite"), ("curriculum", "curriculum.pt")]
)
def test_a_folder_without_the_record_that_a_command_reads_is_refused(command, record, folder, config, capsys):
    told = _mistake(capsys, command, folder)
    assert str(Path(folder) / record) in told
    assert told.count("\n") == 1


def test_an_image_set_that_is_not_there_is_refused(config, capsys):
    told = _mistake(capsys, "pretrain", "--config", str(config), "data.name=image_folder")
    assert "sets" in told


@pytest.mark.parametrize("command", ["run", "pretrain"])
def test_a_run_that_exists_is_not_overwritten(command, config, capsys):
    made = load_config(config)
    folder = RunFolder.of(made)
    folder.path.mkdir(parents=True)
    checkpoints.write(folder.pretrain, checkpoints.header(made, "pretrain", ()))
    before = folder.pretrain.read_bytes()
    told = _mistake(capsys, command, "--config", str(config))
    assert all(part in told for part in ("pretrain has ended there already", "--resume", "run=NAME"))
    assert folder.pretrain.read_bytes() == before


def test_resume_with_another_config_is_refused_with_the_key(config, capsys):
    made = load_config(config)
    folder = RunFolder.of(made)
    folder.path.mkdir(parents=True)
    checkpoints.write(folder.pretrain, checkpoints.header(made, "pretrain", ()))
    told = _mistake(capsys, "pretrain", "--config", str(config), "--resume", "pretrain.epochs=99")
    assert all(part in told for part in ("pretrain.epochs = 10", "99", "give pretrain.epochs=10"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device that is asked for")
def test_a_device_that_is_not_there_is_refused(config, capsys):
    told = _mistake(capsys, "pretrain", "--config", str(config), "runtime.device=cuda")
    assert told.startswith("error: runtime.device: cuda is not available here")


def _command_that_raises(monkeypatch, error):
    def raising(*_):
        raise error

    monkeypatch.setattr("mtl.report.write_report.report", raising)
    return cli.main(["report", "any"])


def test_a_run_that_cannot_go_on_ends_with_1(monkeypatch, capsys):
    assert _command_that_raises(monkeypatch, RunStopped("pretrain: loss is nan at step 3")) == 1
    assert capsys.readouterr() == ("", "stopped: pretrain: loss is nan at step 3\n")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Interrupted("stopped after step 3 of 9"), "stopped after step 3 of 9\n"),
        (KeyboardInterrupt(), "interrupted\n"),
    ],
)
def test_ctrl_c_ends_with_130(monkeypatch, capsys, error, told):
    assert _command_that_raises(monkeypatch, error) == 130
    assert capsys.readouterr() == ("", told)


def test_a_failure_of_the_system_ends_with_1_and_one_sentence(monkeypatch, capsys):
    error = OSError(28, "No space left on device", "a/report.html")
    assert _command_that_raises(monkeypatch, error) == 1
    told = "stopped: a/report.html: No space left on device; free some space\n"
    assert capsys.readouterr() == ("", told)


@pytest.mark.parametrize("place", ["mine.yaml", 256 * "x", "/proc/nowhere"])
@pytest.mark.parametrize("command", ["run", "pretrain", "meta-train", "evaluate", "compare"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(command, place, config, capsys):
    told = _mistake(capsys, command, "--config", str(config), f"checkpoints={place}")
    assert "no folder can be written there" in told
    assert told.count("\n") == 1


def test_a_working_folder_that_is_gone_is_told_at_once(tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert cli.main(["hard-tasks", "a"]) == 2
    assert "working folder is no longer there" in capsys.readouterr().err


def test_a_damaged_results_file_is_told_before_scoring(config, capsys):
    path = RunFolder.of(load_config(config)).results
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert "results.json: cannot be read" in _mistake(capsys, "evaluate", "--config", str(config))


def test_a_package_that_is_missing_is_one_sentence_that_says_how_to_have_it(tmp_path):
    (tmp_path / "pydantic.py").write_text("raise ModuleNotFoundError('No module', name='pydantic')")
    done = _script("--help", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: pydantic is not installed ({sys.executable}); ")
    assert "activate" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_older_python_is_told_so(monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("run_meta", ROOT / "run_meta.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    assert script.start() == 2
    assert "Python 3.11 or newer is needed" in capsys.readouterr().err


def test_an_error_of_the_program_keeps_its_traceback(monkeypatch):
    with pytest.raises(ZeroDivisionError):
        _command_that_raises(monkeypatch, ZeroDivisionError())


@pytest.mark.parametrize(
    ("command", "stage"),
    [("pretrain", "mtl.training.pretrain.pretrain"), ("meta-train", "mtl.training.meta_train.meta_train")],
)
def test_a_command_hands_config_and_resume_to_its_stage(command, stage, config, monkeypatch):
    seen = []
    monkeypatch.setattr(stage, lambda config, resume, world: seen.append((config, resume)))
    assert cli.main([command, "--config", str(config), "--resume", "seed=4"]) == 0
    assert cli.main([command, "seed=5", "--config", str(config)]) == 0
    assert [(c.seed, c.run, resume) for c, resume in seen] == [(4, "mine", True), (5, "mine", False)]
    assert isinstance(seen[0][0], Config)


def test_curriculum_hands_on_where_to_read_and_where_to_draw(monkeypatch):
    seen = []
    monkeypatch.setattr("mtl.report.curriculum_pictures.draw_curriculum", lambda *given: seen.append(given))
    assert cli.main(["curriculum", "runs/mine"]) == 0
    assert cli.main(["curriculum", "runs/mine", "--out", "pictures"]) == 0
    assert seen == [(Path("runs/mine"), None), (Path("runs/mine"), Path("pictures"))]


OF_THINGS = ("--run", "runs/mine", "--support", "things")


def _handed_on(monkeypatch, function, *arguments):
    """What a command gives to the function that does it."""
    seen = []
    monkeypatch.setattr(function, lambda *given, **named: seen.append((given, named)))
    assert cli.main(arguments) == 0
    ((given, named),) = seen
    return given, named


def test_predict_hands_on_what_is_asked(monkeypatch):
    function = "mtl.own_images.predict.predict"
    ((asked,), _) = _handed_on(monkeypatch, function, "predict", *OF_THINGS, "--query", "new", "more/*.jpg")
    assert asked.source == ClassifierSource(Path("runs/mine"), Path("things"))
    assert (list(asked.query), asked.out) == (["new", "more/*.jpg"], Path("predictions.csv"))
    assert asked.page == Path("predictions.html")
    assert (asked.open_set, asked.overwrite, asked.log.quiet) == (False, False, False)
    more = ("--query", "a", "--query", "b", "--out", "x/a.json", "--open-set", "--overwrite", "-q")
    ((asked,), _) = _handed_on(monkeypatch, function, "predict", "--classifier", "c.fewshot", *more)
    assert asked.source == ClassifierSource(classifier=Path("c.fewshot"))
    assert (list(asked.query), asked.page) == (["a", "b"], Path("x/a.html"))
    assert (asked.open_set, asked.overwrite, asked.log.quiet) == (True, True, True)


def test_without_a_run_a_published_network_is_handed_on_and_where_it_runs(monkeypatch):
    function, words = "mtl.own_images.predict.predict", ("predict", "--support", "a", "--query", "new")
    ((asked,), _) = _handed_on(monkeypatch, function, *words, "runtime.threads=1", "log.quiet=true")
    assert asked.source == ClassifierSource(DEFAULT, Path("a"), runtime=Runtime(threads=1))
    assert (asked.query, asked.log.quiet) == (["new"], True)
    named = ("--backbone", "timm.resnet10t", "--weights", "~/a.pth", "-q")
    ((asked,), _) = _handed_on(monkeypatch, function, *words, *named)
    home = os.path.expanduser("~/a.pth")
    assert asked.source.network == Backbone("timm.resnet10t", home)


def test_fit_hands_on_what_is_asked(monkeypatch):
    given, _ = _handed_on(monkeypatch, "mtl.own_images.fit.fit_new", "fit", *OF_THINGS, "--out", "c", "-q")
    assert given[:3] == (ClassifierSource(Path("runs/mine"), Path("things")), Path("c"), False)
    assert given[3].quiet
    words = ("fit", "--support", "a", "--fine-tune", "--out", "c")
    given, _ = _handed_on(monkeypatch, "mtl.own_images.fit.fit_new", *words)
    assert given[0] == ClassifierSource(DEFAULT, Path("a"), fine_tune=True)
    more = ("--add", "more", "--remove", "a,b", "--overwrite", "--out", "d")
    given, _ = _handed_on(monkeypatch, "mtl.own_images.fit.fit_again", "fit", "--classifier", "c", *more)
    assert given[:4] == (Path("c"), Changes("a,b", Path("more")), Path("d"), True)
    assert not given[4].quiet


def test_home_is_found_where_no_shell_has_looked_for_it(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    asked = ["--run=~/runs/a", "--support=~/things", "--query=~/new/*.jpg", "--out=~/a.csv"]
    ((given,), _) = _handed_on(monkeypatch, "mtl.own_images.predict.predict", "predict", *asked)
    assert given.source == ClassifierSource(Path("/home/me/runs/a"), Path("/home/me/things"))
    assert (list(given.query), given.out) == (["/home/me/new/*.jpg"], Path("/home/me/a.csv"))
    given, _ = _handed_on(monkeypatch, "mtl.report.write_report.report", "report", "~/a", "--png=~/b")
    assert given == ([Path("/home/me/a")], None, Path("/home/me/b"))


def test_export_hands_on_what_is_asked(monkeypatch):
    given = ("export", "--classifier", "c.fewshot", "--format", "onnx")
    function = "mtl.own_images.export.export"
    assert _handed_on(monkeypatch, function, *given)[0] == (Path("c.fewshot"), "onnx", None, False)
    more = (*given, "--out", "x", "--overwrite")
    assert _handed_on(monkeypatch, function, *more)[0] == (Path("c.fewshot"), "onnx", Path("x"), True)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("fit", *OF_THINGS), ("--out: is missing",)),
        (
            ("fit", *OF_THINGS, "--out", "c", "--remove", "ash"),
            ("--add, --remove and --fix: ", "--classifier"),
        ),
        (
            ("fit", "--run", "runs/mine", "--out", "c"),
            ("--support: is missing", "<folder>/<class>/*"),
        ),
        (
            ("predict", "--classifier", "c", "--support", "things", "--query", "new"),
            ("--support: does not go with --classifier", "fit --add"),
        ),
        (("predict", "--query", "new"), ("--support: is missing",)),
        (("score", *OF_THINGS, "--pictures", "p", "--weights", "a.pth"), ("--weights: ", "--run")),
        (("fit", *OF_THINGS, "--out", "c", "meta.way=5"), ("meta.way=5: only runtime.",)),
        (("predict", *OF_THINGS, "--query", "new", "runtime.precision=auto"), ("runtime.precision: ",)),
        (("learning-curve", "--support", "a", "--backbone", "resnet18"), ("--backbone and --weights: ",)),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, parts, config, capsys):
    sentence = _mistake(capsys, *arguments)
    assert sentence.startswith(f"error: {parts[0]}")
    assert all(part in sentence for part in parts)


def test_a_run_and_a_classifier_do_not_go_together(capsys):
    assert _exit("predict", *OF_THINGS, "--classifier", "c", "--query", "new") == 2
    assert "not allowed with argument --run" in capsys.readouterr().err


def test_a_name_that_the_terminal_has_no_letters_for_is_still_shown(tmp_path):
    with Ledger.open(tmp_path / "hard_tasks.sqlite") as ledger:
        ledger.register_classes("train", {0: "ψ", 1: "plain"})
        images = torch.arange(4).reshape(1, 2, 2)
        batch = EpisodeBatch(torch.tensor([[0, 1]]), images[..., :1], images[..., 1:], ("uniform",), (0,))
        ledger.append("p", 0, 0, batch, Outcome.of(torch.eye(2)[None], 2, 1), "train")
        ledger.commit("1")
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = _script("hard-tasks", str(tmp_path), env={**os.environ, **ascii_only})
    assert "\\u03c8, plain" in done.stdout


@pytest.fixture
def logged(tmp_path):
    """The folder of a run whose ledger has one episode."""
    folder = tmp_path / "logged"
    folder.mkdir()
    with Ledger.open(folder / "hard_tasks.sqlite") as ledger:
        images = torch.arange(4).reshape(1, 2, 2)
        batch = EpisodeBatch.of(torch.tensor([[0, 1]]), images, 1, "uniform")
        ledger.append("p", 0, 0, batch, Outcome.of(torch.eye(2)[None], 2, 1), "train")
        ledger.commit("1")
    return folder


def test_the_log_is_exported_and_an_episode_shown(logged, capsys):
    assert cli.main(["hard-tasks", str(logged), "--format", "jsonl"]) == 0
    lines = capsys.readouterr().out
    assert cli.main(["hard-tasks", str(logged), "--format", "jsonl", "--out", str(logged / "log.jsonl")]) == 0
    assert (logged / "log.jsonl").read_text("utf-8") == lines
    assert cli.main(["hard-tasks", str(logged), "--task", "1-0", "--format", "json"]) == 0
    shown = capsys.readouterr().out
    assert json.loads(shown) == json.loads(lines.splitlines()[1])


def test_the_command_that_an_episode_ends_with_shows_it_again(logged, capsys):
    assert cli.main(["hard-tasks", str(logged), "--task", "1-0"]) == 0
    shown = capsys.readouterr().out
    words = shlex.split(shown.splitlines()[-1].partition(": ")[2])
    assert words[:2] == ["python", "run_meta.py"]
    assert cli.main(words[2:]) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ("--format parquet", ("parquet", "--out")),
        ("--format jsonl --out log.txt", ("log.txt", ".jsonl")),
        ("--format jsonl --out nowhere/log.jsonl", ("nowhere",)),
        ("--format jsonl --top 5", ("--top", "jsonl")),
        ("--format jsonl --round 0", ("--round", "jsonl")),
        ("--format parquet --task 1-0 --out x.parquet", ("--task", "parquet")),
        ("--format jsonl --images", ("--images", "jsonl")),
        ("--format jsonl --follow", ("--follow", "jsonl")),
        ("--out x.jsonl", ("--out", "jsonl", "parquet")),
        ("--format csv --out x.csv", ("--out", "jsonl", "parquet")),
        ("--format fiftyone --round 0 --out x.json", ("--round", "fiftyone")),
        ("--phase p", ("--phase", "fiftyone")),
        ("--follow --task 1-0", ("--task", "--follow")),
        ("--follow --images", ("--images", "--follow")),
        ("--task 1-0 --format csv", ("csv", "--task")),
        ("--task 1-0 --round 0", ("--round", "--task")),
        ("--task 1-0 --images", ("--images", "--task")),
        ("--task 1-1", ("1-1", "1-0 to 1-0", "p")),
        ("--task 7", ("episode 7", "1-0 to 1-0")),
        ("--top 0", ("top", "0")),
        ("--every 2", ("--every", "--follow")),
    ],
)
def test_options_that_do_not_go_together_are_one_sentence(options, facts, logged, capsys, monkeypatch):
    monkeypatch.chdir(logged)
    told = _mistake(capsys, "hard-tasks", str(logged), *options.split())
    assert told.count("\n") == 1
    assert [fact for fact in facts if fact not in told] == []
