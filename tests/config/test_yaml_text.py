"""YAML that people write, and YAML that wants to break things: values, or one sentence, at once."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.config import Config, load_config, read_config, to_yaml
from mtl.config.yaml_text import MOST_BYTES, NotYaml, parse
from mtl.errors import UserError

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{two}: &{two} [{', '.join(9 * ['*' + one])}]\n" for one, two in zip("abcdefgh", "bcdefghi", strict=True)
)


def _refused(folder, content):
    """The one sentence about a file."""
    path = folder / "some.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        load_config(path)
    told = str(caught.value)
    assert told.startswith(str(path))
    assert len(told) < 1000
    return told


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("0", 0),
        ("1_000", 1000),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1.5e+3", 1500.0),
        ("true", True),
        ("~", None),
        ("null", None),
        ("[1, a]", [1, "a"]),
        ("'5'", "5"),
        *((text, text) for text in ("yes", "no", "On", "010", "0x10", "0o7", "1:30", "1:30.5", "2024-05-01")),
        *((text, text) for text in ("1e-3", "=", "08.5", "0b1")),
    ],
)
def test_a_value_is_what_is_written(written, value):
    assert parse(written) == value
    assert type(parse(written)) is type(value)


def test_merged_keys_and_aliases_are_read():
    assert parse("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 1, "y": 2},
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("meta:\n  way: 7\nseed: 1\nmeta:\n  shot: 3\n", "meta is there twice, in lines 1 and 4"),
        ("meta: {head: {scale: 1,\n scale: 2}}", "meta.head.scale is there twice, in lines 1 and 2"),
        ("compare: {arms: [{name: a, name: b}]}", "compare.arms.name is there twice, in lines 1 and 1"),
        (LAUGHS + "run: *i\n", "aliases counted"),
        ("a: &a [*a]", "a holds itself"),
        ("a: " + 100 * "[" + 100 * "]", "nests deeper than"),
        ("a: " + 100_000 * "[", "nest"),
        ("\n".join(i * " " + "a:" for i in range(600)), "nest"),
        ("seed: !!bool abc", "a value that is none"),
        ("seed: !!int abc", "a value that is none"),
        ("seed: !!timestamp abc", "timestamp"),
        ("seed: !!python/object/apply:os.system [ls]", "python/object"),
        ("seed: " + 5000 * "9", "a value that is none"),
        ("a: 1\n" * 100_000, f"longer than {MOST_BYTES:,} bytes"),
        ("run: a\n".encode("utf-16"), "it is UTF-16 text; save it as UTF-8"),
        (b"run: \xe4\n", "no UTF-8 text"),
        ("run: a\x00b", "is not YAML"),
    ],
    ids=lambda x: str(x)[:20],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path, text, told):
    assert told in _refused(tmp_path, text)


@pytest.mark.parametrize("date", ["2020-99-99", "2020-01-01 25:61:00", "2024-05-01"])
def test_a_date_is_no_number_but_may_be_a_name(tmp_path, date):
    assert "seed: " in _refused(tmp_path, f"seed: {date}")
    (tmp_path / "a.yaml").write_text(f"run: {date[:10]}\n")
    assert load_config(tmp_path / "a.yaml").run == date[:10]


@pytest.mark.parametrize("written", ["010", "'010'", "0x10", "1:30", "0100", "-01", "true", "yes"])
def test_a_number_that_may_be_read_in_two_ways_is_refused(tmp_path, written):
    assert "seed: " in _refused(tmp_path, f"seed: {written}")
    assert "meta.lr: " in _refused(tmp_path, f"meta: {{lr: {written}}}")


@pytest.mark.parametrize(
    "override",
    [
        "runtime.threads=99999999999",
        "data.augment.crop=1000000000",
        "data.augment.shear=90",
        "data.augment.rotate=1e308",
        "pretrain.epochs=9999999999999999999999",
        "pretrain.batch_size=99999999999",
        "meta.way=999999999999",
        "meta.tasks=100000000",
        "meta.queries=10001",
        "evaluate.tasks=10000000",
        "evaluate.settings=[[5,9223372036854775807]]",
        "backbone.channels=[99999999999,8,8,8]",
        "seed=9223372036854775808",
        "hard_tasks.boosted.pool=10000000",
    ],
)
def test_a_number_that_no_machine_can_live_with_is_refused_with_its_bound(override):
    with pytest.raises(UserError, match=r"is not allowed; it must be (at most|less than) "):
        load_config(None, [override])


def test_a_long_value_is_cut_and_many_mistakes_are_counted(tmp_path):
    told = _refused(tmp_path, f"seed: {'x' * 100_000}\nrun: {'y/' * 1000}")
    assert told.count("\n") == 2
    with pytest.raises(UserError) as caught:
        read_config({f"key{n}": n for n in range(10_000)}, "here")
    assert str(caught.value).count("\n") <= 20


def test_a_foreign_config_of_a_run_is_read_the_same_way(tmp_path):
    from mtl.runtime.run_folder import RunFolder

    (tmp_path / "config.yaml").write_text("a: " + 3000 * "[")
    with pytest.raises(UserError, match=r"config\.yaml: is not YAML"):
        RunFolder(tmp_path).read_config()


@pytest.mark.parametrize("name", ["no", "2024", "1e3", "007", "0x10", "2024-05-01", "null", "a #b", "="])
def test_a_run_of_any_name_is_written_and_read_as_that(tmp_path, name):
    config = load_config(None, [f"run={name}"])
    assert config.run == name
    (tmp_path / "a.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert load_config(tmp_path / "a.yaml") == config


@pytest.mark.parametrize("name", ["-x", "--help", ".git", "a\nb", "a\x1bb", "a\u202eb", 256 * "x", "ä" * 127])
def test_a_run_that_no_folder_or_command_line_should_meet_is_refused(name):
    with pytest.raises(UserError, match="must be a name that a folder can bear"):
        read_config({"run": name}, "here")


@pytest.mark.parametrize("value", ["", "a\0b", "x" * 5000, "~nobody-of-this-name/x"])
@pytest.mark.parametrize("key", ["checkpoints", "data"])
def test_a_path_that_cannot_be_is_refused(key, value):
    with pytest.raises(UserError, match=r"(checkpoints|data\.root): "):
        read_config({key: {"root": value} if key == "data" else value}, "here")


class TestTextKeys:
    @pytest.mark.parametrize(
        "text", ["my photos #2", "@x", "=*x", "%x", "a: b", "2024", "yes", "[a]", "{a", "'q'"]
    )
    def test_a_text_is_taken_as_it_stands(self, text):
        assert load_config(None, [f"data.root={text}"]).data.root == text

    def test_a_choice_is_taken_as_it_stands(self):
        with pytest.raises(UserError, match=r"data\.name: 'glyphs #2' is not allowed"):
            load_config(None, ["data.name=glyphs #2"])

    def test_a_list_of_texts_holds_what_is_written(self):
        config = load_config(None, ["data.name=image_folder", "data.classes.train=[007, no, 1e3, dog?]"])
        assert config.data.classes.train == ("007", "no", "1e3", "dog?")
        assert load_config(None, ["data.classes.train=[]"]) == Config()

    @pytest.mark.parametrize("nothing", ["null", "~"])
    def test_a_text_that_may_be_missing_can_be_taken_away(self, nothing, tmp_path):
        (tmp_path / "a.yaml").write_text("backbone: {weights: a.pth}\n")
        assert load_config(tmp_path / "a.yaml", [f"backbone.weights={nothing}"]).backbone.weights is None

    def test_home_is_found_in_paths(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", "/home/me")
        (tmp_path / "a.yaml").write_text(
            "checkpoints: ~/runs\ndata: {root: ~/photos}\nbackbone: {weights: ~/a.pth}"
        )
        config = load_config(tmp_path / "a.yaml", ["run=~me"])
        assert (config.checkpoints, config.data.root) == ("/home/me/runs", "/home/me/photos")
        assert (config.backbone.weights, config.run) == ("/home/me/a.pth", "~me")
        assert load_config(None, ["checkpoints=~/runs"]).checkpoints == "/home/me/runs"
        assert load_config(None, ["checkpoints=a~"]).checkpoints == "a~"


#: What overrides and documents are made of: all that has a meaning, and what has none.
_WORDS = """1 -1 .nan .inf 1e400 99999999999999999999 true null ~ [ ] { } , : - ? & * &a *a !!int !!bool !!set
<< = | > ' # @ % a meta way data root run seed compare arms name 2020-99-99 010 0x1 1:30 \\ud800 ä 日 � 🦊"""
_NAMES = """run checkpoints seed data data.root data.name data.sets data.classes data.classes.train meta.way
meta.lr meta.way* backbone.weights backbone.channels evaluate.settings compare.arms runtime.threads log.quiet
seed.x nothing . .."""
_PIECES = st.sampled_from([*_WORDS.split(), "\n", "\t", "\0", '"'])
_TEXTS = st.one_of(st.text(max_size=40), st.lists(_PIECES, max_size=12).map(" ".join))
_KEYS = st.sampled_from(_NAMES.split())


def _config_or_sentence(read):
    told = "a sentence"
    try:
        assert isinstance(read(), Config)
    except UserError as error:
        told = str(error)
    assert 0 < len(told) < 50_000


@settings(max_examples=150, deadline=None)
@given(key=_KEYS, value=_TEXTS)
def test_any_override_is_a_config_or_a_sentence(key, value):
    _config_or_sentence(lambda: load_config(None, [f"{key}={value}"]))
    _config_or_sentence(lambda: load_config(None, [value]))


@settings(max_examples=150, deadline=None)
@given(text=_TEXTS)
def test_any_document_is_a_config_or_a_sentence(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / f"fuzz-{os.getpid()}.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    _config_or_sentence(lambda: load_config(path))


_TREES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.just(10**400)),
    lambda below: st.one_of(
        st.lists(below, max_size=4), st.dictionaries(_KEYS | st.integers(), below, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(tree=st.dictionaries(_KEYS | st.integers() | st.none(), _TREES, max_size=5))
def test_any_tree_is_a_config_or_a_sentence(tree):
    _config_or_sentence(lambda: read_config(tree, "here"))


def test_what_is_no_yaml_is_an_error_of_its_own():
    with pytest.raises(NotYaml):
        parse("[")
