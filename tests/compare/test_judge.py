"""The judge's confusions against plain loops, and the tasks that are drawn by them."""

import math

import pytest
import torch
import torch.nn.functional as F

from mtl.compare.judge import judged_episodes, pair_confusions
from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape
from mtl.episodes.pairs import pair_count, pair_index, pair_members
from mtl.runtime.seeds import generator

CLASSES, IMAGES, SCALE = 8, 12, 10.0


def _features(classes=CLASSES, images=IMAGES, features=6, seed=0, spread=1.0):
    """Images of class c at rows c, C + c, 2 C + c, ...; a class with few images where `images` is a list."""
    random = generator(seed, "judged features", classes, features)
    counts = [images] * classes if isinstance(images, int) else images
    labels = torch.cat(
        [torch.tensor([c for c in range(classes) if i < counts[c]]) for i in range(max(counts))]
    )
    centres = torch.randn(classes, features, generator=random)
    return centres[labels] + spread * torch.randn(len(labels), features, generator=random), labels


def _by_hand(features, labels, classes):
    """The formula, an image, a class and a pair at a time."""
    vectors = [[float(v) for v in row] for row in features.double()]

    def unit(vector):
        length = math.sqrt(sum(v * v for v in vector))
        return [v / length for v in vector]

    vectors = [unit(v) for v in vectors]
    members = [
        [v for v, label in zip(vectors, labels.tolist(), strict=True) if label == c] for c in range(classes)
    ]
    centres = [unit([sum(column) / len(own) for column in zip(*own, strict=True)]) for own in members]

    def cosine(one, other):
        return sum(a * b for a, b in zip(one, other, strict=True))

    def taken_for(i, j):
        """The mean probability of class j, of images of class i."""
        gaps = [SCALE * (cosine(x, centres[j]) - cosine(x, centres[i])) for x in members[i]]
        return sum(1 / (1 + math.exp(-gap)) for gap in gaps) / len(gaps)

    pairs = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
    return torch.tensor([(taken_for(i, j) + taken_for(j, i)) / 2 for i, j in pairs], dtype=torch.float64)


@pytest.mark.parametrize("images", [1, 5, [3, 1, 7, 2, 4, 4, 9, 1]], ids=str)
def test_confusions_are_those_of_the_loops(images):
    features, labels = _features(images=images)
    found = pair_confusions(features, labels, CLASSES)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, _by_hand(features, labels, CLASSES), rtol=1e-12, atol=1e-12)


def test_more_images_than_pass_at_once_change_nothing():
    features, labels = _features(classes=3, images=1500, features=4)
    torch.testing.assert_close(
        pair_confusions(features, labels, 3), _by_hand(features, labels, 3), rtol=1e-10, atol=1e-12
    )


def test_the_order_of_images_and_the_length_of_features_do_not_count():
    features, labels = _features()
    order = torch.randperm(len(labels), generator=generator(1))
    lengths = 0.1 + 10 * torch.rand(len(labels), 1, generator=generator(2))
    found = pair_confusions((lengths * features)[order], labels[order], CLASSES)
    torch.testing.assert_close(found, pair_confusions(features, labels, CLASSES), rtol=1e-5, atol=1e-7)


def test_a_pair_is_confused_as_much_whichever_of_its_classes_comes_first():
    features, labels = _features(images=[3, 1, 7, 2, 4, 4, 9, 1])
    renamed = torch.randperm(CLASSES, generator=generator(3))
    found = pair_confusions(features, renamed[labels], CLASSES)
    plain = pair_confusions(features, labels, CLASSES)
    i, j = pair_members(torch.arange(pair_count(CLASSES)), CLASSES).unbind(-1)
    torch.testing.assert_close(found[pair_index(renamed[i], renamed[j], CLASSES)], plain)


