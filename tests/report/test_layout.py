"""What the pages share: numbers as they are read, and text that no page can hold."""

import math

import pytest
from jinja2 import UndefinedError

from mtl.report.layout import breakable, count, figure, lay_out, percent, position, printable, sort_key


def test_percent():
    assert percent(0.12345) == "12.3"
    assert percent(0.12345, 2) == "12.35"
    assert percent(1) == "100.0"
    assert [percent(x, signed=True) for x in (0.031, -0.031, 0.0, -0.0001)] == ["+3.1", "−3.1", "0.0", "0.0"]
    assert [percent(x) for x in (None, math.nan, math.inf)] == ["–"] * 3


def test_other_numbers():
    assert count(1234567) == "1,234,567"
    assert [figure(x) for x in (0.12345, 0, 0.0001234, -2.5)] == ["0.123", "0.000", "0.00012", "−2.500"]
    assert figure(None) == figure(math.nan) == "–"
    assert [sort_key(x) for x in (0.25, -1.5, None, math.nan)] == ["0.25", "-1.5", "", ""]


def test_position():
    assert [position(x, (0.2, 0.6), 80) for x in (0.2, 0.3, 0.6, 0.1, 2)] == [0, 20, 80, 0, 80]
    with pytest.raises(ValueError, match="an axis must go up, not from 1 to 1"):
        position(0.5, (1, 1), 80)


def test_characters_that_no_page_can_hold_are_replaced():
    assert printable("a\x00b\x1bc\udcffd\te\nf") == "a�b�c�d\te\nf"
    assert printable(3) == 3


def test_a_template_that_asks_for_what_is_not_there_fails():
    with pytest.raises(UndefinedError):
        lay_out("page.html", {}, {"phases": list})


def test_a_name_may_go_on_in_another_line_after_its_parts():
    assert breakable("Old_Church/a<b") == "Old_<wbr>Church/<wbr>a&lt;b"
    assert breakable("plain") == "plain"
