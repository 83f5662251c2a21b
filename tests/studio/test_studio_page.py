"""The page in a browser, wide and narrow: from the first look to a saved classifier."""

import socket
import threading

import pytest

from mtl.own_images import classifier_file
from mtl.studio.app import routes
from mtl.studio.guard import Guard

uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
pytest.importorskip("starlette", reason="starlette is not installed")
#: Of every control the name that a screen reader says; and what is wider than the window.
UNNAMED = """[...document.querySelectorAll('button, a, input, select, meter')].filter(one =>
    one.checkVisibility() && !(one.getAttribute('aria-label') || one.textContent.trim() ||
    (one.labels && one.labels.length))).map(one => one.outerHTML)"""
TOO_WIDE = "document.documentElement.scrollWidth > innerWidth"


@pytest.fixture
def served(opened):
    """The address of the page."""
    session = opened()
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    config = uvicorn.Config(Guard(routes(session), "token", port), log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{port}/token/"
    server.should_exit = True
    thread.join(30)
    listening.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_from_the_first_look_to_a_saved_classifier(chromium, served, things, tmp_path, width):
    from playwright.sync_api import expect

    address = served
    tab = chromium.new_page(viewport={"width": width, "height": 900})
    wrong = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    tab.goto(address)
    expect(tab.locator("#accuracy")).to_contain_text("95 % interval")
    expect(tab.locator("#classes .card")).to_have_count(3)

    tab.set_input_files("#choose", sorted((things.parent / "new").glob("* [45].png")))
    expect(tab.locator("#fresh .card")).to_have_count(6)
    expect(tab.locator("#said")).to_contain_text("6 pictures read")
    first = tab.locator("#next .card").first
    name = first.get_attribute("aria-label")
    first.get_by_role("button", name=f": {name}").first.focus()
    tab.keyboard.press("Enter")
    expect(tab.locator("#fresh .card")).to_have_count(5)
    assert tab.evaluate("document.activeElement.closest('#fresh') !== null")  # the focus stays in the list
    expect(tab.locator("#said")).to_contain_text(name)

    other = tab.locator("#next .card").first
    other.get_by_role("button", name="Other … for").click()
    tab.locator("#picture select").select_option(label="a new class")
    tab.get_by_label("Name of the new class").fill("<b>yew</b> tree")
    tab.keyboard.press("Enter")
    expect(tab.locator("#said")).to_contain_text("can be no name")
    tab.locator("#next .card").first.get_by_role("button", name="Other … for").click()
    tab.locator("#picture select").select_option(label="a new class")
    tab.get_by_label("Name of the new class").fill("yew & co")
    tab.keyboard.press("Enter")
    expect(tab.locator("#classes .card")).to_have_count(4)

    tab.get_by_role("button", name="Rename, merge … oak").click()
    tab.locator("#class input").fill("elm")
    tab.get_by_role("button", name="Merge into elm").click()
    expect(tab.locator("#classes .card")).to_have_count(3)
    tab.get_by_role("button", name="Undo: oak to elm").click()
    expect(tab.locator("#classes .card")).to_have_count(4)

    assert tab.evaluate(UNNAMED) == []
    assert not tab.evaluate(TOO_WIDE)
    with tab.expect_download() as saved:
        tab.get_by_role("link", name="Save classifier").click()
    saved.value.save_as(tmp_path / "saved.fewshot")
    assert classifier_file.load(tmp_path / "saved.fewshot").classes == ("ash", "elm", "oak", "yew & co")
    tab.get_by_role("button", name="to the folder").click()
    tab.get_by_role("button", name="Do this").click()
    expect(tab.get_by_role("button", name="Undo writing")).to_be_visible()
    assert len(list((things / "yew & co").iterdir())) == 1
    tab.reload()
    expect(tab.locator("#classes .card")).to_have_count(4)
    assert [one for one in wrong if "422" not in one] == []
    tab.close()
