"""The hard tasks of a run as the page gets them."""

import pytest
from own_folders import contents

from mtl.studio import app
from mtl.studio.guard import Guard

testclient = pytest.importorskip("starlette.testclient", reason="starlette is not installed")
HERE = "http://127.0.0.1:8000"


@pytest.fixture
def page(opened, run_with_log):
    guarded = Guard(app.routes(opened(), run_with_log), "token", 8000)
    return testclient.TestClient(guarded, base_url=f"{HERE}/token", headers={"origin": HERE})


def test_neighbourhoods_and_pairs_come_with_their_pictures_and_nothing_is_written(page, run_with_log):
    before = contents(run_with_log)
    view = page.get("hard-tasks").json()
    assert (page.get("view").json()["run"], view["phases"]) == ("tiny", ["meta-train", "evaluate val"])
    first = view["neighbourhoods"][0]
    row = first["row"]
    assert (row["name"], row["members"], row["first"]) == ("train 00", ["train 01", "train 02"], 0.25)
    assert (row["weight"], row["drawn"], len(first["pictures"]), len(first["members"])) == (2, 0, 3, 2)
    pair = view["pairs"][0]
    assert pair["pair"]["classes"] == ["train 00", "train 02"]
    shown = pair["first_pictures"][0]
    assert shown["alt"].startswith("train 00, image ")
    assert page.get(shown["source"]).headers["content-type"] == "image/png"
    assert contents(run_with_log) == before


def test_another_phase_has_tasks_with_the_answers_of_the_worst_visit(page):
    view = page.get("hard-tasks", params={"phase": "evaluate val"}).json()
    (task,) = view["tasks"]
    assert task["task"]["classes"] == ["val 00", "val 01", "val 02"]
    assert (task["task"]["seen"], task["task"]["first"], task["task"]["last"]) == (2, 1, pytest.approx(2 / 3))
    assert {(one["own"], one["predicted"]) for one in task["wrong"]} == {("val 00", "val 02")}
    assert view["neighbourhoods"] == []
    assert page.get("hard-tasks", params={"phase": "later"}).status_code == 422


def test_other_pictures_are_not_there(page):
    for key in ("9-0", "0-999999", "0", "0-1-2", "٣-0", "..-0"):
        assert page.get(f"picture/hard-{key}").status_code == 404


def test_a_missing_log_and_missing_images_are_named_in_a_sentence(page, run_with_log, image_root):
    (run_with_log / "hard_tasks.sqlite").rename(run_with_log / "away")
    answer = page.get("hard-tasks")
    assert (answer.status_code, "no log of hard tasks" in answer.json()["error"]) == (422, True)
    (run_with_log / "away").rename(run_with_log / "hard_tasks.sqlite")
    config = (run_with_log / "config.yaml").read_text()
    (run_with_log / "config.yaml").write_text(config.replace(str(image_root), str(run_with_log / "none")))
    view = page.get("hard-tasks").json()
    assert (view["neighbourhoods"][0]["pictures"], len(view["notes"])) == ([], 1)


def test_without_a_run_there_is_no_log(opened):
    guarded = Guard(app.routes(opened()), "token", 8000)
    page = testclient.TestClient(guarded, base_url=f"{HERE}/token", headers={"origin": HERE})
    assert page.get("view").json()["run"] is None
    assert [page.get(path).status_code for path in ("hard-tasks", "picture/hard-0-0")] == [404, 404]
