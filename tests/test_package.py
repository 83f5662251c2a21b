"""The distribution: `pip install .` works from any folder, and needs what requirements.txt lists."""

import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from mtl.config.loading import find_config, shipped_configs
from mtl.errors import UserError

ROOT = Path(__file__).parents[1]
#: One epoch of a tiny network on letters.
TINY = """run --config quickstart run=tiny
    data.samples_per_class=6 backbone.channels=[4,4,8,8] pretrain.epochs=1
    pretrain.validate_tasks=5 meta.way=5 meta.queries=2 meta.steps=2 meta.validate_tasks=5 evaluate.tasks=10
    evaluate.queries=2 evaluate.settings=[[5,1]] evaluate.resample.rounds=1 evaluate.resample.tasks=2 -q"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` of an environment that holds the built wheel, and the libraries of this one."""
    home = tmp_path_factory.mktemp("package")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = [
        *pip,
        "wheel",
        "--no-build-isolation",
        "--no-deps",
        "--no-index",
        "--wheel-dir",
        str(home),
        str(ROOT),
    ]
    subprocess.run(wheel, check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home / "env")], check=True)
    (site,) = (home / "env").glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"])
    built = next(home.glob("*.whl"))
    python = home / "env" / "bin" / "python"
    subprocess.run([str(python), *pip[1:], "install", "--no-deps", "--no-index", str(built)], check=True)
    return python.parent


def test_the_wheel_works_from_another_folder(installed, tmp_path):
    def output(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout

    assert "meta-train" in output(str(installed / "mtl"), "--help")
    assert "meta-train" in output(str(installed / "python"), "-m", "mtl", "--help")
    where = output(str(installed / "python"), "-c", "import mtl; print(mtl.__file__)")
    assert Path(where).is_relative_to(installed.parent)
    assert "glyphs" in output(
        str(installed / "mtl"), "data", "--config", "quickstart", "data.samples_per_class=6"
    )
    output(str(installed / "mtl"), *TINY.split())
    made = {p.name for p in (tmp_path / "checkpoints" / "tiny").iterdir()}
    assert {"pretrain.pt", "meta.pt", "hard_tasks.sqlite", "results.json"} <= made


def test_shipped_configs_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    on_disk = {
        p.relative_to(ROOT / "configs").with_suffix("").as_posix() for p in ROOT.glob("configs/**/*.yaml")
    }
    assert set(shipped_configs()) == on_disk
    for name in ("compare/glyphs", "compare/glyphs.yaml", "configs/compare/glyphs.yaml"):
        assert find_config(name) == ROOT / "configs" / "compare" / "glyphs.yaml"
    own = tmp_path / "quickstart"
    own.write_text("run: mine\n")
    assert find_config("quickstart") == Path("quickstart")


def test_a_config_that_is_not_there_names_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("run: mine\n")
    for given, meant in (("quikstart", "quickstart"), ("mien.yaml", "mine.yaml")):
        with pytest.raises(UserError, match=f"^{given}: .* did you mean {meant}\\?"):
            find_config(given)


def test_both_lists_of_requirements_agree():
    def of(line: str) -> tuple[str, str]:
        name, bound = re.fullmatch(r"([\w-]+)([<>=].*?)?", line.split(";", maxsplit=1)[0].strip()).groups()
        return name, (bound or "").split(",")[0]

    lines = (
        line.split("#")[0].split("--config")[0]
        for line in (ROOT / "requirements.txt").read_text().splitlines()
    )
    wanted = {of(line) for line in lines if line.strip()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {
        of(line) for line in (*project["dependencies"], *project["optional-dependencies"]["learn2learn"])
    }
    assert {name for name, _ in asked} == {name for name, _ in wanted}
    assert {one for one in asked if one[0] != "numpy"} == {one for one in wanted if one[0] != "numpy"}
