"""The page: every field shows, no name breaks it, it is whole and the same each time."""

import base64
import dataclasses
import hashlib
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from made_up import HOSTILE
from page_tree import RAW, Element, tree

from mtl.ledger.queries import HardTask
from mtl.report import layout
from mtl.report.contents import Comparison, PhaseReport, Report, RunReport, ShownClass, TaskCard, WrongQuery
from mtl.report.layout import by_class, in_order, render

TEMPLATES = Path(layout.__file__).parent / "templates"


@pytest.fixture(scope="module")
def html(full_report: Report) -> str:
    return render(full_report)


@pytest.fixture(scope="module")
def full(html: str) -> Element:
    return tree(html)


class _Marker:
    """Fills dataclasses by their annotations, every leaf with a value of its own, and keeps them all."""

    def __init__(self) -> None:
        self.leaves: dict[str, object] = {}

    def fill(self, kind: typing.Any, path: str) -> typing.Any:
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if origin in (types.UnionType, typing.Union):
            return self.fill(inner[0], path)
        if kind == Mapping[str, typing.Any]:  # a setting of results.json, which has a test by itself
            return {"tasks": 1, "split": "test", "scores": []}
        if origin is tuple:
            kinds = inner if ... not in inner else inner[:1]
            return tuple(self.fill(of, f"{path}.{i}") for i, of in enumerate(kinds))
        if origin is Sequence or origin is not None:
            return [self.fill(inner[0], f"{path}.{i}") for i in range(3 if inner[0] == float | None else 1)]
        if dataclasses.is_dataclass(kind):
            hints = typing.get_type_hints(kind)
            of = {f.name: self.fill(hints[f.name], f"{path}.{f.name}") for f in dataclasses.fields(kind)}
            return kind(**of)
        number = len(self.leaves)
        made = {str: f"word{number}word", int: 2000 + number, float: 0.1 + 0.007 * number, bool: True}[kind]
        if kind is not bool:
            self.leaves[path] = made
        return made


def _shows(path: str, value: object, words: set[str]) -> bool:
    """Whether a value stands in the page as it should: most shares in percent with a decimal or two."""
    forms = {str(value)}
    if isinstance(value, int):
        forms |= {f"{value:,}"}
    if isinstance(value, float):
        rough = re.search(r"\.(confidence|shown\.0\.recall)$", path)
        formats = ["{:.0f}"] if rough else ["{:.1f}", "{:.2f}", "{:+.1f}", "{:+.2f}"]
        forms = {form.format(100 * value) for form in formats} | {f"{value:.3f}"}
        forms |= {f"×{value:.1f}"} if path.endswith("row.weight") else set()
    middle = re.search(r"(history|trend)\.1$", path)  # a curve tells its ends in words
    return bool(forms & words or middle)


def _hidden() -> list[str]:
    """The fields of which the page says nothing."""
    marker = _Marker()
    root = tree(render(marker.fill(Report, "report")))
    told = [
        part for e in [root, *root.all()] for part in e.parts if isinstance(part, str) and e.tag not in RAW
    ]
    told += [str(value) for e in root.all() for key, value in e.attributes.items() if key != "data-value"]
    words = {word.strip(",:") for piece in told for word in re.split(r"[\s–]", piece)}
    assert len(marker.leaves) > 140
    counts = re.compile(
        r"classes\.0\.row\.(queries|early|late)$"
    )  # the ledger's rows have more than is shown
    return [
        path
        for path, value in marker.leaves.items()
        if not _shows(path, value, words) and not counts.search(path)
    ]


def test_every_field_of_every_dataclass_shows():
    assert _hidden() == []


def test_a_field_that_is_not_laid_out_is_found(monkeypatch):
    class Loader(layout.FileSystemLoader):
        def get_source(self, environment, template):
            source, *rest = super().get_source(environment, template)
            return (
                source.replace("{{ r.pool | count }}", "").replace("{{ query.predicted | breakable }}", ""),
                *rest,
            )

    monkeypatch.setattr(layout, "FileSystemLoader", Loader)
    phase = "report.runs.0.phases.0"
    assert _hidden() == [f"{phase}.tasks.0.wrong.0.predicted", f"{phase}.rounds.0.pool"]


def test_booleans_show(full_report, full):
    tables = {t.attributes.get("id"): t for t in full.all("table")}
    paired = [row.all("td")[-1].text for row in tables["comparison-differences"].all("tr")[1:]]
    assert paired == ["yes", "no: another seed", "no: other images"]
    apart = [row.all("td")[3].text for row in tables["comparison-changes"].all("tr")[1:]]
    assert apart == ["yes" if c.apart else "no" for c in full_report.comparison.changes]
    assert "has no single answers" not in full.text
    old = dataclasses.replace(full_report.runs[0].phases[0].tasks[0], answers_known=False, wrong=[])
    assert "The ledger has no single answers of this visit." in tree(render(_with_task(old))).text


