import pytest

from mtl.data.sources import class_lists, superclass_of


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("cifar_fs", [64, 16, 20]),
        ("fc100", [60, 20, 20]),
        ("mini_imagenet", [64, 16, 20]),
        ("omniglot_vinyals", [1028, 172, 423]),
    ],
)
def test_splits_are_disjoint_and_of_the_published_sizes(name, sizes):
    lists = class_lists(name)
    assert list(lists) == ["train", "val", "test"]
    assert [len(names) for names in lists.values()] == sizes
    assert len(set().union(*lists.values())) == sum(sizes)


def test_every_superclass_has_five_classes_and_fc100_splits_by_superclass():
    superclass = superclass_of()
    assert len(superclass) == 100
    assert all(list(superclass.values()).count(s) == 5 for s in set(superclass.values()))
    parts = [{superclass[n] for n in names} for names in class_lists("fc100").values()]
    assert [len(part) for part in parts] == [12, 4, 4]
    assert len(set().union(*parts)) == 20
    assert set().union(*class_lists("cifar_fs").values()) == set(superclass)
