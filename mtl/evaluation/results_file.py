"""results.json as `evaluate` writes it: what has to be in it. Further keys are left to newer versions."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from mtl.runtime.tensor_files import read_json

_Count = Annotated[int, Field(ge=0, le=10**12)]
_Recall = Annotated[list[float], Field(min_length=3)]  # and the ends of its interval


class _Score(BaseModel):
    name: str
    accuracy: float
    interval: float
    percentile_5: float
    difference: float | None
    difference_interval: float | None
    class_recall: dict[str, _Recall]
    task_accuracy: Annotated[list[float], Field(min_length=1)]


class _Resampled(BaseModel):
    tasks: _Count
    rounds: _Count
    accuracy_picked: float
    accuracy_fresh: float
    verdicts: dict[str, _Count]
    control_first: float | None = None
    control_fresh: float | None = None


class _Setting(BaseModel):
    split: str
    way: _Count
    shot: _Count
    queries: _Count
    tasks: _Count
    scores: list[_Score]
    resampled: _Resampled | None
    set: str | None = None


class _Base(BaseModel):
    balanced: float
    images: _Count


class _Results(BaseModel):
    settings: list[_Setting] = []
    base: _Base | None = None


def read_results(path: Path) -> dict[str, Any]:
    """The tree of results.json; {} where there is no such file.

    Raises:
        UserError: it is damaged.
    """
    if not path.exists():
        return {}
    way_out = "move it away and run evaluate again"
    tree: dict[str, Any] = read_json(path, _Results, way_out)
    return tree
