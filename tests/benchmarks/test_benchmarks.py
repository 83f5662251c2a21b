"""Benchmarks run, report what they found and compare it with the right side of their targets."""

import json

import pytest

from benchmarks import gpu, peers, time_to_accuracy
from benchmarks.__main__ import NAMES, main
from benchmarks.harness import Row, paired

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries that are compared with


@pytest.mark.parametrize("name", NAMES)
def test_each_runs_on_tiny_sizes(name, tmp_path, capsys):
    main([name, "--quick", "--out", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["quick"]
    assert found["torch"]
    rows = found["benchmarks"][name]
    assert rows
    assert all(row["value"] > 0 or row["unit"] in {"%", "modules"} for row in rows)
    assert name.replace("_", " ") in capsys.readouterr().out


def test_an_unknown_name_is_told(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["metastep"])
    assert stopped.value.code == 2
    assert "metastep: there is no such benchmark; there are meta_step, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "at_most", "met"), [(1.0, True, True), (1.1, True, False), (1.1, False, True)]
)
def test_a_target_is_a_bound(value, at_most, met):
    assert Row("", value, "×", 1.0, at_most).met is met


def test_a_ratio_is_of_times_taken_in_turn(monkeypatch):
    clock, calls = [0.0], []

    def work(name, takes):
        def one():
            calls.append(name)
            clock[0] += takes

        return one

    monkeypatch.setattr("benchmarks.harness.time.perf_counter", lambda: clock[0])
    found = paired(work("a", 3.0), work("b", 2.0), pairs=3)
    assert (found.a, found.b, found.ratio) == (3.0, 2.0, 1.5)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"
    with pytest.raises(ValueError, match="0 pairs"):
        paired(work("a", 1.0), work("b", 1.0), pairs=0)


def test_that_of_gpus_runs_on_the_processor():
    assert [row.what for row in gpu.rows(quick=True, name="cpu")][-1] == "100 episodes"


def test_ours_and_others_train_to_an_accuracy(tiny, monkeypatch):
    pytest.importorskip("learn2learn", reason="learn2learn is not installed on Python 3.13")
    monkeypatch.setattr(time_to_accuracy, "PEERS", peers.PEERS[:2])
    easy = time_to_accuracy.Goal("quickstart", 3, 0.1, ())
    ours, *others, ratio = time_to_accuracy.rows(easy, tiny(), minutes=1, turn=0.01)
    assert [row.what for row in others] == [peer.name for peer in peers.PEERS[:2]]
    assert ratio.value == pytest.approx(min(row.value for row in others) / ours.value)
    impossible = time_to_accuracy.Goal("quickstart", 3, 1.1, ())
    *_, other, ratio = time_to_accuracy.rows(impossible, tiny(run="again"), minutes=0.001, turn=0.01)
    assert "missed" in other.note
    assert ratio.value == 0  # ours missed it too
    assert not ratio.met