def _with_task(task: TaskCard) -> Report:
    phase = PhaseReport("meta-train", "train", 9, [task], [], 0, [], [], 0, None, None, None, None, None)
    return Report("one", [RunReport("run", "done", [], [], None, [], [phase], None, "", [], [])])


def test_numbers_stand_in_their_own_cells(full_report, full):
    run = full_report.runs[0]
    table = full.by_id("r1-results").all("table")[0]
    for row, result in zip(table.all("tr")[1:], run.settings[0].setting["scores"], strict=True):
        cells = [cell.text for cell in row.all("th", "td")]
        gap = "–"
        if result["difference"] is not None:
            gap = f"{100 * result['difference']:+.2f} ± {100 * result['difference_interval']:.2f}"
        assert cells == [
            result["name"],
            f"{100 * result['accuracy']:.2f} ± {100 * result['interval']:.2f}",
            "",
            f"{100 * result['percentile_5']:.1f}",
            f"{100 * min(recall for recall, _, _ in result['class_recall'].values()):.1f}",
            gap.replace("-", "−"),
        ]
    card = run.phases[1].pairs[0]  # meta-train comes first in the page
    pair, (first, second) = card.pair, card.pair.classes
    sides = full.by_id("r1-p1-pairs").named("sides")[0].children
    assert sides[0].text == f"{100 * pair.first_as_second:.1f} % as {layout.printable(second)}"
    assert sides[1].text == f"{100 * pair.second_as_first:.1f} % as {layout.printable(first)}"
    assert [i.attributes["src"] for i in sides[0].all("img")] == [p.source for p in card.first_pictures]


def test_a_neighbourhood_shows_what_became_of_it(full_report, full):
    phase = full_report.runs[0].phases[1]
    cards = full.by_id("r1-p1-neighbourhoods").named("task")
    assert len(cards) == len(phase.neighbourhoods) + len(phase.learned)
    for card, one in zip(cards, [*phase.neighbourhoods, *phase.learned], strict=True):
        row = one.row
        figures = dict(zip((t.text for t in card.all("dt")), (d.text for d in card.all("dd")), strict=True))
        assert figures == {
            "first → now": f"{100 * row.first:.1f} → {100 * row.last:.1f} %",
            "mean": f"{100 * row.mean:.1f} %",
            "weight": f"×{row.weight:.1f}",
            "drawn": f"{row.drawn:,}",
            "in training": f"{100 * row.trained:.1f} %",
        }
        assert [li.all("bdi")[0].text for li in card.all("li")] == [_seen(name) for name in row.members]
        assert [[i.attributes["src"] for i in li.all("img")] for li in card.all("li")] == [
            [picture.source for picture in pictures] for pictures in one.members
        ]


def test_the_glance_shows_neighbourhoods_before_tasks_where_there_are_some(full_report):
    run = full_report.runs[0]
    training = dataclasses.replace(run.phases[1], tasks=[])
    root = tree(render(Report("one", [dataclasses.replace(run, phases=[training])])))
    first = root.named("glance")[0].all("a")[0]
    row = training.neighbourhoods[0].row
    assert first.attributes["href"] == "#r1-p1-neighbourhoods"
    assert first.all("strong")[0].text == _seen(row.name)
    assert f"{100 * row.first:.1f} %" in first.text
    assert f"{100 * row.last:.1f} %" in first.text
    contents = [a.text for a in root.by_id("contents").all("a")]
    assert "Hardest neighbourhoods" in contents
    assert "Hardest tasks" not in contents


def test_differences_whose_interval_holds_0_are_grey(full):
    rows = full.by_id("comparison-differences").all("tr")[1:]
    grey = ["soft" in str(row.all("span")[0].attributes.get("class")) for row in rows]
    assert grey == [False, True, True]  # −2.13 ± 0.42, +0.17 ± 0.91, +1.23 ± 2.00


def test_a_query_stands_beside_its_own_class(full_report):
    task = full_report.runs[0].phases[1].tasks[1]
    (card,) = tree(render(_with_task(task))).named("task")
    rows = card.named("episode")[0].children[1:]
    for row, shown in zip(rows, task.shown, strict=True):
        assert row.named("who")[0].all("bdi")[0].text == _seen(shown.name)
        own = [q for q in task.wrong if q.own == shown.name]
        assert [f.all("bdi")[0].text for f in row.named("wrong")] == [_seen(q.predicted) for q in own]
        assert [s.text for s in row.named("sure")] == [f"{100 * q.confidence:.0f} %" for q in own]
        pictures = [i.attributes["src"] for i in row.named("missed")[0].all("img")]
        assert pictures == [q.picture.source for q in own if q.picture]


