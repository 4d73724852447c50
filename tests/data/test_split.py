import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.motchallenge import Results
from pipeline.data.split import half_range, take_half


def tracks(frames: list[int]) -> Results:
    count = len(frames)
    return Results(np.array(frames, dtype=np.int64), np.arange(count), np.zeros((count, 4)), np.ones(count))


@given(st.integers(1, 5000))
def test_the_halves_share_no_frame_and_leave_none_out(frames: int) -> None:
    train, val = half_range(frames, "train"), half_range(frames, "val")
    assert [*train, *val] == list(range(1, frames + 1))
    assert 0 <= len(train) - len(val) <= 2


@pytest.mark.parametrize(
    ("frames", "train", "val"), [(1, 1, 0), (2, 2, 0), (3, 2, 1), (600, 301, 299), (525, 263, 262)]
)
def test_the_middle_frame_trains(frames: int, train: int, val: int) -> None:
    assert (len(half_range(frames, "train")), len(half_range(frames, "val"))) == (train, val)


def test_no_frames_cannot_be_halved() -> None:
    with pytest.raises(ValueError, match="half split: 0 frames, expected at least 1"):
        half_range(0, "train")


def test_the_second_half_is_numbered_from_one() -> None:
    half = take_half(tracks([1, 3, 4, 6]), 6, "val")
    assert half.frames.tolist() == [2]
    assert half.identities.tolist() == [3]


def test_the_first_half_keeps_its_numbers() -> None:
    half = take_half(tracks([1, 3, 4, 6]), 6, "train")
    assert half.frames.tolist() == [1, 3, 4]


@given(st.lists(st.integers(1, 40)), st.integers(40, 60))
def test_every_row_falls_into_one_half(frames: list[int], length: int) -> None:
    rows = tracks(sorted(frames))
    train, val = take_half(rows, length, "train"), take_half(rows, length, "val")
    shift = len(half_range(length, "train"))
    assert [*train.frames, *(val.frames + shift)] == sorted(frames)
    assert [*train.identities, *val.identities] == rows.identities.tolist()
