"""The page of answers: all of it shows, no name breaks it, it is whole and the same each time."""

import base64
import csv
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up import HOSTILE
from made_up_answers import CLASSES, TOLD, answers_page
from page_tree import tree

from mtl.own_images.answers import percent
from mtl.own_images.predict_report import render
from mtl.report.layout import printable


@pytest.fixture(scope="module")
def page():
    return answers_page()


@pytest.fixture(scope="module")
def html(page):
    return render(page)


@pytest.fixture(scope="module")
def root(html):
    return tree(html)


def seen(name):
    return " ".join(printable(name).split())


def test_every_card_shows_its_answer_and_runner_up(page, root):
    cards = root.named("answer")
    for card, shown in zip(page.cards, cards, strict=True):
        names = [e.text for e in shown.all("bdi")]
        assert names == [seen(card.row.answer), seen(card.row.runner_up), seen(card.row.file)]
        assert shown.named("confidence")[0].text == percent(card.row.probability)
        assert f"or {seen(card.row.runner_up)} {percent(card.row.runner_up_probability)}" in shown.text
        assert f"margin {100 * card.row.margin:.1f} points · none {percent(card.row.none)}" in shown.text
        widths = [e.attributes["style"] for e in shown.named("both")[0].all("span")]
        assert widths == [
            f"width:{100 * share:.1f}%" for share in (card.row.probability, card.row.runner_up_probability)
        ]
        pictures = [e.attributes["src"] for e in shown.all("img")]
        assert pictures == ([] if card.picture is None else [card.picture.source])
        assert bool(pictures) != bool(shown.named("gone"))
        assert CLASSES[int(shown.attributes["data-class"]) - 1] == card.row.answer


def test_cards_know_their_place_by_file(page, root):
    places = [int(e.attributes["data-file"]) for e in root.named("answer")]
    order = sorted(range(len(page.cards)), key=lambda i: page.cards[i].row.file)
    assert [places[i] for i in order] == list(range(1, len(page.cards) + 1))


def test_the_page_opens_with_how_many_are_unsure_and_with_the_expected_accuracy(root):
    top = root.all("header")[0].text
    assert "1,200 unsure" in top
    assert TOLD[0] in top
    assert TOLD[1] not in top
    sections = [e.attributes["id"] for e in root.all("section")]
    assert sections == ["answers", "outlook", "classes", "left-out", "classifier"]
    assert [root.text.count(printable(sentence)) for sentence in TOLD] == [1, 1]


def test_confused_classes_show_their_pictures(page, root):
    (pair,), (shown,) = page.confused, root.by_id("outlook").all("details")
    assert "42 % taken for each other" in shown.text
    pictures = [*pair.first.pictures, *pair.second.pictures]
    assert [e.attributes["src"] for e in shown.all("img")] == [picture.source for picture in pictures]


def test_numbers_that_all_classes_begin_with_are_left_to_the_list_of_corrections(page):
    named = [replace(one, name=f"{i:03d}.{'abcdef'[i]}_bird") for i, one in enumerate(page.classes)]
    root = tree(render(replace(page, cards=[], classes=named, confused=[])))
    assert root.by_id("classes-list").all("h3")[2].text == "c_bird"
    assert [e.text for e in root.by_id("labels").all("li")[2].all("span")] == ["002.c_bird", "c_bird"]


def test_classes_show_what_they_were_learned_from(page, root):
    for one, shown in zip(page.classes, root.by_id("classes-list").all("article"), strict=True):
        assert shown.all("h3")[0].text == seen(one.name)
        assert [e.attributes["src"] for e in shown.all("img")] == [p.source for p in one.pictures]
        assert f"learned from {one.learned_from} · predicted for {one.answered}" in shown.text


def test_what_is_left_out_and_what_is_not_shown_is_told(page, root):
    assert [e.text for e in root.by_id("left-out").all("li")] == [
        seen(page.not_answered[0]),
        seen(page.not_learned[0]),
    ]
    assert "Shown are the 40 least certain of 1,234; all are in predictions & more.csv." in root.text
    whole = tree(render(replace(page, answered=40, not_learned=[], not_answered=[])))
    assert "Shown are" not in whole.text
    assert "Left out" not in whole.text
    many = tree(render(replace(page, not_answered=[f"{i}.png: bad" for i in range(1201)])))
    assert "Not classified 1,201" in many.by_id("left-out").text
    assert many.by_id("left-out").all("li")[200].text == "and 1,001 more"


def test_none_is_told_only_where_it_was_asked(page):
    without = tree(render(answers_page(none=False)))
    assert " · none" not in without.text
    assert "None is the probability" not in without.text
    asked = tree(render(page))
    assert "None is the probability" in asked.text


def test_the_classes_that_were_answered_can_be_chosen(page, root):
    only, order = root.by_id("answers-tools").all("select")
    counts = [f"{seen(one.name)} ({one.answered})" for one in page.classes if one.answered]
    assert [o.text for o in only.all("option")] == ["every class", *counts]
    assert [o.attributes["value"] for o in order.all("option")] == ["least", "most", "file"]
    assert "hidden" in root.by_id("answers-tools").attributes  # until the script is there


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text(root, name):
    assert any(seen(name) in e.text for e in root.all("bdi"))


