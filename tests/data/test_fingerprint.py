import dataclasses

import pytest
import torch

from mtl.data import ImageSet
from mtl.data.image_set import fingerprint


def _images(count=30, size=4):
    pixels = torch.arange(count * size * size, dtype=torch.int64).remainder(251).to(torch.uint8)
    labels = torch.arange(count) * 3 // count
    return ImageSet(pixels.reshape(count, 1, size, size), labels, ("ant", "bee", "cow"))


def test_the_same_images_have_one_fingerprint_wherever_their_files_lie():
    one = _images()
    elsewhere = dataclasses.replace(one, files=tuple(f"/other/{i}.png" for i in range(30)))
    apart = dataclasses.replace(one, images=one.images.repeat(1, 1, 1, 2)[..., :4])  # strided otherwise
    assert fingerprint(one) == fingerprint(_images()) == fingerprint(elsewhere) == fingerprint(apart)
    assert fingerprint(one) == "9298221199744a28"  # older ledgers are still understood


def _pixel(images):
    images = images.clone()
    images[17, 0, 2, 2] += 1
    return images


@pytest.mark.parametrize(
    "change",
    [
        lambda s: dataclasses.replace(s, images=_pixel(s.images)),
        lambda s: dataclasses.replace(s, images=s.images.reshape(30, 1, 2, 8).repeat(1, 1, 2, 1)[..., :4]),
        lambda s: dataclasses.replace(s, labels=s.labels.flip(0)),
        lambda s: dataclasses.replace(s, class_names=("ant", "bee", "cat")),
        lambda s: ImageSet(s.images[:-1], s.labels[:-1], s.class_names),
        lambda s: ImageSet(s.images.flip(0), s.labels, s.class_names),
    ],
)
def test_other_images_have_another(change):
    assert fingerprint(change(_images())) != fingerprint(_images())


@pytest.mark.parametrize("count", [1, 1023, 1024, 1025, 5000])
def test_of_many_images_about_a_thousand_are_looked_at(count, monkeypatch):
    looked = []
    plain = torch.Tensor.numpy
    monkeypatch.setattr(torch.Tensor, "numpy", lambda t: looked.append(t.shape) or plain(t))
    fingerprint(_images(count))
    seen = sum(shape == (1, 4, 4) for shape in looked)
    assert seen == (count if count <= 1024 else -(-count // -(-count // 1024)))
    assert 512 < seen <= 1024 or count < 512


def test_no_images_have_one_too():
    assert fingerprint(_images(0)) != fingerprint(_images(1))
