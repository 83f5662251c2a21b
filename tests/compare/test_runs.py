"""The runs of a comparison: who answers what, and the head of what was only pretrained."""

import dataclasses
import json

import pytest
import torch
import torch.nn.functional as F

from mtl.compare import runs
from mtl.compare.measures import pair_confusions
from mtl.compare.runs import answer, arm_cells, best_head, heads_of, judge, pretrained_cell, train_arm
from mtl.data import ImageSet
from mtl.episodes.episode import EpisodeShape, Outcome
from mtl.episodes.pairs import pair_index
from mtl.errors import UserError
from mtl.runtime import checkpoints
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.training import meta_train
from mtl.training.restore import meta_trained_learner, read_pretrained
from mtl.training.solve import solve_episodes

pytestmark = pytest.mark.usefixtures("few_validation_tasks")

ONE, TWO = "3-way 1-shot", "3-way 2-shot"
HEADS = [
    "prototypes",
    "prototypes, power",
    "logistic regression",
    "logistic regression, power",
    "start of meta-training",
]


def test_answers_are_to_the_same_tasks_whatever_the_seed_and_the_training(prepared, guessing):
    solve, seen = guessing
    asked = []
    for more in ({"seed": 3}, {"seed": 4}, {"meta": {"shot": 2, "lr": 0.5}}):
        config, run_data, _ = prepared(**more)
        seen.clear()
        found = answer(solve, config, run_data, {})
        assert list(found) == [ONE, TWO]
        assert [e.shot for e in seen] == [1, 2]
        assert all(torch.equal(found[n].classes, e.classes) for n, e in zip(found, seen, strict=True))
        evaluated = run_data.fixed_episodes("test", EpisodeShape(3, 1, 4), 30, 0, "evaluate")
        assert not torch.equal(found[ONE].classes, evaluated.classes)
        asked.append([e.image_indices() for e in seen])
    for one, *others in zip(*asked, strict=True):
        assert all(torch.equal(one, other) for other in others)


def test_answers_hold_recalls_and_the_accuracies_on_judged_tasks(prepared, guessing):
    config, run_data, device = prepared()
    judged = judge(config, run_data, device)
    solve, asked = guessing
    answered = {}

    def noting(episodes):
        answered[id(episodes)] = solve(episodes)
        return answered[id(episodes)]

    found = answer(noting, config, run_data, judged)
    assert len(asked) == 4
    for name, shot in ((ONE, 1), (TWO, 2)):
        uniform = next(e for e in asked if e.shot == shot and e is not judged[name])
        assert torch.equal(found[name].classes, uniform.classes)
        assert torch.equal(found[name].recall, answered[id(uniform)].recall)
        assert torch.equal(found[name].judged, answered[id(judged[name])].accuracy)
        assert found[name].queries == 4


def test_without_judged_tasks_there_are_none(prepared, guessing):
    config, run_data, device = prepared()
    none = dataclasses.replace(config, compare=dataclasses.replace(config.compare, judged_tasks=0))
    assert judge(none, run_data, device) == {}
    solve, asked = guessing
    found = answer(solve, none, run_data, {})
    assert [len(found[name].judged) for name in (ONE, TWO)] == [0, 0]
    assert len(asked) == 2


def test_judged_tasks_are_novel_classes_that_the_pretrained_backbone_confuses(prepared, novel_features):
    config, run_data, device = prepared()
    images = run_data.splits.test
    confusions = pair_confusions(novel_features(config, run_data, device), images.labels, 6)
    for name, batch in judge(config, run_data, device).items():
        assert (len(batch), batch.way, batch.shot, batch.queries) == (25, 3, 1 if name == ONE else 2, 4)
        assert (images.labels[batch.image_indices()].view(25, -1, 1) == batch.classes[:, None]).any(-1).all()
        pairs = [pair_index(batch.classes[:, a], batch.classes[:, b], 6) for a, b in ((0, 1), (0, 2), (1, 2))]
        assert confusions[torch.stack(pairs)].mean() > confusions.mean()


def test_judged_tasks_follow_from_the_seed_and_the_pretrained_backbone_alone(prepared):
    config, run_data, device = prepared()
    first = judge(config, run_data, device)
    again = judge(prepared(meta={"lr": 0.7}, hard_tasks={"share": 0.1})[0], run_data, device)
    other = judge(prepared(seed=4)[0], run_data, device)
    for name in (ONE, TWO):
        assert torch.equal(first[name].image_indices(), again[name].image_indices())
        assert not torch.equal(first[name].image_indices(), other[name].image_indices())