def test_no_name_becomes_markup(root):
    assert len(root.all("script")) == len(root.all("style")) == len(root.all("title")) == 1
    assert not any(key.startswith("on") for e in root.all() for key in e.attributes)
    assert not root.all("b", "i")
    assert "7 * 7" in root.text


def test_nothing_can_be_fetched_and_nothing_else_can_run(root):
    (policy,) = (e for e in root.all("meta") if e.attributes.get("http-equiv"))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.attributes["content"].split(";"))
    digest = base64.b64encode(hashlib.sha256("".join(root.all("script")[0].parts).encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert (rules["default-src"], rules["img-src"]) == ("'none'", "data:")
    for element in root.all():
        for key in {"src", "href", "action", "srcset"} & element.attributes.keys():
            assert element.attributes[key].startswith(("data:image/", "#"))
    assert not any(word in "".join(root.all("style")[0].parts) for word in ("url(", "@import"))


def test_ids_are_unique_and_labels_lead_somewhere(root):
    ids = [e.attributes["id"] for e in root.all() if "id" in e.attributes]
    assert len(set(ids)) == len(ids)
    for e in root.all():
        for key in ("aria-controls", "for"):
            assert e.attributes.get(key, ids[0]) in ids
        assert not e.attributes.get("href", "").startswith("#") or e.attributes["href"][1:] in ids
        assert e.tag != "img" or e.attributes["alt"]


def test_the_same_answers_give_the_same_bytes(page, html):
    assert render(page) == html


def test_a_page_of_nothing_is_whole(page):
    bare = replace(
        page, facts=[], outlook=[], cards=[], answered=0, classes=[], not_learned=[], not_answered=[]
    )
    assert tree(render(bare)).all("h1")[0].text == "What 40 <pictures> show"


def test_probabilities_that_rest_on_support_pictures_alone_are_not_called_calibrated():
    assert "Probabilities are calibrated" in render(answers_page())
    assert "calibrated" not in render(replace(answers_page(), calibration=""))


def test_where_all_answers_are_shown_none_is_said_to_be_left():
    page = answers_page()
    whole = render(replace(page, answered=len(page.cards)))
    assert ">most certain first<" in whole
    assert ">most certain of these first<" in render(page)


WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
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
    tab.get_by_label("Classified as").select_option(index=2)
    wanted = [card for card in PAGE.cards if card.row.answer == CLASSES[2]]
    assert len(_files(tab)) == len(wanted)
    assert tab.locator("#answers-tools output").inner_text() == f"{len(wanted)} of 40 shown"
    tab.get_by_label("Classified as").select_option("")
    assert len(_files(tab)) == len(PAGE.cards)
    assert tab.locator("#answers-tools output").inner_text() == ""


def test_the_order_can_be_chosen(visit):
    tab = visit()
    given = _files(tab)
    tab.get_by_label("Order").select_option("most")
    assert _files(tab) == given[::-1]
    assert tab.locator("#spoken").inner_text() == "most certain of these first"
    tab.get_by_label("Order").select_option("file")
    assert [name[:7] for name in _files(tab)] == sorted(name[:7] for name in given)
    tab.get_by_label("Order").select_option("least")
    assert _files(tab) == given


@pytest.mark.parametrize("viewport", [WIDE, PHONE])
def test_pictures_and_the_count_of_unsure_ones_are_above_the_fold(visit, viewport):
    tab = visit(viewport)
    for part in (tab.locator(".lead"), tab.locator(".answer img").first):
        box = part.bounding_box()
        assert box["y"] + box["height"] < viewport["height"]
    assert tab.locator(".answer img").first.bounding_box()["width"] > 145


def test_corrections_are_kept_and_saved_as_a_list_that_fit_reads(visit, tmp_path):
    tab = visit()
    bar = tab.locator("#corrections")
    assert bar.is_hidden()
    right = [one.name for one in PAGE.classes if one.is_label][:2]
    for place, name in enumerate(right):
        tab.locator(".answer select").nth(place).select_option(value=name)
    tab.reload()
    assert bar.locator("output").inner_text() == "2 pictures"
    assert "--fix corrections.csv" in bar.inner_text()
    with tab.expect_download() as download:
        bar.get_by_role("button").click()
    assert download.value.suggested_filename == "corrections.csv"
    download.value.save_as(tmp_path / "corrections.csv")
    with (tmp_path / "corrections.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    paths = [card.path for card in PAGE.cards if card.path]
    assert rows == [["path", "label"], *([path, name] for path, name in zip(paths, right, strict=False))]
    for place in range(2):
        tab.locator(".answer select").nth(place).select_option(value="")
    assert bar.is_hidden()


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
    assert 3 <= tops.count(tops[0]) <= 6
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
