"""Tables of a study: figures by hand, nothing cut off, nothing read as markup."""

import io
import json
import math
import re

import pytest
from rich.console import Console

from mtl.compare.differences import Absolute, ArmResult, Cost, Difference, Study, compare
from mtl.compare.measures import ACCURACY, FIFTH, HARD, MEASURES, WORST_CLASS, WORST_TENTH
from mtl.compare.table import legend, markdown, seeds_counted, table, to_dict

SETTING = "5-way 1-shot"


def by_measure(make, values):
    return {name: make(value) for name, value in zip(MEASURES, values, strict=True)}


@pytest.fixture
def study() -> Study:
    """Three arms of three seeds: the reference, one that has them all, one that has one of them."""

    def known(value: float) -> Absolute:
        return Absolute(value, 0.0042, 3)

    def apart(value: float) -> Difference:
        return Difference(value, (0, 1, 2), (value,) * 3, 0.0031, 0.0049)

    def alone(value: float) -> Difference:
        return Difference(value, (1,), (value,), math.nan, math.nan)

    none = Absolute(math.nan, math.nan, 3)
    levels = by_measure(known, (0.63456, 0.4, 0.25, 0.3, 0.5))
    boosted = by_measure(apart, (0.0123, -0.0123, 0.0049, -0.00001, 0.00491))
    lone = by_measure(alone, (0.1, -0.1, 0.0, 0.2, 0.3)) | {HARD: alone(math.nan)}
    return Study(
        reference="uniform",
        seeds=(0, 1, 2),
        compared=2,
        resamples=200,
        tasks={SETTING: (10_000, 500)},
        settings={
            SETTING: [
                ArmResult("uniform", (0, 1, 2), levels | {HARD: none}, {}),
                ArmResult("boosted [b]*", (0, 1, 2), levels, boosted),
                ArmResult("late|one_two", (1, 5), levels, lone),
            ]
        },
        costs={
            "uniform": Cost(0.0123, 60.0, 1e6),
            "boosted [b]*": Cost(1.5, 61.0, 1e6),
            "late|one_two": Cost(None, 20.0, 1e5),
        },
    )


def shown(what, width: int) -> str:
    out = io.StringIO()
    Console(width=width, file=out).print(what)
    return out.getvalue()


ROWS = [
    ["uniform", "3", "63.46 (0.42)", "40.00 (0.42)", "25.00 (0.42)", "30.00 (0.42)", "–", "12.3"],
    ["boosted [b]*", "3", "+1.23 ± 0.31*", "-1.23 ± 0.31*", "+0.49 ± 0.31", "+0.00 ± 0.31"],
    ["late|one_two", "1 of 3", "+10.00 ± –", "-10.00 ± –", "+0.00 ± –", "+20.00 ± –", "–", "–"],
]
ROWS[1] += ["+0.49 ± 0.31*", "1,500"]


def test_markdown_holds_the_figures(study):
    lines = markdown(study, SETTING).split("\n")
    assert lines[0] == "**5-way 1-shot: 10,000 tasks, 500 drawn hard**"
    cells = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:7]]
    assert cells[0] == ["arm", "seeds", ACCURACY, FIFTH, WORST_CLASS, WORST_TENTH, HARD, "ms a step"]
    assert cells[1] == ["---"] + ["---:"] * 7
    assert [[re.sub(r"\\(.)", r"\1", c) for c in row] for row in cells[2:]] == ROWS
    # an asterisk, a bracket or a bar of a name is none of Markdown's
    assert not re.search(r"(?<!\\)[*\[\]_]", "".join(lines[4:]))
    assert lines[-1] == ""


@pytest.mark.parametrize("width", [80, 200])
def test_the_terminal_shows_every_figure_whole(study, width):
    text = shown(table(study, SETTING), width)
    figures = [word for row in ROWS for cell in row[1:] for word in cell.split()]
    for word in figures:  # a name may be folded
        assert text.split().count(word) >= figures.count(word), word
    assert max(map(len, text.split("\n"))) <= width
    if width == 200:
        assert [re.split(r"\s{2,}", line.strip()) for line in text.split("\n")[4:7]] == ROWS


def test_the_legend_says_what_was_corrected_for(study):
    assert "± 95 % over seeds and tasks" in legend(study)
    assert "corrected for 2 arms (97.5 %)" in legend(study)


def test_the_seeds_behind_the_figures_are_counted(study):
    assert [seeds_counted(study, SETTING, result) for result in study.settings[SETTING]] == [3, 3, 1]


def test_json_holds_every_number_and_null_for_what_is_not_known(study):
    found = json.loads(json.dumps(to_dict(study), allow_nan=False))
    assert (found["reference"], found["seeds"], found["compared"], found["level"]) == (
        "uniform",
        [0, 1, 2],
        2,
        0.95,
    )
    assert found["level_corrected"] == pytest.approx(0.975)
    (setting,) = found["settings"]
    assert (setting["setting"], setting["tasks"], setting["tasks_drawn_hard"]) == (SETTING, 10_000, 500)
    uniform, boosted, late = setting["arms"]
    assert uniform["absolute"][ACCURACY] == {"mean": 0.63456, "deviation": 0.0042, "seeds": 3}
    assert uniform["absolute"][HARD]["mean"] is None
    assert uniform["differences"] == {}
    assert boosted["differences"][ACCURACY] == {
        "mean": 0.0123,
        "seeds": [0, 1, 2],
        "per_seed": [0.0123] * 3,
        "half": 0.0031,
        "half_corrected": 0.0049,
        "proven": True,
    }
    assert not boosted["differences"][WORST_CLASS]["proven"]  # at the interval's very edge
    assert (late["seeds"], late["seeds_counted"], late["seconds_per_step"]) == ([1, 5], 1, None)
    assert late["differences"][ACCURACY]["half"] is None


def test_a_study_of_cells_is_shown(answered, cell):
    base, other = answered(), answered(seed=0, judged=0)
    cells = [
        cell("uniform", 0, {"x": base, "y": other}),
        cell("a", 0, {"x": base}),
        cell("b", 1, {"y": other}),
    ]
    found = compare(cells, "uniform", seed=0, count=5)
    assert json.loads(json.dumps(to_dict(found), allow_nan=False))["settings"][1]["tasks_drawn_hard"] == 0
    assert "40 tasks, 7 drawn hard" in shown(table(found, "x"), 120)
    y = markdown(found, "y")
    assert "**y: 40 tasks**" in y
    assert "| b | 0 of 2 | – | – | – | – | – | 20.0 |" in y
