"""What is believed of each class's recall, from answers that count less the older they are."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:  # the samplers of mtl.episodes call this module
    from mtl.episodes.episode import EpisodeBatch, Outcome

Floats = NDArray[np.float64]


class RecallPosterior:
    """A Beta posterior of the recall of each of C classes, with a uniform prior.

    At each visit of a class its older answers shrink by `keep`, since the learner has changed, and the new
    ones are added: right ← keep · right + r Q and wrong ← keep · wrong + (1 − r) Q for a recall of r over Q
    queries. In the long run it rests on Q / (1 − keep) answers. The lowest of five recalls over 15 queries
    names the hardest class in fewer than half of all tasks; estimates over many visits are sharper. Answers
    of one task count as independent, which they are not: the posterior is narrower than what is known, and
    draws from it (Thompson, 1933) explore less.

    Args:
        classes: C.
        keep: in [0, 1].
    """

    def __init__(self, classes: int, keep: float) -> None:
        self.keep = keep
        self.right: Floats = np.zeros(classes)
        self.wrong: Floats = np.zeros(classes)

    def add(self, batch: "EpisodeBatch", outcome: "Outcome") -> None:
        """Takes in the recalls (T, N) of a meta-batch, one task after the other."""
        recall = outcome.recall.double().numpy() * batch.queries
        for classes, right in zip(batch.classes.numpy(), recall, strict=True):
            self.right[classes] = self.keep * self.right[classes] + right
            self.wrong[classes] = self.keep * self.wrong[classes] + batch.queries - right

    def mean(self) -> Floats:
        """(C,) the posterior mean of each recall; 1/2 for a class that was never met."""
        mean: Floats = (self.right + 1) / (self.right + self.wrong + 2)
        return mean

    def share(self) -> Floats:
        """(C,) the share of right answers without the prior; 0 for a class that was never met."""
        answers = self.right + self.wrong
        share: Floats = np.divide(self.right, answers, out=np.zeros_like(answers), where=answers > 0)
        return share

    def sample(self, random: torch.Generator) -> Floats:
        """(C,) one recall out of each posterior."""
        seed = int(torch.randint(2**62, (), generator=random))
        draw: Floats = np.random.default_rng(seed).beta(self.right + 1, self.wrong + 1)
        return draw

    def state_dict(self) -> dict[str, Any]:
        return {"right": torch.from_numpy(self.right.copy()), "wrong": torch.from_numpy(self.wrong.copy())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.right, self.wrong = state["right"].numpy().copy(), state["wrong"].numpy().copy()


def log_softmax(hardness: Floats, temperature: float, floor: float = 0.0) -> Floats:
    """(C,) ln of (1 − λ) softmax(h / temperature) + λ/C; a share of 0 underflows nowhere."""
    scaled = (hardness - hardness.max()) / temperature
    logs: Floats = scaled - np.log(np.exp(scaled).sum())
    if floor:
        with np.errstate(divide="ignore"):  # λ = 1 leaves the floor alone
            logs = np.logaddexp(np.log1p(-floor) + logs, np.log(floor / len(logs)))
    return logs


def draw_by_logs(logs: Floats, count: int, random: torch.Generator) -> Tensor:
    """(count,) different ones of C, one after another in proportion to exp(logs): Gumbel top-k."""
    uniform = torch.rand(len(logs), dtype=torch.float64, generator=random).numpy()
    gumbel = logs - np.log(-np.log(uniform.clip(np.finfo(np.float64).tiny)))
    return torch.from_numpy((-gumbel).argsort(kind="stable")[:count].copy())


def with_floor(weights: Tensor, floor: float) -> Tensor:
    """(1 − λ) w / Σ w + λ / C: every class stays reachable. Even weights where all are 0."""
    total = weights.sum()
    even = torch.full_like(weights, 1 / len(weights))
    return even if not total > 0 else (1 - floor) * weights / total + floor * even
