"""A support folder read into features: what counts, what is left out, and what is said of it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from own_folders import CLASSES, hostile
from PIL import Image

from mtl.data.decode import decode
from mtl.errors import UserError
from mtl.own_images.embedder import embedder_of_run
from mtl.own_images.read_support import read_support

THINGS = Path("things")


@pytest.fixture(scope="module")
def embedder(whole_run):
    return embedder_of_run(whole_run.path)


def test_every_picture_is_a_feature_of_its_class(home, embedder):
    read = read_support(THINGS, embedder)
    support = read.support
    assert support.classes == CLASSES
    assert support.counts().tolist() == [3, 3, 3]
    assert support.files == tuple(f"things/{name}/{i}.png" for name in CLASSES for i in range(3))
    assert read.left_out == ()
    images = torch.stack([decode(Path(file), 16, True) for file in support.files])
    assert torch.allclose(support.features, embedder(images), atol=1e-5)


def test_classes_may_have_any_number_of_pictures(home, embedder):
    Path("things/ash/0.png").unlink()
    Path("things/ash/1.png").unlink()
    assert read_support(THINGS, embedder).support.counts().tolist() == [1, 3, 3]


def test_copies_in_a_class_count_once_and_are_named(home, embedder):
    for i in range(6):
        shutil.copyfile("things/ash/1.png", f"things/ash/copy {i}.png")
    Image.open("things/elm/0.png").save("things/elm/0.bmp")  # the same pixels in another file format
    read = read_support(THINGS, embedder)
    assert read.support.counts().tolist() == [3, 3, 3]
    assert read.left_out == (
        "things/ash/1.png, things/ash/copy 0.png, things/ash/copy 1.png, things/ash/copy 2.png and 3 more: "
        "are the same picture; it counts once",
        "things/elm/0.bmp, things/elm/0.png: are the same picture; it counts once",
    )
    assert "things/elm/0.bmp" in read.support.files


def test_a_picture_in_two_classes_counts_in_none(home, embedder):
    shutil.copyfile("things/ash/1.png", "things/oak/also.png")
    read = read_support(THINGS, embedder)
    assert read.support.counts().tolist() == [2, 3, 3]
    assert read.left_out == (
        "things/ash/1.png, things/oak/also.png: are the same picture in 2 classes; as nobody knows which is "
        "right, none counts",
    )


def test_a_class_of_which_nothing_is_left_is_left_out(home, embedder):
    shutil.rmtree("things/elm")
    shutil.copytree("things/ash", "things/elm")
    Path("things/ash/more.png").write_bytes(Path("new/ash 3.png").read_bytes())
    read = read_support(THINGS, embedder)
    assert read.support.classes == ("ash", "oak")
    assert read.support.counts().tolist() == [1, 3]
    assert read.left_out[-1] == "things/elm: no picture of it is left"


def test_what_cannot_be_read_is_named_and_the_rest_counts(home, embedder):
    told = hostile(home / "things" / "ash")
    read = read_support(THINGS, embedder)
    assert read.support.counts().tolist() == [3, 3, 3]
    wanted = [f"things/ash/{name}: {why}" for name, why in told.items()]
    assert sorted(read.left_out) == sorted(
        [*wanted, "things/ash/loop.png: is a link that leads nowhere; it is passed over"]
    )


def test_one_class_is_too_few_and_the_reasons_are_given(home, embedder):
    shutil.rmtree("things/oak")
    for file in Path("things/elm").iterdir():
        file.write_bytes(b"")
    with pytest.raises(UserError) as caught:
        read_support(THINGS, embedder)
    first, *rest = str(caught.value).splitlines()
    assert first.startswith(
        "things: 2 classes with pictures that can be read are needed, there is only ash; "
    )
    assert "things/not ash/*.jpg" in first  # what to add, to tell whether a picture is one or not
    assert rest == [
        *(f"  things/elm/{i}.png: is not a readable image (the file is empty)" for i in range(3)),
        "  things/elm: no picture of it is left",
    ]


def test_one_class_can_be_asked_for(home, embedder):
    shutil.rmtree("things/oak")
    shutil.rmtree("things/elm")
    assert read_support(THINGS, embedder, least=1).support.classes == ("ash",)
    for file in Path("things/ash").iterdir():
        file.write_bytes(b"")
    with pytest.raises(UserError, match=r"^things: no picture can be read\n  things/ash/0"):
        read_support(THINGS, embedder, least=1)


def test_a_learned_start_serves_its_number_of_classes_alone(embedder):
    embedder.require_way(17)
    head = replace(embedder.origin.head, name="gradient_descent", init="learned")
    learned = replace(embedder, origin=replace(embedder.origin, head=head, way=3))
    learned.require_way(3)
    with pytest.raises(UserError, match=r"run tiny has .* serves exactly 3 classes, and here are 4;"):
        learned.require_way(4)
    replace(learned, origin=replace(learned.origin, head=replace(head, name="ridge"))).require_way(4)
