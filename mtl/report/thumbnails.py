"""Images of a data set as small pictures inside a page."""

import base64
import io

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mtl.data import ImageSet
from mtl.report.contents import Thumbnail

SIDE = 48  # larger images are averaged down to it
_QUALITY = 82


def thumbnail(image: Tensor, alt: str, side: int = SIDE) -> Thumbnail:
    """One image (1 or 3, H, W) uint8: PNG where it is grey, else JPEG; both are the same at every call.

    Raises:
        ValueError: it has another number of channels.
    """
    if image.shape[0] not in {1, 3}:
        raise ValueError(f"a picture has 1 or 3 channels, not {image.shape[0]}")
    if max(image.shape[1:]) > side:
        height, width = (max(1, round(n * side / max(image.shape[1:]))) for n in image.shape[1:])
        small = F.interpolate(image[None].float(), (height, width), mode="bilinear", antialias=True)[0]
        image = small.round().clamp(0, 255).to(torch.uint8)
    height, width = image.shape[1:]
    file = io.BytesIO()
    if image.shape[0] == 1:
        Image.fromarray(image[0].numpy(), "L").save(file, "PNG", optimize=True)
        kind = "png"
    else:
        Image.fromarray(image.permute(1, 2, 0).contiguous().numpy(), "RGB").save(
            file, "JPEG", quality=_QUALITY, optimize=True
        )
        kind = "jpeg"
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return Thumbnail(f"data:image/{kind};base64,{data}", width, height, alt)


class Gallery:
    """Thumbnails of one image set by image index; each is made once.

    Args:
        images: the split that the indices speak of.
    """

    def __init__(self, images: ImageSet) -> None:
        self.images = images
        self._made: dict[int, Thumbnail] = {}
        self._members: dict[str, list[int]] | None = None

    def picture(self, index: int) -> Thumbnail:
        """Image `index`, described by its class, and by its file where that is known."""
        if index not in self._made:
            of = self.images
            name = of.class_names[int(of.labels[index])]
            alt = f"{name}, image {index}" + (f": {of.files[index]}" if of.files else "")
            self._made[index] = thumbnail(of.images[index], alt)
        return self._made[index]

    def of_class(self, name: str, count: int) -> list[Thumbnail]:
        """The first `count` images of a class; none where the set has no such class."""
        if self._members is None:
            order = self.images.labels.argsort(stable=True)
            parts = torch.split(order, self.images.class_counts().tolist())
            self._members = dict(zip(self.images.class_names, (p.tolist() for p in parts), strict=True))
        return [self.picture(i) for i in self._members.get(name, [])[:count]]
