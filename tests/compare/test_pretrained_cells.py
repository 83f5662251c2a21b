"""The cell of what was only pretrained: its heads, and the one that validation tasks choose."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from mtl.compare import runs as cells
from mtl.compare.runs import best_head, heads_of, judge, pretrained_cell
from mtl.data import ImageSet
from mtl.episodes.episode import EpisodeShape, Outcome
from mtl.runtime import checkpoints
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.training.restore import read_pretrained

pytestmark = pytest.mark.usefixtures("few_validation_tasks")

HEADS = [
    "prototypes",
    "prototypes, power",
    "logistic regression",
    "logistic regression, power",
    "start of meta-training",
]


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
    monkeypatch.setattr(cells, "best_head", lambda heads, one, _: chosen[one.evaluate.settings[0][1]])
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


def test_the_novel_classes_choose_no_head(prepared):
    """Only validation tasks are asked before the tasks that are answered."""
    config, run_data, device = prepared()
    payload = read_pretrained(RunFolder.of(config), config)
    heads = heads_of(payload, config, run_data, "val", device)
    episodes = run_data.fixed_episodes("val", EpisodeShape(3, 1, 4), 30, config.seed, "head")
    found = {name: float(solve(episodes).accuracy.mean()) for name, solve in heads.items()}
    one = dataclasses.replace(config, evaluate=dataclasses.replace(config.evaluate, settings=((3, 1),)))
    assert best_head(heads, one, run_data) == max(found, key=found.get)
