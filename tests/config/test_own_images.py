"""Keys of a person's own images: what is allowed, and with what they go."""

import pytest

from mtl.config import load_config, read_config
from mtl.errors import UserError

OWN = {
    "classes": {"val": ["dog*"]},
    "min_images": 2,
    "max_images": 9,
    "group_by": "^(clip[0-9]+)_",
    "duplicates": "drop",
    "unreadable": "skip",
}


def _told(tree):
    with pytest.raises(UserError) as caught:
        read_config(tree, "here")
    return [line.strip() for line in str(caught.value).split("\n")[1:]]


@pytest.mark.parametrize("key", OWN)
def test_they_are_for_own_images_alone(key):
    keys = {key: OWN[key]}
    assert _told({"data": {"name": "omniglot", **keys}}) == [
        f"data.{key}: is for data.name = image_folder, not omniglot"
    ]
    assert _told({"data": {"name": "several", "sets": ["omniglot", "glyphs"], **keys}}) == [
        f"data.{key}: is for data.name = image_folder, not several"
    ]
    for tree in (
        {"data": {"name": "image_folder", **keys}},
        {"data": {"name": "several", "sets": ["omniglot", "image_folder"], **keys}},
        {"data": {"name": "omniglot", **keys}, "evaluate": {"sets": ["image_folder"]}},
    ):
        read_config(tree, "here")


def test_the_usual_values_go_with_every_set():
    usual = read_config({"data": {"name": "omniglot"}}, "here").data
    assert (usual.min_images, usual.max_images, usual.duplicates, usual.unreadable) == (
        1,
        None,
        "refuse",
        "refuse",
    )
    assert (usual.classes.train, usual.classes.val, usual.classes.test) == ((), (), ())


def test_values_that_are_not_allowed_are_told():
    assert _told(
        {
            "data": {
                "name": "image_folder",
                "min_images": 0,
                "duplicates": "dropp",
                "unreadable": True,
                "classes": {"vall": ["x"], "test": [7]},
            }
        }
    ) == [
        "data.classes.test[0]: 7 is not allowed; it must be text; put quotes around a number or a date",
        "data.classes.vall: no such key; did you mean data.classes.val? (known here: train, val, test)",
        "data.min_images: 0 is not allowed; it must be at least 1",
        "data.duplicates: 'dropp' is not allowed; allowed are 'refuse', 'exact', 'drop' or 'keep'; did you "
        "mean drop?",
        "data.unreadable: True is not allowed; allowed are 'refuse' or 'skip'",
    ]
    assert _told({"data": {"name": "image_folder", "min_images": 5, "max_images": 4}}) == [
        "data.max_images: 4 is less than data.min_images = 5; no class would be left"
    ]


@pytest.mark.parametrize("pattern", ["(clip", "", "(clip)_(frame)"])
def test_a_pattern_that_can_name_no_group_is_told(pattern):
    (line,) = _told({"data": {"name": "image_folder", "group_by": pattern}})
    assert line.startswith(f"data.group_by: {pattern!r} is not allowed; it must ")


def test_class_names_on_the_command_line():
    config = load_config(None, ["data.name=image_folder", "data.classes.test=[cat, 'dog*']"])
    assert config.data.classes.test == ("cat", "dog*")
