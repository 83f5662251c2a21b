"""Evaluation: numbers against plain loops, and what it leaves behind."""

import json

import numpy as np
import pytest
import scipy.stats
import torch

from mtl.episodes.episode import EpisodeShape, Outcome
from mtl.evaluation.baselines import nearest_neighbour
from mtl.evaluation.evaluate import evaluate, run
from mtl.evaluation.resample import HARD, UNDECIDED, UNLUCKY, verdict
from mtl.evaluation.results import score
from mtl.ledger.queries import hardest_tasks
from mtl.ledger.store import Ledger
from mtl.runtime import checkpoints
from mtl.runtime.run_folder import RunFolder
from mtl.stats import wilson
from mtl.training.meta_train import meta_train
from mtl.training.pretrain import pretrain
from mtl.training.run_data import load_run_data


def test_the_numbers_are_those_of_scipy_and_numpy(tiny):
    run_data = load_run_data(tiny())
    episodes = run_data.fixed_episodes("test", EpisodeShape(3, 1, 4), 50, 0, "evaluate")
    random = torch.Generator().manual_seed(0)
    first = Outcome.of(torch.randn(50, 12, 3, generator=random), 3, 4)
    other = Outcome.of(torch.randn(50, 12, 3, generator=random), 3, 4)
    names = run_data.splits.test.class_names
    found = score("x", episodes, other, first, names)
    accuracy = other.accuracy.double().numpy()
    half = scipy.stats.t.ppf(0.975, 49) * accuracy.std(ddof=1) / np.sqrt(50)
    assert found.accuracy == pytest.approx(accuracy.mean())
    assert found.interval == pytest.approx(half)
    values, counts = np.unique(accuracy.round(6), return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) / 50
    assert found.percentile_5 == pytest.approx(np.interp(0.05, middle, values), abs=1e-6)
    gaps = accuracy - first.accuracy.double().numpy()
    assert found.difference == pytest.approx(gaps.mean())
    test = scipy.stats.ttest_rel(accuracy, first.accuracy.double().numpy()).confidence_interval(0.95)
    assert found.difference - found.difference_interval == pytest.approx(test.low)
    c = int(episodes.classes[7, 1])
    seen = [(t, j) for t in range(50) for j in range(3) if int(episodes.classes[t, j]) == c]
    correct = sum(round(float(other.recall[t, j]) * 4) for t, j in seen)
    recall, low, high = found.class_recall[names[c]]
    assert recall == pytest.approx(correct / (4 * len(seen)))
    independent = scipy.stats.binomtest(correct, 4 * len(seen)).proportion_ci(0.95, method="wilson")
    assert low < independent.low < recall < independent.high < high
    # Tasks whose queries agree entirely: an answer each, of 49 degrees of freedom.
    agreed = Outcome(
        first.loss, first.accuracy.round(), first.accuracy.round()[:, None].expand(-1, 3), first.confusion
    )
    drawn = torch.bincount(episodes.classes.flatten()).tolist()
    right = torch.bincount(episodes.classes.flatten(), agreed.recall.flatten()).tolist()
    for c, name in enumerate(names):
        factor = (1.959964 / scipy.stats.t.ppf(0.975, sum(drawn) - len(drawn))) ** 2
        expected = (right[c] / drawn[c], *wilson(right[c] * factor, drawn[c] * factor))
        assert score("x", episodes, agreed, None, names).class_recall[name] == pytest.approx(
            expected, abs=1e-6
        )
    assert found.task_accuracy == pytest.approx(accuracy.tolist(), abs=1e-5)


def test_all_stages_leave_results_and_a_ledger(tiny):
    config = tiny()
    settings = run(config)
    folder = RunFolder.of(config)
    kept = json.loads(folder.results.read_text())
    assert [(s["way"], s["shot"]) for s in kept["settings"]] == [(3, 1), (3, 2)]
    assert [s.name for s in settings[0].scores] == [
        "meta-trained (mtl)",
        "pretrained, cosine prototypes",
        "pretrained, logistic regression",
        "untrained, cosine prototypes",
        "nearest pixels",
    ]
    assert len(kept["settings"][0]["scores"][0]["task_accuracy"]) == 30
    with Ledger.read(folder.ledger) as ledger:
        phases = {p.name: p.episodes for p in ledger.phases()}
        assert phases["evaluate test 3-way 1-shot"] == 30 + 3 * 2 * 5
        worst = hardest_tasks(ledger, "evaluate test 3-way 1-shot", 30)
    judged = [t for t in worst if t.verdict]
    assert sum(settings[0].resampled.verdicts.values()) == 5
    assert {t.verdict for t in judged} <= {HARD, UNLUCKY, UNDECIDED}


