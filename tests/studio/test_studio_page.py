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
def served(opened, run_with_log):
    """The address of the page, of a run with a log."""
    session = opened()
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    guarded = Guard(routes(session, run_with_log), "token", port)
    server = uvicorn.Server(uvicorn.Config(guarded, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{port}/token/"
    server.should_exit = True
    thread.join(30)
    listening.close()


@pytest.fixture(params=[1280, 390])
def tab(request, chromium, served):
    """The page of one width; what goes wrong in it fails the test, but for requests that are refused."""
    tab, wrong = chromium.new_page(viewport={"width": request.param, "height": 900}), []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    tab.goto(served)
    yield tab
    tab.close()
    assert [one for one in wrong if "422" not in one] == []


def test_from_the_first_look_to_a_saved_classifier(tab, things, tmp_path):
    from playwright.sync_api import expect

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


def test_pictures_of_none_of_the_classes_and_dropped_folders(tab, things):
    from playwright.sync_api import expect

    expect(tab.locator("#classes .card")).to_have_count(3)
    tab.set_input_files("#choose", sorted((things.parent / "new").glob("* 4.png")))
    expect(tab.locator("#fresh .card")).to_have_count(3)
    first = tab.locator("#next .card").first
    name = first.get_attribute("aria-label")
    first.get_by_role("button", name=f"None of these: {name}").focus()
    tab.keyboard.press("Enter")
    expect(tab.locator("#fresh .card")).to_have_count(2)
    assert tab.evaluate("document.activeElement.closest('#fresh') !== null")
    tab.locator("#none summary").click()
    tab.get_by_role("button", name=f"Change {name}").click()
    tab.locator("#picture select").select_option(label="elm")
    tab.get_by_role("button", name="Put it there").click()
    expect(tab.locator("#fresh .card")).to_have_count(2)
    expect(tab.locator("#none")).to_be_hidden()

    for kind, of in (("yew", "ash"), ("fir", "oak")):
        (things.parent / kind).mkdir()
        for i in "56":
            (things.parent / "new" / f"{of} {i}.png").rename(things.parent / kind / f"{i}.png")
    (things.parent / "yew" / ".hidden").write_text("no picture")
    (things.parent / "bare").mkdir()
    drop(tab, [things.parent / kind for kind in ("yew", "fir", "bare", "things")])
    expect(tab.locator("#said")).to_contain_text("4 pictures read into")
    expect(tab.get_by_role("region", name="yew", exact=True).locator(".picture")).to_have_count(2)
    expect(tab.get_by_role("region", name="fir", exact=True).locator(".picture")).to_have_count(2)
    expect(tab.locator("#problems li")).to_contain_text(
        ["bare: has no pictures", "things: has folders in it"]
    )
    tab.get_by_role("button", name="Undo: adding pictures").click()
    expect(tab.locator("#classes .card")).to_have_count(3)
    assert tab.evaluate(UNNAMED) == []
    assert not tab.evaluate(TOO_WIDE)


def test_the_hard_tasks_of_the_run_are_looked_at(tab):
    from playwright.sync_api import expect

    expect(tab.locator("#accuracy")).to_contain_text("95 % interval")
    tab.get_by_role("link", name="Hard tasks of tiny").focus()
    tab.keyboard.press("Enter")
    expect(tab.locator("#accuracy")).to_be_hidden()
    around = tab.get_by_role("region", name="Hardest neighbourhoods").get_by_role("article")
    expect(around).to_have_count(3)
    expect(around.first).to_contain_text("weight ×2.0")
    pair = tab.get_by_role("region", name="Most confused pairs").get_by_role("article").first
    expect(pair).to_have_accessible_name("train 00 and train 02")
    pair.scroll_into_view_if_needed()
    shown = pair.get_by_role("img", name="train 00, image").first
    expect(shown).to_have_js_property("naturalWidth", 16)
    assert not tab.evaluate(TOO_WIDE)
    tab.get_by_label("Part of the log").select_option("evaluate val")
    task = tab.get_by_role("region", name="Hardest tasks").get_by_role("article")
    expect(task).to_contain_text("seen 2 times")
    expect(task).to_contain_text("as val 02")
    assert tab.evaluate(UNNAMED) == []
    assert not tab.evaluate(TOO_WIDE)
    tab.go_back()
    expect(tab.locator("#accuracy")).to_be_visible()
    expect(tab.get_by_role("link", name="Your classes", exact=True)).to_have_attribute("aria-current", "page")


def drop(tab, paths):
    """Drops files and folders onto the page, as a file manager does."""
    browser, files = tab.context.new_cdp_session(tab), [str(path) for path in paths]
    for kind in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": files, "dragOperationsMask": 1}
        browser.send("Input.dispatchDragEvent", {"type": kind, "x": 100, "y": 5, "data": data})
