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
        ("seed: !!bool abc", "an invalid value"),
        ("seed: !!int abc", "an invalid value"),
        ("seed: !!timestamp abc", "timestamp"),
        ("seed: !!python/object/apply:os.system [ls]", "python/object"),
        ("seed: " + 5000 * "9", "an invalid value"),
        ("a: 1\n" * 100_000, f"longer than {MOST_BYTES:,} bytes"),
        ("run: a\n".encode("utf-16"), "it is UTF-16 text; save it as UTF-8"),
        (b"run: \xe4\n", "not UTF-8 text"),
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