def test_evaluating_again_replaces_its_own_setting_alone(tiny):
    config = tiny(evaluate={"settings": [[3, 1]]})
    run(config)
    again = evaluate(tiny(evaluate={"settings": [[4, 2]], "tasks": 20}))
    first = json.loads(RunFolder.of(config).results.read_text())["settings"]
    assert [(s["way"], s["shot"], s["tasks"]) for s in first] == [(3, 1, 30), (4, 2, 20)]
    repeated = evaluate(tiny(evaluate={"settings": [[4, 2]], "tasks": 20}))
    assert repeated[0].scores[0].task_accuracy == again[0].scores[0].task_accuracy
    with Ledger.read(RunFolder.of(config).ledger) as ledger:
        assert {p.name: p.episodes for p in ledger.phases()}["evaluate test 4-way 2-shot"] == 20 + 3 * 2 * 5


def test_without_meta_training_the_pretrained_backbone_is_scored(tiny):
    config = tiny(evaluate={"settings": [[3, 1]], "baseline": False})
    pretrain(config)
    names = [s.name for s in evaluate(config)[0].scores]
    assert names == ["pretrained, cosine prototypes", "pretrained, logistic regression"]


@pytest.mark.parametrize("batch_norm", ["frozen", "update", "episode"])
@pytest.mark.parametrize("train", ["ss", "ss_affine", "all"])
def test_every_way_of_training_runs(tiny, batch_norm, train):
    config = tiny(
        meta={"steps": 2, "batch_norm": batch_norm, "train": train}, evaluate={"settings": [[3, 1]]}
    )
    pretrain(config)
    meta_train(config)
    assert evaluate(config)[0].scores[0].name == "meta-trained (mtl)"


def test_a_mirrored_view_changes_features_only_by_its_mirror(tiny):
    config = tiny(evaluate={"settings": [[3, 1]]})
    pretrain(config)
    plain = evaluate(config)[0].scores
    mirrored = evaluate(tiny(evaluate={"settings": [[3, 1]], "mirror": True}))[0].scores
    assert plain[0].task_accuracy != mirrored[0].task_accuracy
    assert plain[-1].task_accuracy == mirrored[-1].task_accuracy  # pixels have no mirror


def test_held_out_images_are_kept_from_pretraining(tiny):
    run_data = load_run_data(tiny(data={**_data(tiny), "probe_fraction": 0.5}))
    kept, probe = set(run_data.pretrain_images.tolist()), set(run_data.episode_images.tolist())
    assert not kept & probe
    assert len(kept) + len(probe) == len(run_data.splits.train.labels)
    members = run_data.index("train").members
    assert set(members[members >= 0].tolist()) == probe


def _data(tiny) -> dict:
    from mtl.config import to_dict

    return to_dict(tiny())["data"]


def test_nearest_neighbour_finds_the_class_of_the_nearest_support_image():
    random = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3 * 2 + 3 * 4, 5, generator=random)
    answers = nearest_neighbour(features, 3, 2).argmax(-1)
    for t in range(2):
        for q in range(12):
            gaps = [(float((features[t, 6 + q] - features[t, s]).norm()), s // 2) for s in range(6)]
            assert int(answers[t, q]) == min(gaps)[1]


def test_verdicts_tell_hard_classes_from_unlucky_supports():
    low = torch.tensor([0.30, 0.32, 0.28, 0.31])
    fine = torch.tensor([0.60, 0.66, 0.57, 0.63])
    wide = torch.tensor([0.1, 0.9, 0.2, 0.8])
    assert verdict(0.3, low, 0.6) == HARD
    assert verdict(0.3, fine, 0.6) == UNLUCKY
    assert verdict(0.3, wide, 0.6) == UNDECIDED
    assert verdict(0.3, fine[:1], 0.6) == UNDECIDED


@pytest.mark.parametrize("train", ["ss", "head"])
def test_a_run_of_several_networks_goes_through_all_stages(tiny, train):
    networks = {"channels": [4, 4, 8, 8], "networks": 2}
    config = tiny(
        backbone=networks,
        data={"probe_fraction": 0.4},
        pretrain={"rotation": {"share": 0.5}},
        meta={"train": train, "batch_norm": "frozen", "head": {"levels": 2}},
        evaluate={"mirror": True},
    )
    run(config)
    folder = RunFolder.of(config)
    written = json.loads(folder.results.read_text())
    assert [(of["way"], of["shot"]) for of in written["settings"]] == [(3, 1), (3, 2)]
    pretrained = checkpoints.read(folder.pretrain)
    assert {key.split(".")[1] for key in pretrained["backbone"] if key.startswith("networks")} == {"0", "1"}
    assert {key.split(".")[0] for key in pretrained["classifier"]} == {"0", "1"}
    assert 0 <= written["base"]["balanced"] <= 1