def test_an_arm_starts_from_the_checkpoint_it_is_given_and_tells_its_best_validation_score(prepared):
    base, run_data, _ = prepared()
    config = dataclasses.replace(base, run="arm")
    score = train_arm(config, RunFolder.of(base).pretrain, run_data, {})
    folder = RunFolder.of(config)
    assert folder.pretrain.read_bytes() == RunFolder.of(base).pretrain.read_bytes()
    rows = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    assert score == max(row["val"] for row in rows) == checkpoints.read(folder.meta)["score"]
    assert not list(folder.path.glob("*.tmp"))


def test_an_arm_that_has_ended_is_not_trained_again_but_not_taken_for_another_either(prepared, monkeypatch):
    base, run_data, _ = prepared()
    config, pretrained = dataclasses.replace(base, run="arm"), RunFolder.of(base).pretrain
    score = train_arm(config, pretrained, run_data, {})

    def failing(*_, **__):
        raise AssertionError("nothing is left to train")

    monkeypatch.setattr(meta_train, "meta_step", failing)
    assert train_arm(config, pretrained, run_data, {}) == score
    other = dataclasses.replace(prepared(meta={"lr": 0.5})[0], run="arm")
    with pytest.raises(UserError, match=r"was made with meta\.lr = 0\.001, but the config now says 0\.5"):
        train_arm(other, pretrained, run_data, {})


def test_an_arm_answers_with_the_learner_that_validation_chose(prepared):
    base, run_data, device = prepared(meta={"lr": 0.05, "train": "all"})
    config, judged = dataclasses.replace(base, run="arm"), judge(base, run_data, device)
    train_arm(config, RunFolder.of(base).pretrain, run_data, {})
    (cell,) = arm_cells(config, "an arm", run_data, device, judged)
    folder = RunFolder.of(config)
    meta, payload = checkpoints.read(folder.meta), read_pretrained(folder, config)
    learner = meta_trained_learner(meta, payload, config, run_data.splits.train, device)
    pictures = run_data.split_images("test", device)
    assert (cell.arm, cell.seed) == ("an arm", 3)
    for name, shot in ((ONE, 1), (TWO, 2)):
        episodes = run_data.fixed_episodes("test", EpisodeShape(3, shot, 4), 30, 0, "compare")
        assert torch.equal(cell.answers[name].classes, episodes.classes)
        wanted = solve_episodes(learner, pictures, episodes)
        torch.testing.assert_close(cell.answers[name].recall, wanted.recall)
        hard = solve_episodes(learner, pictures, judged[name])
        torch.testing.assert_close(cell.answers[name].judged, hard.accuracy)
    rows = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    assert cell.curve == [(row["step"], row["val"]) for row in rows]
    assert cell.seconds == pytest.approx(float(meta["seconds"]))
    assert cell.seconds_per_step == pytest.approx(cell.seconds / 8)
    assert cell.images == 8 * 2 * 3 * (1 + 3)


def test_a_frozen_backbone_sees_each_image_once(prepared):
    base, run_data, device = prepared(meta={"train": "head", "batch_norm": "frozen", "augment": False})
    config = dataclasses.replace(base, run="arm")
    train_arm(config, RunFolder.of(base).pretrain, run_data, {})
    tables = {}
    (cell,) = arm_cells(config, "an arm", run_data, device, {}, tables)
    assert cell.images == 12 * 12
    assert list(tables) == ["test 1"]  # for the next arm, whose answers must not change by it
    (again,) = arm_cells(config, "an arm", run_data, device, {}, tables)
    meta = checkpoints.read(RunFolder.of(config).meta)
    payload = read_pretrained(RunFolder.of(config), config)
    learner = meta_trained_learner(meta, payload, config, run_data.splits.train, device)
    episodes = run_data.fixed_episodes("test", EpisodeShape(3, 1, 4), 30, 0, "compare")
    wanted = solve_episodes(learner, run_data.split_images("test", device), episodes).recall
    for one in (cell, again):
        torch.testing.assert_close(one.answers[ONE].recall, wanted)


def test_the_heads_of_a_pretrained_backbone_are_those_that_are_named(prepared, novel_features):
    config, run_data, device = prepared(meta={"head": {"power": 0.5}})
    payload = read_pretrained(RunFolder.of(config), config)
    heads = heads_of(payload, config, run_data, "test", device)
    assert list(heads) == HEADS
    episodes = run_data.fixed_episodes("test", EpisodeShape(3, 2, 4), 30, 0, "heads")
    outcomes = {name: solve(episodes) for name, solve in heads.items()}
    table = novel_features(config, run_data, device)
    bent = table.sign() * ((table.abs() + 1e-4) ** 0.5 - 1e-2)
    for name, features in (("prototypes", table), ("prototypes, power", bent)):
        centres = features[episodes.support].mean(2)  # (T, N, D)
        cosines = F.cosine_similarity(features[episodes.query][:, :, :, None], centres[:, None, None], dim=-1)
        wanted = Outcome.of(10 * cosines.flatten(1, 2), 3, 4)
        torch.testing.assert_close(outcomes[name].confusion, wanted.confusion)
    assert len({str(o.confusion) for o in outcomes.values()}) == 5


