"""Transductive solvers against loops over tasks, classes and queries in float64."""

import json

import numpy as np
import pytest
import torch
from scipy.special import softmax

from mtl.cli import main
from mtl.config import load_config
from mtl.errors import UserError
from mtl.evaluation.transductive import bd_cspn, laplacian_shot
from mtl.runtime.run_folder import RunFolder

WAY, SHOT, QUERIES = 4, 2, 3


def tasks(seed=0, spread=1.0):
    random = torch.Generator().manual_seed(seed)
    centres = torch.randn(3, WAY, 1, 8, generator=random, dtype=torch.float64)
    support, query = (
        (centres + spread * torch.randn(3, WAY, n, 8, generator=random, dtype=torch.float64)).flatten(1, 2)
        for n in (SHOT, QUERIES)
    )
    return torch.cat([support, query], 1)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def rectified(task):
    """Moved queries and unit prototypes of one task, image by image."""
    support, query = unit(task[: WAY * SHOT]), unit(task[WAY * SHOT :])
    query = unit(query + support.mean(0) - query.mean(0))
    plain = unit(np.stack([support[c * SHOT : (c + 1) * SHOT].mean(0) for c in range(WAY)]))
    nearest = (query @ plain.T).argmax(1)
    found = []
    for c in range(WAY):
        members = np.concatenate([support[c * SHOT : (c + 1) * SHOT], query[nearest == c]])
        found.append(softmax(10 * members @ plain[c]) @ members)
    return query, unit(np.stack(found))


def test_rectified_prototypes_are_those_of_a_loop():
    features = tasks()
    for logits, task in zip(bd_cspn(features, WAY, SHOT), features.numpy(), strict=True):
        query, centres = rectified(task)
        np.testing.assert_allclose(logits.numpy(), 10 * query @ centres.T, atol=1e-9)


def test_near_queries_draw_each_other_as_in_a_loop():
    features = tasks(1)
    for logits, task in zip(laplacian_shot(features, WAY, SHOT), features.numpy(), strict=True):
        query, centres = rectified(task)
        cost = 0.5 * ((query[:, None] - centres[None]) ** 2).sum(-1)
        apart = np.linalg.norm(query[:, None] - query[None], axis=-1) + 1e9 * np.eye(len(query))
        affinity = np.zeros_like(apart)
        for q, row in enumerate(apart):
            for p in np.argsort(row)[:3]:
                affinity[q, p] += 0.5
                affinity[p, q] += 0.5
        found = -cost
        for _ in range(20):
            found = affinity @ softmax(found, -1) - cost
        np.testing.assert_allclose(logits.numpy(), found, atol=1e-9)


@pytest.mark.parametrize("solver", [bd_cspn, laplacian_shot])
def test_the_order_of_queries_makes_no_difference_and_their_company_does(solver):
    features = tasks(2, spread=2.0)
    order = torch.randperm(WAY * QUERIES, generator=torch.Generator().manual_seed(0))
    first = WAY * SHOT
    mixed = torch.cat([features[:, :first], features[:, first:][:, order]], 1)
    logits = solver(features, WAY, SHOT)
    torch.testing.assert_close(solver(mixed, WAY, SHOT), logits[:, order])
    fewer = solver(features[:, : first + 2], WAY, SHOT)
    assert not torch.allclose(fewer, logits[:, :2])


def test_they_are_scored_in_a_table_of_their_own(tiny, from_pretrained, capsys):
    config = tiny()
    from_pretrained(config)
    folder = RunFolder.of(config)
    given = [
        f"run={config.run}",
        f"checkpoints={config.checkpoints}",
        "evaluate.transductive=[bd_cspn, laplacian]",
    ]
    folder.write_config(config)
    assert main(["evaluate", "--config", str(folder.config), *given]) == 0
    scores = json.loads(folder.results.read_text())["settings"][0]["scores"]
    assert {one["name"] for one in scores if one["transductive"]} == {"BD-CSPN", "LaplacianShot"}
    assert len([one for one in scores if not one["transductive"]]) > 1
    assert "transductive: all queries" in " ".join(capsys.readouterr().out.split())


def test_they_need_features_of_single_images():
    given = ["hard_tasks.sampler=uniform", "evaluate.transductive=[bd_cspn]"]
    load_config(None, given)
    with pytest.raises(UserError, match=r"evaluate\.transductive"):
        load_config(None, [*given, "meta.batch_norm=episode"])
