from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.samplers import sequential, sgs, shuffle

videos = st.dictionaries(st.text("abc", min_size=1, max_size=2), st.integers(0, 20), max_size=4)
sizes = st.integers(1, 9)


def every_frame(frames):
    return {(video, index) for video, length in frames.items() for index in range(length)}


@given(frames=videos, size=sizes)
def test_groups_are_consecutive_frames_of_one_video_and_miss_none(frames, size):
    groups = sequential(frames, size=size)
    for group in groups:
        video, start = group[0]
        assert group == tuple((video, start + i) for i in range(len(group)))
        assert len(group) == min(size, frames[video])
    assert {frame for group in groups for frame in group} == every_frame(frames)


@given(frames=videos, size=sizes)
def test_only_the_last_group_of_a_video_overlaps(frames, size):
    seen = Counter(frame for group in sequential(frames, size=size) for frame in group)
    for video, length in frames.items():
        repeated = [index for index in range(length) if seen[video, index] > 1]
        tail = length % size
        assert repeated == (list(range(length - size, length - tail)) if tail and length > size else [])


def test_groups_follow_the_order_of_names_and_of_time():
    assert sequential({"b": 3, "a": 4}, size=2) == [
        (("a", 0), ("a", 1)),
        (("a", 2), ("a", 3)),
        (("b", 0), ("b", 1)),
        (("b", 1), ("b", 2)),
    ]


def test_the_first_halves_of_mot17_make_330_whole_groups_and_five_tails():
    halves = {"02": 301, "04": 526, "05": 419, "09": 263, "10": 328, "11": 451, "13": 376}
    assert len(sequential(halves, size=8)) == 330 + 5


@given(frames=videos, size=sizes, seed=st.integers(0, 5), epoch=st.integers(0, 5))
def test_sgs_only_reorders_the_groups_of_the_sequential_order(frames, size, seed, epoch):
    assert sorted(sgs(frames, size=size, seed=seed, epoch=epoch)) == sorted(sequential(frames, size=size))


@given(frames=videos, size=sizes, seed=st.integers(0, 5), epoch=st.integers(0, 5))
def test_shuffle_takes_every_frame_once_in_batches(frames, size, seed, epoch):
    groups = shuffle(frames, size=size, seed=seed, epoch=epoch)
    taken = [frame for group in groups for frame in group]
    assert len(taken) == len(set(taken))
    assert set(taken) == every_frame(frames)
    assert all(len(group) == size for group in groups[:-1])


def test_shuffle_mixes_videos_within_a_batch():
    groups = shuffle({"a": 40, "b": 40}, size=8, seed=0, epoch=0)
    assert all(len({video for video, _ in group}) == 2 for group in groups)


@pytest.mark.parametrize("sampler", [sgs, shuffle])
def test_epochs_and_seeds_differ_and_repeat(sampler):
    frames = {"a": 40, "b": 17}
    first = sampler(frames, size=4, seed=1, epoch=2)
    assert first == sampler({"b": 17, "a": 40}, size=4, seed=1, epoch=2)
    assert first != sampler(frames, size=4, seed=1, epoch=3)
    assert first != sampler(frames, size=4, seed=2, epoch=2)
    assert first != sampler(frames, size=4, seed=2, epoch=1)


@pytest.mark.parametrize("frames", [{}, {"a": 0}])
def test_no_frame_gives_no_group(frames):
    assert sgs(frames, size=8, seed=0, epoch=0) == shuffle(frames, size=8, seed=0, epoch=0) == []
    assert sequential(frames, size=8) == []


def test_a_video_of_one_frame_is_a_group_of_one():
    assert sequential({"a": 1}, size=8) == [(("a", 0),)]


def test_a_video_shorter_than_a_group_is_one_group():
    assert sequential({"a": 3}, size=8) == [(("a", 0), ("a", 1), ("a", 2))]


@pytest.mark.parametrize("sampler", [sgs, shuffle, lambda frames, *, size, seed, epoch: sequential(frames, size=size)])
def test_groups_of_nothing_are_refused(sampler):
    with pytest.raises(ValueError, match="size of a group: 0, expected 1 or more"):
        sampler({"a": 3}, size=0, seed=0, epoch=0)