def _seen(name: str) -> str:
    return " ".join(layout.printable(name).split())


def test_wrong_queries_of_classes_that_are_not_shown_come_last():
    a, b = (ShownClass(name, 0.5, []) for name in "ab")
    wrong = [WrongQuery(None, own, "a", 0.9) for own in ("c", "b", "b", "d")]
    hard = HardTask(("a", "b"), 0.0, 0.0, 0.0, 1, 0, None, None)
    task = TaskCard(hard, [], [a, b, dataclasses.replace(a)], 0.0, None, "1-7", wrong, 0, True)
    rows = by_class(task)
    assert [shown for shown, _ in rows] == [a, b, a, None]
    assert [[q.own for q in queries] for _, queries in rows] == [[], ["b", "b"], [], ["c", "d"]]
    assert by_class(dataclasses.replace(task, wrong=wrong[1:3]))[-1] == (a, [])


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_and_stands_by_itself(full, name):
    assert any(e.text == _seen(name) for e in full.all("bdi"))


def test_no_name_becomes_markup(html, full):
    assert len(full.all("script")) == len(full.all("style")) == len(full.all("title")) == 1
    assert not any(key.startswith("on") for e in full.all() for key in e.attributes)
    assert "7 * 7" in full.text
    assert "49 {%" not in full.text
    assert "<b>pairs" not in html


def test_characters_that_no_page_can_hold_are_replaced(bare_run):
    name = "a\x00b\x1bc\udcffd\x85e\rf\ttab"
    run = dataclasses.replace(bare_run, name=name, config=f"{name}\nkey: 1")
    html = render(Report(name, [run]))
    html.encode("utf-8")
    assert "a�b�c�d�e�f\ttab\nkey: 1" in html
    assert tree(html).all("title")[0].text == "a�b�c�d�e�f tab"


def test_the_same_report_gives_the_same_bytes(html, full_report):
    assert render(full_report) == html


