"""Uniform episodes: their order, their promises, and that only (seed, number) decides them."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch.utils.data import ConcatDataset, DataLoader, Dataset, TensorDataset

from mtl.episodes import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape

P_VALUE = 1e-4  # seeds are fixed: a test that passes once passes always


class Numbers(Dataset):
    """Image i is the number i."""

    def __len__(self):
        return 60

    def __getitem__(self, i):
        return i


@settings(max_examples=60, deadline=None)
@given(
    per_class=st.dictionaries(st.integers(-(10**12), 10**12), st.integers(4, 9), min_size=3, max_size=8),
    n_cls=st.integers(1, 3),
    n_per=st.integers(1, 4),
    seed=st.integers(0, 2**40),
    shuffle=st.randoms(use_true_random=False),
)
def test_image_i_of_class_j_stands_at_i_times_n_cls_plus_j(per_class, n_cls, n_per, seed, shuffle):
    labels = [label for label, count in per_class.items() for _ in range(count)]
    shuffle.shuffle(labels)
    sampler = CategoriesSampler(labels, 3, n_cls, n_per, seed)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 3
    for batch in batches:
        assert len(batch) == len(set(batch)) == n_cls * n_per
        first = [labels[image] for image in batch[:n_cls]]
        assert len(set(first)) == n_cls
        assert [labels[image] for image in batch] == first * n_per


@pytest.mark.parametrize("kind", [list, tuple, torch.tensor, lambda x: torch.tensor(x).numpy()])
def test_labels_may_come_as_any_sequence(kind):
    plain = [3, -5, 3, -5, 3, -5]
    assert list(CategoriesSampler(kind(plain), 4, 2, 2)) == list(CategoriesSampler(plain, 4, 2, 2))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # Python 3.12 and up
def test_workers_make_no_difference(labels):
    passes = []
    for workers in (0, 2):
        sampler = CategoriesSampler(labels(6, 10), 5, 3, 4, seed=1)
        loader = DataLoader(Numbers(), batch_sampler=sampler, num_workers=workers)
        passes.append([batch.tolist() for _ in range(2) for batch in loader])
    assert passes[0] == passes[1]
    assert passes[0] == list(CategoriesSampler(labels(6, 10), 10, 3, 4, seed=1))


def test_each_pass_goes_on_and_any_of_them_can_be_had_again(labels):
    sampler = CategoriesSampler(labels(6, 10), 4, 3, 2, seed=1)
    passes = [list(sampler) for _ in range(3)]
    assert len({str(p) for p in passes}) == 3
    sampler.set_epoch(1)
    assert list(sampler) == passes[1]
    assert list(sampler) == passes[2]


def test_a_pass_that_was_broken_off_counts(labels):
    sampler, other = (CategoriesSampler(labels(6, 10), 4, 3, 2) for _ in range(2))
    next(iter(sampler))
    list(other)
    assert list(sampler) == list(other)


def test_seeds_differ(labels):
    first, other = (list(CategoriesSampler(labels(6, 10), 4, 3, 2, seed)) for seed in (0, 1))
    assert not {str(b) for b in first} & {str(b) for b in other}


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([7, 7, 8, 8], "n_cls = 3 classes an episode, but the labels hold 2"),
        ([], "n_cls = 3 classes an episode, but the labels hold 0"),
        ([7, 7, -4, 8, 8, 7], "class -4 has 1 images, fewer than n_per = 2"),
    ],
)
def test_labels_that_cannot_make_an_episode_are_refused(labels, words):
    with pytest.raises(ValueError, match=words):
        CategoriesSampler(labels, 1, 3, 2)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"label": list("aabbcc")}, "labels must be .* texts"),
        ({"label": torch.eye(6)}, "labels must be .* not .6, 6."),
        ({"label": [0.0, 0.0, float("nan"), float("nan")]}, "labels must be"),
        ({"label": torch.zeros(6)}, "labels must be"),
        ({"n_cls": 0}, "n_cls = 0 must be a whole number of at least 1"),
        ({"n_cls": -1}, "n_cls = -1"),
        ({"n_cls": 2.0}, "n_cls = 2.0"),
        ({"n_cls": True}, "n_cls = True"),
        ({"n_per": 0}, "n_per = 0"),
        ({"n_per": "2"}, "n_per = '2'"),
        ({"n_batch": -1}, "n_batch = -1 must be a whole number of at least 0"),
        ({"n_batch": 1.5}, "n_batch = 1.5"),
    ],
)
def test_arguments_that_are_no_episodes_are_refused_at_once(wrong, words):
    with pytest.raises(ValueError, match=words):
        CategoriesSampler(**{"label": [0, 0, 0, 1, 1, 1], "n_batch": 2, "n_cls": 2, "n_per": 2, **wrong})


@pytest.mark.parametrize(
    "arguments",
    [
        {"n_batch": 2, "n_cls": 2, "n_per": 2},
        {"label": [0, 1], "n_batch": 2, "n_cls": 2},
        {"label": [0, 1], "labels": [0, 1], "n_batch": 1, "n_cls": 1, "n_per": 1},
        {"label": {0: 1}, "n_batch": 1, "n_cls": 1, "n_per": 1},
    ],
)
def test_arguments_that_are_missing_twice_or_of_no_kind_are_type_errors(arguments):
    with pytest.raises(TypeError, match="label"):
        CategoriesSampler(**arguments)


def test_labels_have_the_name_of_the_article_too_and_may_be_those_of_a_data_set(labels):
    plain = list(CategoriesSampler(labels(6, 10), 4, 3, 2))
    assert plain == list(CategoriesSampler(label=labels(6, 10), n_batch=4, n_cls=3, n_per=2))
    assert plain == list(CategoriesSampler(labels=labels(6, 10), n_batch=4, n_cls=3, n_per=np.int64(2)))
    assert plain == list(CategoriesSampler(TensorDataset(torch.zeros(60), labels(6, 10)), 4, 3, 2))
    objects = np.array(labels(6, 10).tolist(), dtype=object)  # as a column of a table may be
    assert plain == list(CategoriesSampler(objects, 4, 3, 2))


def test_given_as_the_sampler_of_single_items_it_says_what_it_is(labels):
    both = ConcatDataset([Numbers(), Numbers()])
    loader = DataLoader(both, batch_size=4, sampler=CategoriesSampler(labels(6, 10), 4, 3, 2))
    with pytest.raises(TypeError, match="batch_sampler="):
        next(iter(loader))


def test_every_set_of_classes_is_equally_likely(labels):
    batches = list(CategoriesSampler(labels(5, 4), 3000, 2, 1))
    sets = [tuple(sorted(image % 5 for image in batch)) for batch in batches]
    assert chisquare([sets.count(pair) for pair in itertools.combinations(range(5), 2)]).pvalue > P_VALUE


def test_every_image_is_equally_likely_in_every_place(labels):
    batches = list(CategoriesSampler(labels(3, 5), 3000, 3, 2))
    for place in (0, 1):
        images = [image for batch in batches for image in batch[3 * place : 3 * place + 3] if image % 3 == 0]
        counts = [images.count(image) for image in range(0, 15, 3)]
        assert sum(counts) == 3000
        assert chisquare(counts).pvalue > P_VALUE


def test_whole_meta_batches_are_the_same_episodes(labels):
    one_by_one = list(CategoriesSampler(labels(20, 12), 6, 5, 4, seed=9))
    batch = CategoriesSampler.of(ClassIndex.of(labels(20, 12)), EpisodeShape(5, 1, 3), 9).draw(6)
    together = torch.cat([batch.support, batch.query], -1)  # (T, N, K+Q)
    assert together.mT.flatten(1).tolist() == one_by_one


def test_a_meta_batch_says_what_it_holds(index):
    sampler = CategoriesSampler.of(index, EpisodeShape(5, 2, 3), 0, origin="word")
    sampler.draw(4)
    batch = sampler.draw(3)
    assert batch.origin == ("word",) * 3
    assert batch.index == (4, 5, 6)
    assert (batch.support.shape, batch.query.shape) == ((3, 5, 2), (3, 5, 3))
    assert (batch.support % 20 == batch.classes[..., None]).all()
    assert (batch.query % 20 == batch.classes[..., None]).all()


def test_episodes_do_not_depend_on_how_many_are_drawn_at_once(index, assert_same):
    one, other = (CategoriesSampler.of(index, EpisodeShape(5, 1, 3), 0) for _ in range(2))
    parts = [one.draw(n) for n in (1, 4, 2)]
    assert_same(type(parts[0]).concatenate(parts), other.draw(7))


def test_a_stream_goes_on_where_its_state_says(index, assert_same):
    one, other = (CategoriesSampler.of(index, EpisodeShape(5, 1, 3), 0) for _ in range(2))
    one.draw(7)
    other.load_state_dict(one.state_dict())
    assert_same(one.draw(3), other.draw(3))


def test_uniform_draws_learn_nothing(index, random_outcome):
    sampler = CategoriesSampler.of(index, EpisodeShape(5, 1, 3), 0)
    batch = sampler.draw(2)
    assert sampler.request(0) is None
    assert sampler.update(batch, random_outcome(batch, 0)) is None
    assert sampler.state_dict() == {"drawn": 2}


INDEX = ClassIndex.of(torch.arange(200) % 20)


@settings(max_examples=30, deadline=None)
@given(numbers=st.lists(st.integers(0, 500), min_size=1, max_size=6), seed=st.integers(0, 2**40))
def test_an_episode_does_not_depend_on_what_was_drawn_before(numbers, seed):
    stream = CategoriesSampler.of(INDEX, EpisodeShape(5, 1, 3), seed)
    for number in numbers:
        _, classes, images = stream.episode(number)
        alone = CategoriesSampler.of(INDEX, EpisodeShape(5, 1, 3), seed).episode(number)
        assert torch.equal(classes, alone[1])
        assert torch.equal(images, alone[2])
        assert (images % 20 == classes[:, None]).all()


@pytest.mark.parametrize("first", [0, 60])
def test_neighbours_differ_within_a_block_and_across_blocks(first):
    stream = CategoriesSampler.of(INDEX, EpisodeShape(5, 1, 3), seed=0)
    assert len({str(stream.episode(i)) for i in range(first, first + 10)}) == 10