def test_the_head_is_chosen_by_validation_tasks_of_the_setting(prepared):
    config, run_data, _ = prepared(evaluate={"settings": [[4, 2]]})
    asked = []

    def answering(share):
        def solve(episodes):
            asked.append(episodes)
            logits = torch.zeros(len(episodes), 4 * episodes.queries, 4)
            own = torch.arange(4).repeat_interleave(episodes.queries)
            wrong = torch.rand(logits.shape[:2], generator=generator(0, "wrong")) >= share
            answers = (own + wrong.long()) % 4
            return Outcome.of(logits.scatter(2, answers[..., None], 5.0), 4, episodes.queries)

        return solve

    heads = {name: answering(share) for name, share in (("poor", 0.3), ("best", 0.9), ("middling", 0.6))}
    assert best_head(heads, config, run_data) == "best"
    assert len(asked) == 3
    assert all(torch.equal(e.image_indices(), asked[0].image_indices()) for e in asked)
    assert (asked[0].way, asked[0].shot, asked[0].queries, len(asked[0])) == (4, 2, 4, 30)
    labels = run_data.splits.val.labels
    assert (labels[asked[0].query] == asked[0].classes[..., None]).all()


def _with_val_of(splits, per_class):
    """The splits, with the first so many images of each validation class."""
    val = splits.val
    rows = torch.cat([(val.labels == c).nonzero().flatten()[:per_class] for c in range(val.num_classes)])
    return dataclasses.replace(splits, val=ImageSet(val.images[rows], val.labels[rows], val.class_names))


def test_the_head_is_chosen_with_fewer_ways_and_queries_where_validation_has_no_more(prepared, guessing):
    config, run_data, _ = prepared(evaluate={"settings": [[6, 5]], "queries": 7})
    solve, asked = guessing
    small = dataclasses.replace(run_data, splits=_with_val_of(run_data.splits, per_class=9))
    assert best_head({"any": solve}, config, small) == "any"
    assert (asked[0].way, asked[0].shot, asked[0].queries) == (5, 5, 4)


@pytest.mark.parametrize("per_class", [4, 5])
def test_a_head_is_chosen_where_validation_classes_are_too_small_for_the_shots(prepared, per_class):
    """Meta-training needs no more of a validation class than its own shots and queries."""
    config, run_data, device = prepared(evaluate={"settings": [[3, 5]]})
    small = dataclasses.replace(run_data, splits=_with_val_of(run_data.splits, per_class))
    heads = heads_of(read_pretrained(RunFolder.of(config), config), config, small, "val", device)
    found = {}

    def noting(name):
        def solve(episodes):
            found[name] = float(heads[name](episodes).accuracy.mean())
            return heads[name](episodes)

        return solve

    chosen = best_head({name: noting(name) for name in heads}, config, small)
    assert all(0 <= accuracy <= 1 for accuracy in found.values())  # else nothing was compared
    assert found[chosen] == max(found.values())


def test_what_was_only_pretrained_answers_with_the_best_head_of_each_setting(prepared, monkeypatch):
    config, run_data, device = prepared()
    judged = judge(config, run_data, device)
    chosen = {1: "logistic regression", 2: "prototypes"}
    monkeypatch.setattr(runs, "best_head", lambda heads, one, _: chosen[one.evaluate.settings[0][1]])
    cell = pretrained_cell(config, "pretrained", run_data, device, judged)
    heads = heads_of(read_pretrained(RunFolder.of(config), config), config, run_data, "test", device)
    for name, shot in (("3-way 1-shot", 1), ("3-way 2-shot", 2)):
        episodes = run_data.fixed_episodes("test", EpisodeShape(3, shot, 4), 30, 0, "compare")
        torch.testing.assert_close(cell.answers[name].recall, heads[chosen[shot]](episodes).recall)
        torch.testing.assert_close(cell.answers[name].judged, heads[chosen[shot]](judged[name]).accuracy)
        assert torch.equal(cell.answers[name].classes, episodes.classes)
    assert (cell.arm, cell.seed, cell.curve, cell.seconds_per_step) == ("pretrained", 3, [], None)
    assert cell.images == 2 * 12 * 12
    assert cell.seconds == float(checkpoints.read(RunFolder.of(config).pretrain)["seconds"])
