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
from mtl.data.formats import largest_values, levels_messages, top_of
from mtl.data.near_copies import Prints
from mtl.own_images.embedder import Embedder
from mtl.own_images.read_support import PictureReader
from mtl.runtime.outputs import write_whole
from mtl.runtime.progress import tell


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
    #: Of pictures of more than 8 bits: the largest value, and the one that was white when it was embedded.
    deep: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from safetensors import SafetensorError, safe_open

        self._network = _fingerprint(self.embedder)
        self._saved = (0, dict(self.deep))
        self._settled = self.embedder.preparation.levels is not None
        try:
            with safe_open(self.file, "pt") as file:
                about = json.loads(file.metadata()["studio"])
                if about["network"] != self._network:
                    return
                names = ("features", "digests", "thumbnails")  # copied: the file may be replaced
                features, digests, thumbnails = (file.get_tensor(name).clone() for name in names)
                self.deep = {key: (most, white) for key, (most, white) in about["deep"].items()}
        except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError):
            return
        if about["levels"] is not None:
            self.embedder = self.embedder.with_levels(about["levels"])
        prints = Prints(digests, thumbnails)
        self.known = {k: Embedded(features[i], prints.some([i])) for i, k in enumerate(about["ids"])}
        self._saved = (len(self.known), dict(self.deep))

    def read(self, files: Mapping[str, Path], log: Log | None = None) -> list[str]:
        """Embeds the files of pictures, by id, that are not known yet, or with another white.

        White is the same in all pictures of more than 8 bits, as where they are read together, unless the
        network knows it: `files` are to hold those of `deep`, too, for the case that new ones raise it.

        Returns:
            A sentence for each that cannot be read, those of new pictures last if their files are.
        """
        values = {key: most for key, (most, _) in self.deep.items()}
        if not self._settled:
            new = {key: largest_values([path]) for key, path in files.items() if key not in self.known}
            values |= {key: most[0] for key, most in new.items() if most}
            top = top_of(values.values())
            if top != self.embedder.preparation.levels:
                for sentence in levels_messages(top, len(values)):
                    tell(sentence, log)
            self.embedder = self.embedder.with_levels(top)
        white = self.embedder.preparation.top
        wanted = {
            path: key
            for key, path in files.items()
            if key not in self.known or self.deep.get(key, (0, white))[1] != white
        }
        if not wanted:
            return []
        reader = PictureReader(self.embedder, list(wanted), log)
        for batch in reader:
            prints = Prints.of(batch.images)
            for i, path in enumerate(batch.files):
                key = wanted[path]
                self.known[key] = Embedded(batch.features[i], prints.some([i]))
                if key in values:
                    self.deep[key] = (values[key], white)
        return [one.why for one in reader.unread]

    def of(self, ids: Iterable[str]) -> tuple[Tensor, Prints]:
        """(n, D) and n prints of pictures, of which there is one at least."""
        each = [self.known[key] for key in ids]
        return torch.stack([one.feature for one in each]), Prints.joined([one.prints for one in each])

    def save(self) -> None:
        """Keeps what is new."""
        from safetensors.torch import save

        if self._saved == (len(self.known), self.deep):
            return
        ids = list(self.known)
        features, prints = self.of(ids)
        levels = self.embedder.preparation.levels
        about = {"network": self._network, "levels": levels, "ids": ids, "deep": self.deep}
        tensors = {"features": features, "digests": prints.digests, "thumbnails": prints.thumbnails}
        write_whole(self.file, save(tensors, {"studio": json.dumps(about)}))
        self._saved = (len(ids), dict(self.deep))


def _fingerprint(embedder: Embedder) -> str:
    """Of the network and of how pictures are prepared for it."""
    whole = hashlib.sha256(repr(embedder.preparation).encode())
    for name, value in sorted(embedder.learner.state_dict().items()):
        whole.update(name.encode())
        whole.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()
