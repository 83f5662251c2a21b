"""A sampler driven as meta-training drives it, and what it did as plain values."""

import copy
import io

import torch

from mtl.episodes import EpisodeBatch
from mtl.episodes.episode import Neighbourhoods
from mtl.runtime.seeds import generator

IMAGES, TASKS, STEPS = 240, 4, 22


def features(images, step):
    """(n, 6): those of the images that are requested before a step."""
    return torch.randn(IMAGES, 6, generator=generator(step, "features"))[images]


def train(sampler, random_outcome, first=0, last=STEPS):
    """What each step of meta-training sees of the sampler: request, meta-batch, weights and rounds."""
    seen = []
    for step in range(first, last):
        request, rounds = sampler.request(step), []
        if isinstance(request, EpisodeBatch):
            rounds.append(sampler.receive(request, random_outcome(request, 1000 + step)))
        elif request is not None:
            rounds.append(sampler.receive(request, features(request, step)))
        batch = sampler.draw(TASKS)
        outcome = random_outcome(batch, step)
        weights = sampler.task_weights(outcome.loss)
        rounds.append(sampler.update(batch, outcome))
        seen.append((request, batch, weights, [r for r in rounds if r is not None]))
    return seen


def plain(value):
    """Containers of plain values, for comparison with ==."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, EpisodeBatch | Neighbourhoods):
        value = vars(value)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


def told(ended):
    """A round as plain values, the classes of its units included."""
    units = None if ended.weights is None else ended.members(torch.arange(len(ended.weights)))
    return plain({**vars(ended), "members": units})


def stored(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def assert_states_stand_still(make, random_outcome):
    """A state stays as it was while the sampler that gave it, and one that took it, go on."""
    first, second = make(), make()
    train(first, random_outcome, last=6)
    state = first.state_dict()
    noted = copy.deepcopy(state)
    train(first, random_outcome, first=6)
    assert plain(state) == plain(noted)
    second.load_state_dict(state)
    train(second, random_outcome, first=6)
    assert plain(state) == plain(noted)
