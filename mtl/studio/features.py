"""The feature of every picture, computed once and kept in a file: only the head is fitted again."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mtl.config import Log
from mtl.data.near_copies import Prints
from mtl.own_images.embedder import Embedder
from mtl.own_images.read_support import PictureReader
from mtl.runtime.outputs import write_whole


class Embedded(NamedTuple):
    """One picture, as the classifier has it."""

    feature: Tensor  # (D,)
    prints: Prints  # of 1


@dataclass(eq=False)
class Features:
    """Features by the ids of pictures, of one network.

    The file may be missing or of another network: then features are computed again. It is written as a whole.
    """

    embedder: Embedder
    file: Path
    known: dict[str, Embedded] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from safetensors import SafetensorError, safe_open

        self._network = _fingerprint(self.embedder)
        self._saved = 0
        try:
            with safe_open(self.file, "pt") as file:
                about = json.loads(file.metadata()["studio"])
                if about["network"] != self._network:
                    return
                names = ("features", "digests", "thumbnails")  # copied: the file may be replaced
                features, digests, thumbnails = (file.get_tensor(name).clone() for name in names)
        except (SafetensorError, OSError, KeyError, ValueError, TypeError):
            return
        if about["levels"] is not None:
            self.embedder = self.embedder.with_levels(about["levels"])
        prints = Prints(digests, thumbnails)
        self.known = {k: Embedded(features[i], prints.some([i])) for i, k in enumerate(about["ids"])}
        self._saved = len(self.known)

    def read(self, files: Mapping[str, Path], log: Log | None = None) -> list[str]:
        """Embeds the files of pictures, by id, that are not known yet.

        Returns:
            A sentence for each that cannot be read.
        """
        wanted = {path: key for key, path in files.items() if key not in self.known}
        if not wanted:
            return []
        reader = PictureReader(self.embedder, list(wanted), log)
        for batch in reader:
            prints = Prints.of(batch.images)
            for i, path in enumerate(batch.files):
                self.known[wanted[path]] = Embedded(batch.features[i], prints.some([i]))
        if reader.embedder.preparation.levels is not None:
            self.embedder = reader.embedder
        return [one.why for one in reader.unread]

    def of(self, ids: Iterable[str]) -> tuple[Tensor, Prints]:
        """(n, D) and n prints of pictures, of which there is one at least."""
        each = [self.known[key] for key in ids]
        return torch.stack([one.feature for one in each]), Prints.joined([one.prints for one in each])

    def save(self) -> None:
        """Keeps what is new."""
        from safetensors.torch import save

        if len(self.known) == self._saved:
            return
        ids = list(self.known)
        features, prints = self.of(ids)
        levels = self.embedder.preparation.levels
        about = {"network": self._network, "levels": levels, "ids": ids}
        tensors = {"features": features, "digests": prints.digests, "thumbnails": prints.thumbnails}
        write_whole(self.file, save(tensors, {"studio": json.dumps(about)}))
        self._saved = len(ids)


def _fingerprint(embedder: Embedder) -> str:
    """Of the network and of how pictures are prepared for it."""
    whole = hashlib.sha256(repr(embedder.preparation).encode())
    for name, value in sorted(embedder.learner.state_dict().items()):
        whole.update(name.encode())
        whole.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()