def test_nothing_can_be_fetched_and_nothing_else_can_run(full):
    (policy,) = (e for e in full.all("meta") if e.attributes.get("http-equiv"))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.attributes["content"].split(";"))
    (script,) = full.all("script")
    digest = base64.b64encode(hashlib.sha256("".join(script.parts).encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for element in full.all():
        for key in {"src", "href", "action", "poster", "data", "srcset"} & element.attributes.keys():
            assert element.attributes[key].startswith(("data:image/", "#"))
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    assert "url(" not in style
    assert "@import" not in style
    assert len((TEMPLATES / "script.js").read_bytes()) < 15_000


def test_the_page_is_well_formed(full):
    _check(full)


@pytest.mark.parametrize("runs", [0, 1, 2])
def test_what_is_missing_leaves_a_whole_page(bare_run, runs):
    report = Report("bare", [dataclasses.replace(bare_run, name=f"run {i}") for i in range(runs)])
    root = tree(render(report))
    _check(root)
    told = {"has not been evaluated": runs, "No episode was solved": runs, "There is no run": not runs}
    assert {words: root.text.count(words) for words in told} == told
    assert not root.all("table")


def _check(root: Element) -> None:
    elements = root.all()
    names = [e.attributes["id"] for e in elements if "id" in e.attributes]
    assert len(set(names)) == len(names)
    assert not any(re.search(r"\s", name) for name in names)
    for e in elements:
        for key in ("aria-labelledby", "aria-controls", "for"):
            assert e.attributes.get(key, names[0]) in names
        assert not e.attributes.get("href", "").startswith("#") or e.attributes["href"][1:] in names
        if e.tag == "img":
            assert e.attributes["alt"]
            assert int(e.attributes["width"]) > 0 < int(e.attributes["height"])
            assert ("coarse" in e.attributes.get("class", "")) == (int(e.attributes["width"]) < 40)
            assert (e.attributes["loading"], e.attributes["decoding"]) == ("lazy", "async")
        if e.attributes.get("role") == "img":
            assert e.attributes["aria-label"]
        if e.tag == "table":
            assert len(e.all("caption")) == 1
            assert all(th.attributes["scope"] in ("col", "row") for th in e.all("th"))
            assert len({len(row.all("th", "td")) for row in e.all("tr")}) == 1
    levels = [int(e.tag[1]) for e in elements if re.fullmatch(r"h\d", e.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(root.all("main")) == len(root.all("nav")) == 1
    assert root.all("a")[0].text == "Skip to the report"


def test_a_broken_page_would_be_found():
    for bad in ("<p><b></p></b>", "<div>", '<a id="x" id="y"></a>'):
        with pytest.raises(AssertionError):
            tree(bad)
    with pytest.raises(AssertionError):
        _check(tree('<p id="x"></p><p id="x"></p>'))


def test_of_several_runs_the_comparison_comes_first(full_report, full):
    headings = [h.text for h in full.all("h1", "h2")]
    names = [run.name for run in full_report.runs]
    assert headings == [
        full_report.title,
        "Comparison",
        f"Run 1 of 2 {names[0]}",
        f"Run 2 of 2 {names[1]}",
    ]
    contents = [a.text for a in full.by_id("contents").all("a")]
    assert contents[:2] == ["Comparison", names[0]]
    assert contents.count("Results") == 2


def test_a_single_run_has_no_heading_of_its_own(full_report):
    root = tree(render(Report("one", full_report.runs[:1])))
    _check(root)
    assert root.all("h2")[0].text == "Results"
    assert "Hardest tasks" in [a.text for a in root.by_id("contents").all("a")]


def test_training_comes_before_evaluations_and_only_the_first_phase_is_open(full):
    for run in ("r1", "r2"):
        phases = [e for e in full.by_id(run).all("details") if e.attributes["class"] == "phase"]
        assert [p.all("summary")[0].text.startswith("What was hard in meta-train") for p in phases] == [
            True,
            False,
        ]
        assert ["open" in p.attributes for p in phases] == [True, False]
        for phase in phases:  # of its parts only the first; the others open where there is room
            parts = [e for e in phase.all("details") if e.attributes["class"] == "block"]
            assert ["open" in e.attributes for e in parts] == [True, *[False] * (len(parts) - 1)]
            assert ["data-wide" in e.attributes for e in parts] == [False, *[True] * (len(parts) - 1)]


def test_accuracy_comes_first_and_the_glance_shows_evaluation_before_training(full_report):
    run = full_report.runs[0]
    root = tree(render(Report("one", [run])))
    shown = root.named("accuracy")[0]
    own = [result.setting["scores"][0]["accuracy"] for result in run.settings]
    assert [e.text for e in shown.all("b")] == [f"{100 * accuracy:.1f} %" for accuracy in own]
    first = [glance.all("a")[0].attributes["href"] for glance in root.named("glance")]
    assert [link.startswith(place) for link, place in zip(first, ("#r1-p2", "#r1-p1"), strict=True)] == [
        True
    ] * 2


def test_phases_keep_their_order_otherwise(bare_phase):
    given_order = ["evaluate test a", "pretrain", "evaluate val", "meta-train"]
    phases = [dataclasses.replace(bare_phase, title=title) for title in given_order]
    assert [p.title for p in in_order(phases)] == [
        "pretrain",
        "meta-train",
        "evaluate test a",
        "evaluate val",
    ]


def test_each_measure_is_explained_once(full):
    how = [p.text for p in full.named("how")]
    assert len(set(how)) == len(how)
    for words in (
        "95 % interval",
        "5th percentile",
        "ε is",
        "α says",
        "Hard share",
        "Confusion is",
        "verdict",
    ):
        assert any(words in text for text in how)


def test_a_task_in_brief_says_what_is_not_shown(full_report):
    task = full_report.runs[0].phases[1].tasks[1]
    brief = dataclasses.replace(task, shown=task.shown[:2], wrong=[], more_wrong=1)
    text = tree(render(_with_task(brief))).text
    assert "3 of its classes not shown" in text
    assert "1 more wrong answer not shown." in text


def test_curves_that_cannot_be_drawn_are_dashes(full_report):
    task = dataclasses.replace(full_report.runs[0].phases[1].tasks[1], history=[None, math.nan])
    (course,) = tree(render(_with_task(task))).named("course")
    assert course.text == "–"


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read_in_both_themes(theme):
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    pairs = re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", style)
    colours = {name: _luminance(both[theme]) for name, *both in pairs}
    for ink in ("ink", "soft", "accent"):
        for behind in ("paper", "wash"):
            bright, dim = sorted((colours[ink], colours[behind]), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= 4.5  # WCAG 2.1, 1.4.3


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_an_empty_comparison_is_still_a_section(bare_run):
    report = Report("two", [bare_run, bare_run], Comparison("bare", [], [], [], ["They share no setting."]))
    root = tree(render(report))
    _check(root)
    assert "They share no setting." in root.by_id("comparison").text
