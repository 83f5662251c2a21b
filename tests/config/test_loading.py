"""YAML and overrides to a Config: what is read, what comes back out, what is not imported."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mtl.config import Config, Meta, load_config, read_config, to_dict, to_yaml
from mtl.errors import UserError

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))


def _file(folder, text):
    path = folder / "some.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_given_is_all_defaults(tmp_path):
    assert load_config(None) == Config()
    assert load_config(_file(tmp_path, "# only a comment\n")) == Config()


def test_overrides_lie_over_the_file_and_make_sections_that_it_lacks(tmp_path):
    path = _file(tmp_path, "meta: {way: 7, shot: 3}\n")
    config = load_config(path, ["meta.way=4", "meta.head.name=ridge", "evaluate.settings=[[4, 2]]", "run=x"])
    assert config.meta == Meta(way=4, shot=3, head=dataclasses.replace(Meta().head, name="ridge"))
    assert config.evaluate.settings == ((4, 2),)
    assert config.run == "x"


def test_an_override_may_hold_an_equals_sign_and_blanks_around_its_key():
    assert load_config(None, [" run =a=b"]).run == "a=b"


def test_a_later_override_wins():
    assert load_config(None, ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize("written", ["1e-3", "0.001", "1.0e-3", "'1e-3'"])
def test_every_way_to_write_a_small_rate_is_read(tmp_path, written):
    # YAML 1.1 takes 1e-3 for a string
    assert load_config(_file(tmp_path, f"meta: {{lr: {written}}}\n")).meta.lr == 1e-3


def test_null_stands_for_the_default_where_there_is_one():
    assert load_config(None, ["data.image_size=null", "backbone.channels=~"]) == Config()


def test_lists_become_tuples_so_that_a_config_can_be_hashed():
    config = read_config({"backbone": {"channels": [8, 8, 8, 8]}}, "here")
    assert config.backbone.channels == (8, 8, 8, 8)
    assert hash(config) == hash(read_config(to_dict(config), "there"))


def test_a_config_is_frozen():
    config = Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.meta.head.scale = 1.0


def test_yaml_of_a_config_reads_as_the_same_config(tmp_path):
    config = load_config(
        None,
        ["meta.lr=1e-5", "backbone.channels=[8,8,8,8]", "data.grayscale=true", "evaluate.settings=[[5,1]]"],
    )
    assert load_config(_file(tmp_path, to_yaml(config))) == config


def test_yaml_of_a_config_holds_every_key_in_the_order_of_the_schema():
    tree = yaml.safe_load(to_yaml(Config()))

    def keys(section):
        return {
            f.name: keys(getattr(section, f.name))
            if dataclasses.is_dataclass(getattr(section, f.name))
            else 0
            for f in dataclasses.fields(section)
        }

    def shape(node):
        return {k: shape(v) if isinstance(v, dict) else 0 for k, v in node.items()}

    assert shape(tree) == keys(Config())
    assert list(tree) == [f.name for f in dataclasses.fields(Config)]
    assert list(tree["meta"]["head"]) == [f.name for f in dataclasses.fields(Config().meta.head)]


def test_there_are_shipped_configs():
    assert ROOT / "configs" / "quickstart.yaml" in SHIPPED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_a_shipped_config_loads_under_its_own_name(path):
    assert load_config(path).run == path.stem


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_a_shipped_config_opens_with_its_command_time_and_accuracy(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    code = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    opening = "\n".join(lines[:code])
    assert lines[0].startswith("#")
    assert "python run_meta.py" in lines[0]
    assert f"configs/{path.name}" in opening
    assert "Expected" in opening


@pytest.mark.parametrize("module", ["mtl.config", "mtl.cli"])
def test_reading_the_config_costs_no_import_of_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_missing_file_is_told_with_the_nearest_name(tmp_path):
    _file(tmp_path, "seed: 1\n")
    with pytest.raises(UserError, match=r"sone\.yaml: there is no such config; did you mean .*some\.yaml\?"):
        load_config(tmp_path / "sone.yaml")


def test_a_missing_file_without_a_like_name_is_told_alone(tmp_path):
    with pytest.raises(UserError, match=r"lonely\.yaml: there is no such config$"):
        load_config(tmp_path / "lonely.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("meta: {way: 5\n", "is not YAML: .*line 2"),
        ("- a\n- b\n", "must hold keys and values at its top level, not a list"),
        ("5\n", "must hold keys and values at its top level, not a int"),
    ],
)
def test_a_file_that_holds_no_config_is_refused_by_name(tmp_path, text, words):
    with pytest.raises(UserError, match=rf"some\.yaml: {words}"):
        load_config(_file(tmp_path, text))


def test_a_file_that_is_no_text_is_refused_by_name(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UserError, match=r"some\.yaml: cannot be read"):
        load_config(path)


def test_a_folder_is_no_config(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load_config(tmp_path)
