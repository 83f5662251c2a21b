"""YAML and overrides to a Config: what is read, what comes back out, and every mistake in one sentence."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from config_mistakes import mistake, mistakes

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


@pytest.mark.parametrize(("override", "rate"), [("meta.lr*=0.5", 0.02), ("meta.lr*=2", 0.08)])
def test_a_factor_multiplies_what_the_file_says_or_the_default(tmp_path, override, rate):
    assert load_config(_file(tmp_path, "meta: {lr: 0.04}\n"), [override]).meta.lr == pytest.approx(rate)
    assert load_config(None, [override]).meta.lr == pytest.approx(rate / 40)


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


@pytest.mark.parametrize(
    "code", ["mtl.cli", "mtl.config; mtl.config.load_config(None, ['backbone.name=torchvision.resnet18'])"]
)
def test_reading_a_config_imports_neither_torch_nor_a_library_of_networks(code):
    code = f"import sys, {code}; sys.exit(not {{'torch', 'torchvision', 'timm'}}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_missing_file_is_refused_by_name(tmp_path):
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


def test_a_folder_is_no_config(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load_config(tmp_path)


def test_all_mistakes_are_reported_at_once_and_those_of_overrides_first():
    sentences = mistakes(
        {
            "seed": -1,
            "hardtasks": {},
            "data": {"name": "omniglott"},
            "meta": {"wya": 5, "lr": 0, "head": {"penalty": "much"}},
        }
    )
    keys = ["data.name", "hardtasks", "meta.head.penalty", "meta.lr", "meta.wya", "seed"]
    assert sorted(s.split(":")[0] for s in sentences) == keys
    sentences = mistakes(["seed", "meta.way=1", "run=a/b"])
    assert [s.split(":")[0] for s in sentences] == ["'seed'", "run", "meta.way"]


@pytest.mark.parametrize(
    ("tree", "allowed"),
    [
        ({"meta": {"way": 1}}, "at least 2"),
        ({"meta": {"lr": 0}}, "more than 0"),
        ({"pretrain": {"warm_up": 1.5}}, "at most 1"),
        ({"pretrain": {"epochs": -1}}, "at least 0"),
        ({"data": {"label_noise": 1}}, "less than 1"),
        ({"meta": {"shot": 1.5}}, "a whole number"),
        ({"meta": {"shot": None}}, "a whole number"),
        ({"meta": {"shot": "1e3"}}, "a whole number, written in digits"),
        ({"meta": {"lr": "fast"}}, "a number"),
        ({"meta": {"lr": "nan"}}, "a finite number"),
        ({"log": {"quiet": "very"}}, "true or false"),
        ({"data": {"split_fractions": 64}}, "a list, as in [1, 2]"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_a_value_out_of_bounds_is_refused_with_its_bound(tree, allowed):
    ((section, ((key, value),)),) = ((section, keys.items()) for section, keys in tree.items())
    assert mistakes(tree) == [f"{section}.{key}: {value!r} is not allowed; it must be {allowed}"]


@pytest.mark.parametrize(
    ("tree", "parts"),
    [
        ({"backbone": {"channels": [64, 64]}}, ("backbone.channels: [64, 64]", "have 4 values, not 2")),
        ({"backbone": {"channels": [1, 2, 3, 4, 5]}}, ("backbone.channels: ", "have 4 values, not 5")),
        ({"backbone": {"channels": [8, 8, 0, 8]}}, ("backbone.channels[2]: 0", "at least 1")),
        ({"evaluate": {"settings": [[5, 1], [5]]}}, ("evaluate.settings[1]: [5]", "have 2 values, not 1")),
        ({"evaluate": {"settings": [[5, 1, 15]]}}, ("evaluate.settings[0]: ", "have 2 values, not 3")),
        ({"evaluate": {"settings": [[5, 0]]}}, ("evaluate.settings[0][1]: 0", "at least 1")),
        ({"evaluate": {"settings": []}}, ("evaluate.settings: []", "at least 1 value")),
        ({"data": {"classes": {"test": [7]}}}, ("data.classes.test[0]: 7", "must be text; put quotes")),
        ({"run": 2020}, ("run: 2020", "must be text; put quotes")),
        ({"data": {"unreadable": True}}, ("data.unreadable: True", "'refuse' or 'skip'")),
        *(
            ({"pretrain": {key: {"by": two}}}, (f"pretrain.{key}.by: {two!r}", "do not go together"))
            for key, two in (("balance", ["sampling", "weights"]), ("examples", ["focal", "hardest"]))
        ),
    ],
    ids=str,
)
def test_a_list_or_text_that_is_wrong_is_one_sentence(tree, parts):
    mistake(tree, *parts)


def test_a_word_that_is_no_choice_is_refused_with_all_choices_and_the_nearest():
    assert mistakes({"meta": {"order": "frist"}}) == [
        "meta.order: 'frist' is not allowed; allowed are 'first' or 'second'; did you mean first?"
    ]
    assert mistakes({"backbone": {"pool": "xyz"}}) == [
        "backbone.pool: 'xyz' is not allowed; allowed are 'flatten' or 'mean'"
    ]


@pytest.mark.parametrize(
    ("tree", "opening"),
    [
        ({"hardtasks": {}}, "hardtasks: no such key; did you mean hard_tasks? (known here: run,"),
        ({"meta": {"head": {"nam": 1}}}, "meta.head.nam: no such key; did you mean meta.head.name? (known"),
        ({"log": {"tensorbord": True}}, "log.tensorbord: no such key; did you mean log.tensorboard?"),
        ({"meta": {"zzz": 1}}, "meta.zzz: no such key (known here: algorithm, way,"),
        ({"meta": {True: 1}}, "meta[1]: no such key; keys are words"),
        ({"meta": 5}, "meta: 5 is a single value, but meta is a section"),
        ({"meta": {"head": "ridge"}}, "meta.head: 'ridge' is a single value, but meta.head is a section"),
        ({"meta": None}, "meta: is empty, but meta is a section"),
    ],
)
def test_a_key_or_section_that_does_not_exist_is_refused_with_the_nearest(tree, opening):
    mistake(tree, opening)


@pytest.mark.parametrize(
    ("override", "opening"),
    [
        ("meta.way", "'meta.way': an override is written key.sub=value"),
        ("=5", "'=5': an override is written key.sub=value"),
        ("meta.way=[5", "meta.way: '[5' is not a YAML value"),
        ("meta.wya=5", "meta.wya: no such key; did you mean meta.way?"),
        ("run*=2", "run*=2: *= multiplies a number"),
    ],
)
def test_an_override_that_cannot_be_read_is_refused(override, opening):
    mistake([override], opening)


def test_an_override_below_a_single_value_is_refused():
    assert mistakes(["seed=1", "seed.sub=2"]) == ["seed.sub: seed is a single value and has no keys below it"]


def test_a_long_value_is_cut_and_many_mistakes_are_counted():
    sentences = mistakes({"seed": "x" * 100_000, "run": "y/" * 1000})
    assert len(sentences) == 2
    assert max(map(len, sentences)) < 300
    with pytest.raises(UserError) as caught:
        read_config({f"key{n}": n for n in range(10_000)}, "here")
    assert str(caught.value).count("\n") <= 20


class TestTextKeys:
    @pytest.mark.parametrize(
        "text", ["my photos #2", "@x", "=*x", "%x", "a: b", "2024", "yes", "[a]", "{a", "'q'"]
    )
    def test_a_text_is_taken_as_it_is(self, text):
        assert load_config(None, [f"data.root={text}"]).data.root == text

    def test_a_choice_is_taken_as_it_is(self):
        mistake(["data.name=glyphs #2"], "data.name: 'glyphs #2' is not allowed")

    def test_a_list_of_texts_holds_what_is_written(self):
        config = load_config(None, ["data.name=image_folder", "data.classes.train=[007, no, 1e3, 'dog?']"])
        assert config.data.classes.train == ("007", "no", "1e3", "dog?")
        assert load_config(None, ["data.classes.train=[]"]) == Config()

    @pytest.mark.parametrize("nothing", ["null", "~"])
    def test_a_text_that_may_be_missing_can_be_removed(self, nothing, tmp_path):
        path = _file(tmp_path, "backbone: {weights: a.pth}\n")
        assert load_config(path, [f"backbone.weights={nothing}"]).backbone.weights is None
