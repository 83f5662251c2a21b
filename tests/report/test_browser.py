"""The page in a browser: sorting, filtering, folding, themes, a phone, paper, and nothing from outside."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up import NAMES

from mtl.report.contents import PhaseReport, Report
from mtl.report.layout import printable, render

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PAPER = {"width": 688, "height": 1000}  # A4 less its margins
TABLE = "#r1-p1-classes-list"


@pytest.fixture(scope="module")
def address(full_report: Report, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("page") / "report.html"
    runs = [replace(run, phases=[_brief(run.phases[0]), run.phases[1]]) for run in full_report.runs]
    runs[1] = replace(runs[1], phases=[_brief(phase) for phase in runs[1].phases])  # quicker to open
    path.write_text(render(replace(full_report, runs=runs)), encoding="utf-8")
    return path.as_uri()


def _brief(phase: PhaseReport) -> PhaseReport:
    return replace(phase, tasks=phase.tasks[:2], classes=phase.classes[:6], pairs=phase.pairs[:2])


@pytest.fixture
def visit(chromium: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Opens the page; what goes wrong in it or is asked for from elsewhere fails the test."""
    wrong: list[str] = []
    contexts = []

    def open_page(part: str = "", viewport: dict[str, int] = WIDE, **how: Any) -> Any:
        context = chromium.new_context(viewport=viewport, reduced_motion="reduce", **how)
        contexts.append(context)
        context.set_default_timeout(10_000)
        tab = context.new_page()
        tab.on("console", lambda message: wrong.append(message.text))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("dialog", lambda dialog: wrong.append("a dialog"))
        tab.on(
            "request",
            lambda asked: None if asked.url.split("#")[0] == address or asked.url.startswith("data:") else
            wrong.append(asked.url),
        )  # fmt: skip
        tab.goto(address + part)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def tab(visit: Callable[..., Any]) -> Any:
    return visit()


def _column(tab: Any, number: int) -> list[str]:
    """What stands in the visible rows of the table of classes."""
    rows = tab.locator(f"{TABLE} tbody tr").filter(visible=True)
    return rows.evaluate_all(f"rows => rows.map(row => row.cells[{number - 1}].innerText.trim())")


def _head(tab: Any, name: str) -> Any:
    return tab.locator(f"{TABLE} thead").get_by_role("button", name=name, exact=True)


def _rows(full_report: Report) -> list[Any]:
    return [one.row for one in full_report.runs[0].phases[1].classes]


def test_sorting_by_a_number_with_the_keyboard(tab, full_report):
    classes = _rows(full_report)
    as_given = [f"{100 * c.recall:.1f}" for c in classes[:25]]
    assert _column(tab, 3) == as_given
    head = _head(tab, "recall")
    head.focus()
    tab.keyboard.press("Enter")
    recalls = sorted(c.recall for c in classes)
    assert _column(tab, 3) == [f"{100 * r:.1f}" for r in recalls[:25]]
    assert head.locator("..").get_attribute("aria-sort") == "ascending"
    assert tab.locator("#spoken").inner_text() == "Sorted by recall, ascending"
    tab.keyboard.press("Space")
    assert _column(tab, 3) == [f"{100 * r:.1f}" for r in recalls[::-1][:25]]
    assert head.locator("..").get_attribute("aria-sort") == "descending"
    tab.keyboard.press("Enter")
    assert _column(tab, 3) == as_given
    assert tab.locator(f"{TABLE} [aria-sort]").count() == 0


def test_numbers_are_sorted_as_numbers_and_unknown_ones_come_last(tab, full_report):
    classes = _rows(full_report)
    _head(tab, "draws").click()
    draws = sorted(c.draws for c in classes)
    assert _column(tab, 6) == [f"{d:,}" for d in draws[:25]]
    assert draws != sorted(draws, key=str)  # as text they stand otherwise
    tab.get_by_role("button", name="Show all 40 classes").filter(visible=True).first.click()
    for _ in range(2):
        _head(tab, "change").click()
        assert _column(tab, 9)[-1] == "–"
    assert tab.locator(f"{TABLE} [aria-sort]").count() == 1


def test_sorting_by_a_name(tab):
    _head(tab, "class").click()
    letters = [name for name in _column(tab, 1) if name.startswith("letter")]
    assert letters == sorted(letters)
    assert len(letters) > 10


def test_filtering_by_name_and_group(tab):
    field = tab.locator(f'input[aria-controls="{TABLE[1:]}"]')
    told = field.locator("xpath=ancestor::p").locator("output")
    field.fill("LETTER 2")
    assert _column(tab, 1) == [f"letter 2{n}" for n in range(10)]
    assert told.inner_text() == "10 of 40 classes"
    field.fill("2 lett")
    assert _column(tab, 1) == [f"letter 2{n}" for n in range(10)]
    field.fill("עברית")
    assert len(_column(tab, 1)) == len(range(1, 40, 3))
    field.fill("no such class")
    assert _column(tab, 1) == []
    assert told.inner_text() == "0 of 40 classes"
    field.press("Escape")
    assert len(_column(tab, 1)) == 25
    assert told.inner_text() == ""


def test_a_filter_finds_cards_too(tab, full_report):
    tasks = full_report.runs[0].phases[1].tasks
    name = tasks[7].task.classes[2]  # a card that is not shown at first
    tab.locator('input[aria-controls="r1-p1-tasks-list"]').fill(printable(name))
    cards = tab.locator("#r1-p1-tasks-list > article").filter(visible=True)
    assert cards.count() == sum(name in card.task.classes for card in tasks)


