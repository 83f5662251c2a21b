"""The config of one run: its sections, which fit each other."""

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from mtl.config.checks import misfits
from mtl.config.schema import Sections
from mtl.config.values import STRICT


@dataclass(frozen=True, config=STRICT)
class Config(Sections):
    """One run."""

    @model_validator(mode="after")
    def _parts_fit(self) -> "Config":
        if wrong := misfits(self):
            raise ValueError("\n".join(wrong))
        return self
