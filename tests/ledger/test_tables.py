"""Tables in a terminal: every name whole, nothing obeyed, sparklines block by block."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl.ledger import tables
from mtl.ledger.show import render
from mtl.ledger.store import RoundRow
from mtl.ledger.tables import sparkline, thinned

BLOCKS = "▁▂▃▄▅▆▇█"


@pytest.mark.parametrize("width", [80, 120])
def test_tables_keep_every_name_and_obey_none(hostile, width):
    text = render(hostile, width=width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text
    assert "\r" not in text
    for title in ("Rounds", "Hardest tasks", "Hardest classes", "Most confused pairs"):
        assert title in text
    assert "evaluate test: 1 episode, test classes" in text
    assert "unlucky" in text
    joined = "".join(text.split())
    for name in ("[red]markup[/red]", "[bold]g", r"line\nend", "<script>", "日本語"):
        assert name in joined


def test_tasks_of_many_ways_show_their_first_classes():
    names = [f"c{i}" for i in range(60)]
    assert tables._listed(names[:7]) == "c0, c1, c2, c3, c4, c5, c6"
    assert tables._listed(names) == "c0, c1, c2, c3, c4, c5 and 54 more"


def test_tables_draw_every_visit_and_every_round(four_rounds):
    text = render(four_rounds, width=80)
    assert "Hardest tasks (accuracy in %; ▁ is 20, █ is 80)" in text
    assert "Hardest classes (recall in %; ▁ is 0, █ is 100)" in text
    drawn = text[: text.index("Most confused pairs")].splitlines()
    rows = {line.split("  ")[0].strip(): line.split("  ")[-1].strip() for line in drawn}
    assert rows["ant, bee, cat"] == "▁▅▅█"
    assert rows["cat, dog, eel"] == "█"
    assert (rows["ant"], rows["bee"], rows["dog"]) == ("▁▅▇█", "▅▅▅▇", "█")
    assert "All 4 rounds, from the first to the last" in text
    assert "accuracy  ▁▅▅█  25.0 to 75.0, at last 75.0" in text
    assert "\nε " not in text  # no round has one


def test_tables_of_one_round_and_one_visit_draw_nothing(ledger, solved):
    ledger.append("p", 0, 0, *solved([[0, 1]], [[0.5, 0.25]]), "train")
    ledger.add_round("p", "train", RoundRow(0, 0, "task", 1, 0.5, 0.0, 0.375, 0.5))
    text = render(ledger, width=80)
    assert not [word for word in ("by visit", "by round", "▁", "rounds, from") if word in text]


@pytest.mark.parametrize(
    ("shares", "scale", "line"),
    [
        ([1.0, 1.0], "▁ is 90, █ is 100", "██"),
        ([0.0, 0.0], "▁ is 0, █ is 10", "▁▁"),
        ([0.3, 0.7], "▁ is 30, █ is 70", "▁█"),
        ([0.29, 0.71], "▁ is 20, █ is 80", "▂▇"),
        ([None, 0.5, 0.6, None], "▁ is 50, █ is 60", " ▁█ "),
    ],
)
def test_the_scale_goes_from_tenth_to_tenth(shares, scale, line):
    assert tables._lines([shares]) == ([line], f"; {scale}")


def test_long_names_and_curves_fit_80_columns(ledger, solved):
    """With all that a table may have: a weight, a verdict, 60 visits, 60 rounds, a group."""
    names = {c: f"Alphabet_of_the_Magi/character{c:02d}/rotated_{90 * c}_degrees" for c in range(5)}
    ledger.register_classes("train", names, dict.fromkeys(range(5), "Alphabet_of_the_Magi"))
    for number in range(60):
        share = float(number >= 30)
        recall = [share, share, share, 1 - share, 0.5]
        ledger.append("p", number, number, *solved([[0, 1, 2, 3, 4]], [recall], "hard"), "train")
        record = RoundRow(number, 10**6 + number, "class", 1000, 1.0 - share / 2, 1.5, 1.0, 1.0)
        ledger.add_round("p", "train", record, torch.rand(5), lambda u: u[:, None])
    ledger.set_task_weights("p", torch.tensor([[0, 1, 2, 3, 4]]), torch.tensor([0.123]))
    ledger.set_verdict("p", range(5), "unlucky support")
    text = render(ledger, width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "accuracy  " + "▄" * 36 + "  100.0 to 100.0, at last 100.0" in text
    assert "ε         " + "█" * 18 + "▁" * 18 + "  0.500 to 1.000, at last 0.500" in text
    assert "▁▁▁▁▁▁██████" in text  # classes 0 to 2
    assert "██████▁▁▁▁▁▁" in text  # class 3
    tasks = text[text.index("Hardest tasks") : text.index("Hardest classes")]
    first_cells = "".join(line[1:30].split("  ")[0].strip() for line in tasks.splitlines()[3:])
    for name in names.values():
        assert name in first_cells.replace(" ", "")
    for figure in ("50.0", "0.12", "unlucky", "support"):
        assert figure in tasks


def test_eight_equal_steps():
    assert sparkline([i / 8 for i in range(8)], 0, 1) == BLOCKS
    assert sparkline([(i + 0.99) / 8 for i in range(8)], 0, 1) == BLOCKS
    assert sparkline([20, 30, 40, 50, 60], 20, 60) == "▁▃▅▇█"
    assert sparkline([0.5], 0.2, 0.8) == "▅"  # though 0.3 / 0.6 is below a half in floats
    assert sparkline([0.5, -0.5, -1.0, 1.0], -1, 1) == "▇▃▁█"


def test_unknown_values_are_gaps_and_values_beyond_the_scale_its_ends():
    assert sparkline([None, 0.0, None, None, 1.0, math.nan], 0, 1) == " ▁  █ "
    assert sparkline([], 0, 1) == ""
    assert sparkline([-5, 0.5, 7, -math.inf, math.inf], 0, 1) == "▁▅█▁█"
    assert sparkline([0.7, 0.7, None], 0.7, 0.7) == "▄▄ "


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (math.nan, 1.0), (0.0, math.inf)])
def test_what_is_no_scale_is_refused(low, high):
    with pytest.raises(ValueError, match="from a low number to a high one"):
        sparkline([0.5], low, high)


@given(st.lists(st.none() | st.floats(-10, 10), max_size=30), st.floats(-10, 9), st.floats(0.001, 10))
def test_one_character_a_value_and_higher_is_never_lower(values, low, span):
    line = sparkline(values, low, low + span)
    assert [c == " " for c in line] == [v is None for v in values]
    known = sorted((v, BLOCKS.index(c)) for v, c in zip(values, line, strict=True) if v is not None)
    assert [c for _, c in known] == sorted(c for _, c in known)


def test_thinned_to_means_of_equal_bins():
    assert thinned([1, 3, 5, 7], 2) == [2, 6]
    assert thinned([1, 3, None, 7, None, math.nan], 3) == [2, 7, None]
    assert thinned([1, None, 3], 5) == [1, None, 3]
    assert thinned([1, 2, 4, 8, 16], 2) == [1.5, pytest.approx(28 / 3)]
    assert thinned([], 3) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(1, 20))
def test_thinning_leaves_as_many_values_as_allowed_and_none_outside(values, most):
    thin = thinned(values, most)
    assert len(thin) == min(most, len(values))
    assert min(values) - 1e-9 <= min(thin) <= max(thin) <= max(values) + 1e-9
    if len(values) % len(thin) == 0:
        assert thin == pytest.approx(np.reshape(values, (len(thin), -1)).mean(1))