def test_long_lists_show_their_first_rows_until_asked(tab):
    cards = tab.locator("#r1-p1-tasks-list > article").filter(visible=True)
    assert cards.count() == 3
    button = tab.locator("#r1-p1-tasks-list + button")
    assert button.get_attribute("aria-expanded") == "false"
    button.press("Enter")
    assert cards.count() == 8
    assert button.inner_text() == "Show the first 3 only"
    button.press("Enter")
    assert cards.count() == 3
    assert tab.locator("#comparison-differences").locator("xpath=..").locator("+ button").is_hidden()


def test_without_a_script_all_of_it_can_be_read(visit):
    tab = visit(java_script_enabled=False)
    for folded in ("classes", "tasks"):
        tab.locator(f"#r1-p1-{folded} > summary").click()
    assert tab.locator(f"{TABLE} tbody tr").filter(visible=True).count() == 40
    assert tab.locator("#r1-p1-tasks-list > article").filter(visible=True).count() == 8
    assert tab.locator("button, input").filter(visible=True).count() == 0
    assert tab.locator("nav a").filter(visible=True).count() > 10


def test_a_link_unfolds_where_it_leads(visit):
    tab = visit("#r2-p2-pairs")
    assert tab.locator("#r2-p2-pairs").is_visible()
    assert tab.locator("#r1-p2-tasks").is_hidden()
    tab.locator('nav a[href="#r1-p2"]').click()
    assert tab.locator("#r1-p2-tasks").is_visible()
    tab.wait_for_function("document.querySelector('nav a[aria-current]').hash === '#r1-p2'")


def test_the_first_key_leads_past_the_contents(tab):
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    assert tab.locator(".skip").bounding_box()["x"] >= 0
    tab.keyboard.press("Enter")
    assert tab.evaluate("location.hash") == "#main"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_is_the_readers_and_can_be_changed(visit, scheme):
    from playwright.sync_api import expect

    tab = visit(color_scheme=scheme)
    other = {"light": "dark", "dark": "light"}[scheme]
    paper = {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 29)"}

    def shows(theme: str) -> None:  # a busy browser takes its time
        expect(tab.locator("body")).to_have_css("background-color", paper[theme], timeout=20_000)

    shows(scheme)
    assert tab.locator("#theme").inner_text() == other.capitalize()
    tab.locator("#theme").press("Enter")
    shows(other)
    tab.reload()
    shows(other)  # remembered
    tab.emulate_media(media="print")
    shows("light")


def test_a_phone_needs_no_sideways_scrolling(visit):
    tab = visit(viewport=PHONE, has_touch=True)
    tab.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    box = tab.locator(TABLE).locator("xpath=..")
    assert box.evaluate("it => it.scrollWidth > it.clientWidth")  # the table scrolls by itself
    assert (box.get_attribute("tabindex"), box.get_attribute("role")) == ("0", "group")
    assert box.get_attribute("aria-label").startswith("Hardest classes of meta-train")
    small = tab.locator("summary, button:not(th button), input").filter(visible=True)
    heights = small.evaluate_all("all => all.map(it => it.getBoundingClientRect().height)")
    assert min(heights) >= 44
    assert tab.evaluate("getComputedStyle(document.body).fontSize") == "16px"


def test_a_wide_window_shows_whole_tables(tab):
    boxes = tab.locator(".scroll").filter(visible=True)
    assert boxes.evaluate_all("all => all.filter(it => it.scrollWidth > it.clientWidth).length") == 0
    assert boxes.count() > 5


def test_the_contents_of_a_phone_open_and_close(visit):
    tab = visit(viewport=PHONE)
    menu, contents = tab.locator("#menu"), tab.locator("#contents")
    assert contents.is_hidden()
    menu.press("Enter")
    assert contents.is_visible()
    assert menu.get_attribute("aria-expanded") == "true"
    tab.keyboard.press("Escape")
    assert contents.is_hidden()
    menu.click()
    tab.locator('nav a[href="#r2-setup"]').click()
    assert contents.is_hidden()
    assert 0 <= tab.locator("#r2-setup").bounding_box()["y"] < PHONE["height"]


def test_paper_shows_what_the_screen_does_and_no_controls(visit):
    tab = visit(viewport=PAPER)
    for folded in ("#r2-p2", "#r1-p1-classes"):
        tab.locator(f"{folded} > summary").click()
    tab.emulate_media(media="print")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.locator("#r2-p2-tasks").is_visible()
    assert not tab.locator("#r1-p2-tasks").is_visible()
    assert tab.locator(f"{TABLE} tbody tr").filter(visible=True).count() == 25
    assert tab.locator("nav, .skip, .tools, .more").filter(visible=True).count() == 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= PAPER["width"]
    assert tab.locator("img[loading=lazy]").count() == 0


def test_names_are_shown_as_they_are(tab):
    seen = tab.locator(TABLE).inner_text()
    assert "<script>alert(1)</script>" in seen
    names = tab.locator(f"{TABLE} tbody th bdi").all_text_contents()
    assert names == list(NAMES)


def test_no_other_script_can_run(chromium, address):
    tab = chromium.new_page()
    tab.goto(address)
    tab.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.ran = true';
            document.body.append(script);
            document.body.insertAdjacentHTML('beforeend', '<img src="data:," onerror="window.ran = true">');
        }"""
    )
    tab.wait_for_timeout(50)
    assert tab.evaluate("window.ran") is None
    tab.close()
