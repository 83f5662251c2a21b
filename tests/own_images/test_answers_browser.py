"""The page of answers in a browser: choosing a class, other orders, a phone, no script, both themes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_up_answers import CLASSES, answers_page

from mtl.own_images.predict_report import render

WIDE, PHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}
PAGE = answers_page()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("answers") / "predictions.html"
    path.write_text(render(PAGE), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def visit(chromium: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Opens the page; what goes wrong in it or is asked for from elsewhere fails the test."""
    wrong: list[str] = []
    contexts = []

    def asked(request: Any) -> None:
        if request.url.split("#")[0] != address and not request.url.startswith("data:"):
            wrong.append(request.url)

    def open_page(viewport: dict[str, int] = WIDE, **how: Any) -> Any:
        context = chromium.new_context(viewport=viewport, reduced_motion="reduce", **how)
        contexts.append(context)
        context.set_default_timeout(30_000)
        tab = context.new_page()
        tab.on("console", lambda message: wrong.append(message.text))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("dialog", lambda _: wrong.append("a dialog"))
        tab.on("request", asked)
        tab.goto(address)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def _files(tab: Any) -> list[str]:
    cards = tab.locator("#answers-list > article").filter(visible=True)
    return cards.evaluate_all("all => all.map(card => card.querySelector('.file').textContent)")


def _shown(cards: list[Any]) -> list[str]:
    return [card.row.file for card in cards]


def test_one_class_can_be_chosen(visit):
    tab = visit()
    assert len(_files(tab)) == len(PAGE.cards)
    tab.get_by_label("Answered as").select_option(index=2)
    wanted = [card for card in PAGE.cards if card.row.answer == CLASSES[2]]
    assert len(_files(tab)) == len(wanted)
    assert tab.locator("#answers-tools output").inner_text() == f"{len(wanted)} of 40 shown"
    tab.get_by_label("Answered as").select_option("")
    assert len(_files(tab)) == len(PAGE.cards)
    assert tab.locator("#answers-tools output").inner_text() == ""


def test_the_order_can_be_chosen(visit):
    tab = visit()
    given = _files(tab)
    tab.get_by_label("Order").select_option("most")
    assert _files(tab) == given[::-1]
    assert tab.locator("#spoken").inner_text() == "surest of these first"
    tab.get_by_label("Order").select_option("file")
    assert [name[:7] for name in _files(tab)] == sorted(name[:7] for name in given)
    tab.get_by_label("Order").select_option("least")
    assert _files(tab) == given


def test_without_a_script_all_of_it_can_be_read(visit):
    tab = visit(java_script_enabled=False)
    assert tab.locator("#answers-list > article").filter(visible=True).count() == len(PAGE.cards)
    assert tab.locator("button, input, select").filter(visible=True).count() == 0


def test_a_phone_needs_no_sideways_scrolling(visit):
    tab = visit(PHONE, has_touch=True)
    assert tab.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    controls = tab.locator("button, input, select").filter(visible=True)
    assert min(controls.evaluate_all("all => all.map(it => it.getBoundingClientRect().height)")) >= 44
    widths = tab.locator(".answer").evaluate_all("all => all.map(it => it.scrollWidth - it.clientWidth)")
    assert max(widths) <= 0  # no name leaves its card


def test_a_wide_window_has_cards_side_by_side(visit):
    tab = visit()
    tops = tab.locator(".answer").evaluate_all("all => all.map(it => it.getBoundingClientRect().top)")
    assert 2 <= tops.count(tops[0]) <= 4
    assert tab.evaluate("document.documentElement.scrollWidth") == WIDE["width"]


@pytest.mark.parametrize(("scheme", "paper"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(22, 24, 29)")])
def test_the_theme_is_the_readers(visit, scheme, paper):
    tab = visit(color_scheme=scheme)
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == paper
    assert tab.evaluate("getComputedStyle(document.querySelector('select')).backgroundColor") == paper


def test_the_bar_is_as_long_as_the_probability(visit):
    tab = visit()
    first = tab.locator(".both").first
    lengths = first.evaluate("it => [it, ...it.children].map(part => part.getBoundingClientRect().width)")
    card = PAGE.cards[0]
    assert lengths[1] / lengths[0] == pytest.approx(card.row.probability, abs=0.01)
    assert lengths[2] / lengths[0] == pytest.approx(card.row.runner_up_probability, abs=0.01)
