"""Streams: named by their path, stable for ever, independent of each other."""

import pytest
import torch

from mtl.runtime.seeds import derive_seed, generator


def test_a_stream_never_changes():
    # every published figure depends on these: a change here changes every run
    assert derive_seed(0, "pretrain", 3) == 5256080058812657269
    drawn = torch.randint(0, 1_000_000, (3,), generator=generator(7, "episode", 0))
    assert drawn.tolist() == [16653, 539362, 660391]


def test_a_seed_fits_into_63_bits():
    seeds = [derive_seed(s, "x", i) for s in range(10) for i in range(100)]
    assert all(0 <= s < 2**63 for s in seeds)
    assert max(seeds) > 2**62


def test_no_two_paths_share_a_seed():
    paths = [
        (),
        ("1",),
        (1,),
        (1, 2),
        (12,),
        ("1", "2"),
        ("12",),
        ("1, 2",),
        ("a", 1),
        ("a", "1"),
        (1, "a"),
        (-1,),
    ]
    seeds = {derive_seed(s, *path) for s in (0, 1) for path in paths}
    assert len(seeds) == 2 * len(paths)


@pytest.mark.parametrize("integer", [torch.tensor(3), True + 2])
def test_integers_of_other_types_name_the_same_stream(integer):
    assert derive_seed(0, "a", integer) == derive_seed(0, "a", 3)


def test_neighbouring_streams_do_not_resemble_each_other():
    streams = torch.stack([torch.rand(500, generator=generator(0, "episode", i)) for i in range(20)])
    off = torch.corrcoef(streams) - torch.eye(20)
    assert off.abs().max() < 0.2  # 4.5 deviations of 1/sqrt(500)


def test_a_generator_leaves_the_global_one_alone():
    before = torch.random.get_rng_state()
    torch.rand(3, generator=generator(0, "x"))
    assert torch.equal(before, torch.random.get_rng_state())
