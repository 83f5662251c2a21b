import pytest
import torch

from mtl.config import Data
from mtl.data import ImageSet, hold_out, load_splits
from mtl.data.turned_classes import with_turned_classes


def test_rotating_a_set_whose_classes_are_not_contiguous_keeps_labels_and_pictures_together():
    images = torch.arange(6 * 16, dtype=torch.uint8).view(6, 1, 4, 4)
    labels = torch.tensor([1, 0, 1, 0, 0, 1])
    clips = ("p", "q", "p", "q", "", "r")
    turned = with_turned_classes(ImageSet(images, labels, ("a", "b"), domains=("d", "e"), image_groups=clips))
    here = turned.labels == turned.class_names.index("b@180")
    assert torch.equal(turned.images[here], torch.rot90(images[[0, 2, 5]], 2, (2, 3)))
    assert [turned.image_groups[i] for i in here.nonzero().flatten()] == ["p", "p", "r"]
    assert turned.domains == ("d",) * 4 + ("e",) * 4


def test_a_picture_that_is_held_out_is_held_out_whichever_way_it_is_turned():
    images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(-1, 1, 4, 4)
    turned = with_turned_classes(ImageSet(images.contiguous(), torch.zeros(10, dtype=torch.int64), ("a",)))
    _, held_out = hold_out(turned, 0.3, seed=0)
    pictures = turned.images[held_out, 0, 0, 0].view(4, 3)
    assert (pictures == pictures[0]).all()


@pytest.mark.parametrize("name", ["glyphs", "image_folder", "several"])
def test_of_every_set_the_base_classes_are_turned_once(name, tmp_path, write_images):
    parts = {"train": "abc", "val": "de", "test": "fg"}
    for part, classes in parts.items():
        for c in classes:
            write_images(tmp_path / part / c, 2, 16)
    given = {"sets": ("glyphs", "image_folder")} if name == "several" else {}
    config = Data(name=name, root=str(tmp_path), cache=False, samples_per_class=1, **given)
    plain = load_splits(config, 0)
    turned = load_splits(Data(**{**vars(config), "rotations": True}), 0)
    assert turned.train.num_classes == 4 * plain.train.num_classes
    assert (turned.val.class_names, turned.test.class_names) == (
        plain.val.class_names,
        plain.test.class_names,
    )
