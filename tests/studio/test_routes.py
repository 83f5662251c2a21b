"""The page's requests: who may make them, what they refuse, and what they answer."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from mtl.cli import main
from mtl.studio import app
from mtl.studio.guard import Guard

pytest.importorskip("starlette", reason="starlette is not installed")
testclient = pytest.importorskip("starlette.testclient")

TOKEN, HERE = "the-token", "http://127.0.0.1:8000"


@pytest.fixture
def session(opened):
    return opened()


@pytest.fixture
def page(session):
    """A browser that has the page open."""
    guarded = Guard(app.routes(session), TOKEN, 8000)
    return testclient.TestClient(guarded, base_url=f"{HERE}/{TOKEN}", headers={"origin": HERE})


def upload(page, content, name="one.png", to=""):
    return page.post("upload", content=content, headers={"x-name": name, "x-class": to})


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (f"/{TOKEN}/view", {}, 200),
        (f"/{TOKEN}/view", {"origin": HERE}, 200),
        (f"/{TOKEN}/view", {"host": "localhost:8000", "sec-fetch-site": "same-origin"}, 200),
        ("/view", {}, 403),
        ("/the-tokem/view", {}, 403),
        ("/%C3%A9/view", {}, 403),
        (f"/{TOKEN}/view", {"host": "evil.example:8000"}, 403),
        (f"/{TOKEN}/view", {"host": "127.0.0.1:8001"}, 403),
        (f"/{TOKEN}/view", {"origin": "http://evil.example"}, 403),
        (f"/{TOKEN}/view", {"origin": "null"}, 403),
        (f"/{TOKEN}/view", {"origin": "http://localhost:8000"}, 403),
        (f"/{TOKEN}/view", {"sec-fetch-site": "cross-site"}, 403),
        (f"/{TOKEN}/../{TOKEN}/nothing", {}, 404),
    ],
)
def test_only_the_page_itself_is_answered(session, path, headers, status):
    browser = testclient.TestClient(Guard(app.routes(session), TOKEN, 8000), base_url=HERE)
    answer = browser.get(path, headers=headers)
    assert answer.status_code == status
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_an_answer_is_corrected_and_everything_is_downloaded(page, session, things):
    new = things.parent / "new"
    for name in ("ash 4.png", "elm 4.png", "oak 4.png"):
        assert upload(page, (new / name).read_bytes(), name.replace(" ", "%20")).status_code == 200
    view = page.get("view").json()
    assert {view["pictures"][one["id"]]["name"] for one in view["answers"]} == {
        "ash 4.png",
        "elm 4.png",
        "oak 4.png",
    }
    assert {one["id"] for one in view["answers"]} == set(view["next"])
    least = view["answers"][0]["id"]
    after = page.post("change", content=json.dumps({"do": "label", "ids": [least], "to": "yew"})).json()
    assert {one["name"]: len(one["pictures"]) for one in after["classes"]}["yew"] == 1
    assert len(after["answers"]) == 2
    assert page.get(f"picture/{least}").headers["content-type"] == "image/jpeg"
    table = page.get("answers.csv")
    assert "attachment" in table.headers["content-disposition"]
    assert len(table.text.splitlines()) == 3
    assert page.get("things.fewshot").content == (session.state / "classifier.fewshot").read_bytes()


@pytest.mark.parametrize("name", ["..%2F..%2Fevil.png", "%2Fetc%2Fpasswd", "C%3A%5Cevil.png", "%00.png", ""])
def test_names_of_uploads_never_become_paths(page, session, things, name):
    before = {path for path in things.parent.rglob("*") if "pictures" not in path.parts}
    key = upload(page, (things.parent / "new" / "ash 4.png").read_bytes(), name, "ash").json()["id"]
    assert {path for path in things.parent.rglob("*") if "pictures" not in path.parts} == before
    assert [path.name for path in session.pictures.iterdir()] == [key]
    assert "/" not in session.board.pictures[key].name
    assert [move.to for move in session.plan()] == [f"ash/{key[:16]}.png"]


def test_names_of_files_that_are_no_text_are_shown(page, session, things):
    try:
        shutil.copyfile(things.parent / "new" / "ash 4.png", things / os.fsdecode(b"\xff.png"))
        shutil.copyfile(things.parent / "new" / "ash 5.png", things / "ash" / os.fsdecode(b"\xff.png"))
    except OSError:
        pytest.skip("names are Unicode on this file system")
    answer = page.post("read")
    assert (answer.status_code, len(answer.json()["pictures"])) == (200, 14)
    assert [page.get(path).status_code for path in ("answers.csv", "things.fewshot")] == [200, 200]


def test_what_is_no_picture_or_too_large_is_refused_and_leaves_nothing(page, session, monkeypatch):
    assert upload(page, b"<html>").status_code == 422
    assert upload(page, b"<html>", to="../ash").status_code == 422
    monkeypatch.setattr(app, "MOST_BYTES", 1000)
    assert upload(page, b"x" * 1001).status_code == 413
    assert upload(page, iter([b"x" * 600] * 2)).status_code == 413  # of a length that is not given
    assert not list(session.pictures.iterdir())


def test_there_are_not_more_pictures_than_allowed(page, things, monkeypatch):
    monkeypatch.setattr("mtl.studio.session.MOST_PICTURES", 12)
    answer = upload(page, (things.parent / "new" / "ash 4.png").read_bytes())
    assert (answer.status_code, "no more" in answer.json()["error"]) == (422, True)


@pytest.mark.parametrize(
    "content",
    [
        *("", "nonsense", "[]", "5", "[1]", "null", "[" * 100_000, '{"do": [1]}', '{"do": "found"}'),
        *('{"do": "label", "ids": ["x"]}', '{"do": "label", "ids": ["\\ud800"]}'),
        *('{"do": "class", "name": "\\ud800"}', '{"do": "rename", "of": [1]}'),
    ],
)
def test_requests_that_make_no_sense_change_nothing(page, session, content):
    events = list(session.journal.events)
    answer = page.post("change", content=content)
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert session.journal.events == events


def test_what_is_not_on_disk_is_not_confirmed(page, session, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    before, content = list(session.journal.events), session.journal.path.read_bytes()
    monkeypatch.setattr("mtl.studio.journal.os.fsync", full)
    answer = page.post("change", content=json.dumps({"do": "class", "name": "yew"}))
    assert (answer.status_code, "No space" in answer.json()["error"]) == (507, True)
    monkeypatch.undo()
    assert (session.journal.events, session.journal.path.read_bytes()) == (before, content)
    assert page.post("change", content=json.dumps({"do": "class", "name": "fir"})).json()["undo"]
    assert session.journal.path.read_bytes().startswith(content + b'{"do": "class", "name": "fir"')


def test_the_folder_changes_by_the_plan_that_was_shown(page, session, things):
    key = session.board.of_class("oak")[0]
    page.post("change", content=json.dumps({"do": "label", "ids": [key], "to": "elm"}))
    plan = page.get("plan").json()
    assert [one["of"] for one in plan["moves"]] == ["oak/0.png"]
    assert page.post("move", content=json.dumps({"mark": "other"})).status_code == 422
    assert (things / "oak" / "0.png").exists()
    assert page.post("move", content=json.dumps({"mark": plan["mark"]})).json()["problems"] == []
    assert not (things / "oak" / "0.png").exists()
    assert page.post("move-back").json()["moves"] == 1
    assert (things / "oak" / "0.png").exists()


def test_the_command_says_what_is_wrong(tmp_path, capsys, monkeypatch, things, network):
    from made_classifiers import fitted

    from mtl.own_images import classifier_file

    monkeypatch.chdir(tmp_path)
    classifier_file.save(fitted(network), Path("things.fewshot"))
    assert main(["studio", "thinks", "--classifier", "things.fewshot"]) == 2
    assert "thinks: there is no such folder" in capsys.readouterr().err
    assert main(["studio", "--classifier", "things.fewshot", "--port", "70000"]) == 2
    assert "--port: 70000" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["studio", "--classifier", "things.fewshot"]) == 2
    assert "pip install" in capsys.readouterr().err
