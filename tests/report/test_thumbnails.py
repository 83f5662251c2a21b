import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from mtl.data import ImageSet
from mtl.report.thumbnails import Gallery, thumbnail


def _opened(made):
    head, _, data = made.source.partition(";base64,")
    return head, Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_small_grey_image_is_kept_to_the_pixel():
    image = torch.randint(0, 256, (1, 20, 28), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    made = thumbnail(image, "a")
    head, opened = _opened(made)
    assert head == "data:image/png"
    assert (made.width, made.height) == (28, 20)
    assert np.array_equal(np.asarray(opened), image[0].numpy())


def test_a_colour_image_is_near_to_itself():
    ramp = torch.arange(32)[None, :].expand(32, 32) * 8
    image = torch.stack([ramp, ramp.T, 255 - ramp]).to(torch.uint8)
    head, opened = _opened(thumbnail(image, "a"))
    assert head == "data:image/jpeg"
    assert np.abs(np.asarray(opened).astype(int) - image.permute(1, 2, 0).numpy()).mean() < 4


def test_a_large_image_keeps_its_shape_and_its_mean():
    image = torch.full((3, 200, 100), 77, dtype=torch.uint8)
    made = thumbnail(image, "a", side=50)
    _, opened = _opened(made)
    assert (made.width, made.height) == (25, 50) == opened.size
    assert np.abs(np.asarray(opened).astype(int) - 77).max() <= 2


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match="1 or 3 channels, not 2"):
        thumbnail(torch.zeros(2, 8, 8, dtype=torch.uint8), "a")


@pytest.fixture
def gallery():
    images = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 1, 16, 16).contiguous()
    labels = torch.tensor([1, 0, 1, 0, 1, 1])
    return Gallery(ImageSet(images, labels, ("<b>", "ant"), files=tuple(f"{i}.png" for i in range(6))))


def test_a_gallery_knows_the_images_of_a_class_and_makes_each_once(gallery):
    found = gallery.of_class("ant", 3)
    assert [np.asarray(_opened(t)[1])[0, 0] for t in found] == [0, 2, 4]
    assert gallery.picture(2) is found[1]
    assert found[1].alt == "ant, image 2: 2.png"
    assert gallery.of_class("no such", 3) == []