def test_classes_of_nearly_equal_features_are_confused_most_and_by_half():
    features, labels = _features(spread=0.3)
    features[labels == 5] = features[labels == 2] + 1e-4
    found = pair_confusions(features, labels, CLASSES)
    twins = int(pair_index(torch.tensor(2), torch.tensor(5), CLASSES))
    assert int(found.argmax()) == twins
    assert float(found[twins]) == pytest.approx(0.5, abs=1e-3)
    assert float(found.sort().values[-2]) < 0.45
    assert float(found.min()) > 0


@pytest.fixture
def judged():
    """Features of 20 classes, among them three close families, and what the judge draws by them."""
    features, labels = _features(classes=20, features=12, seed=4, spread=0.6)
    for family in ((0, 1, 2), (5, 9, 17), (11, 12, 13)):
        for c in family[1:]:
            features[labels == c] += features[labels == family[0]].mean(0) - features[labels == c].mean(0)
            features[labels == c] += 0.1 * torch.randn(12, generator=generator(c))
    index = ClassIndex.of(labels)
    confusions = pair_confusions(features, labels, 20)
    return features, labels, index, judged_episodes(index, confusions, 4, 2, 5, 400, generator(0, "judge"))


def _accuracy(features, batch):
    """(T,) of the nearest prototype by cosine, one task after the other."""
    unit = F.normalize(features, dim=-1)
    found = []
    for support, query in zip(batch.support, batch.query, strict=True):
        centres = F.normalize(unit[support].mean(1), dim=-1)
        answers = (unit[query] @ centres.T).argmax(-1)
        found.append((answers == torch.arange(batch.way)[:, None]).float().mean())
    return torch.stack(found)


def test_judged_tasks_are_harder_than_uniform_ones_by_the_same_features(judged):
    features, _, index, batch = judged
    uniform = CategoriesSampler.of(index, EpisodeShape(4, 2, 5), 0).draw(400)
    hard, plain = _accuracy(features, batch), _accuracy(features, uniform)
    error = (hard.var() / 400 + plain.var() / 400).sqrt()
    assert plain.mean() - hard.mean() > 6 * error


def test_pairs_come_in_judged_tasks_the_more_often_the_more_they_are_confused(judged):
    features, labels, _, batch = judged
    confusions = pair_confusions(features, labels, 20)
    seen = torch.zeros(pair_count(20))
    for task in batch.classes:
        for a in range(4):
            for b in range(a):
                seen[pair_index(task[a], task[b], 20)] += 1
    order = confusions.argsort()
    assert seen[order[-9:]].mean() > 3 * seen[order[:95]].mean()


def test_judged_tasks_have_different_classes_and_images_of_their_own(judged):
    _, labels, _, batch = judged
    assert (batch.support.shape, batch.query.shape) == ((400, 4, 2), (400, 4, 5))
    assert batch.origin == ("judged",) * 400
    assert batch.index == tuple(range(400))
    assert all(len(set(task)) == 4 for task in batch.classes.tolist())
    assert (labels[batch.support] == batch.classes[..., None]).all()
    assert (labels[batch.query] == batch.classes[..., None]).all()
    assert all(len(set(images)) == 28 for images in batch.image_indices().tolist())


def test_images_of_judged_tasks_are_drawn_uniformly(judged):
    *_, batch = judged
    first = batch.image_indices() // 20  # image i of a class is row 20 i + c
    counts = torch.bincount(first.flatten(), minlength=IMAGES).double()
    expected = counts.sum() / IMAGES
    assert float(((counts - expected) ** 2 / expected).sum()) < 35  # 11 degrees of freedom


def test_judged_tasks_follow_the_generator_alone(judged):
    features, labels, index, batch = judged
    confusions = pair_confusions(features, labels, 20)
    again = judged_episodes(index, confusions, 4, 2, 5, 400, generator(0, "judge"))
    other = judged_episodes(index, confusions, 4, 2, 5, 400, generator(1, "judge"))
    assert torch.equal(again.image_indices(), batch.image_indices())
    assert not torch.equal(other.classes, batch.classes)
