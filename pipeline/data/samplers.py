"""Which frames make a batch: Shuffle-Group Sampling and the two orders it is compared with (section 3.4, Table 3).

A video is a name with a number of frames; a frame is (video, index), index from 0. A group is the frames of one batch.
Everything is a function of its arguments: the same seed and epoch give the same groups, whatever the mapping's order.
"""

from collections.abc import Mapping

import numpy as np

Frame = tuple[str, int]
Group = tuple[Frame, ...]


def sgs(frames: Mapping[str, int], *, size: int, seed: int, epoch: int) -> list[Group]:
    """Groups of consecutive frames of one video, in shuffled order: Shuffle-Group Sampling."""
    groups = sequential(frames, size=size)
    return [groups[i] for i in _rng(seed, epoch).permutation(len(groups))]


def sequential(frames: Mapping[str, int], *, size: int) -> list[Group]:
    """The groups of `sgs` in the order of videos and time, the same each epoch (Table 3, first row).

    Choice: groups start at the first frame and do not overlap, but for the last of a video, which is moved back to be
    whole; a video shorter than a group is one group.

    >>> [[index for _, index in group] for group in sequential({"a": 5}, size=2)]
    [[0, 1], [2, 3], [3, 4]]
    """
    _refuse_empty_groups(size)
    return [
        tuple((video, index) for index in range(start, min(start + size, length)))
        for video, length in sorted(frames.items())
        for start in _starts(length, size)
    ]


def shuffle(frames: Mapping[str, int], *, size: int, seed: int, epoch: int) -> list[Group]:
    """All frames of all videos once, in random order (Table 3, second row).

    Choice: the last group may be smaller, so that every frame is seen once an epoch.
    """
    _refuse_empty_groups(size)
    every = [(video, index) for video, length in sorted(frames.items()) for index in range(length)]
    mixed = [every[i] for i in _rng(seed, epoch).permutation(len(every))]
    return [tuple(mixed[start : start + size]) for start in range(0, len(mixed), size)]


def _starts(length: int, size: int) -> list[int]:
    starts = list(range(0, length - size + 1, size))
    last = max(length - size, 0)
    return starts if length == 0 or (starts and starts[-1] == last) else [*starts, last]


def _rng(seed: int, epoch: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch])


def _refuse_empty_groups(size: int) -> None:
    if size < 1:
        raise ValueError(f"size of a group: {size}, expected 1 or more. Correct the value.")
