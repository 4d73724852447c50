"""The half split of a sequence: its first frames train, its last frames validate."""

import dataclasses
from typing import Literal, TypeVar

from pipeline.data.motchallenge import Annotations, Detections, Results

Half = Literal["train", "val"]
Rows = TypeVar("Rows", Annotations, Results, Detections)


def half_range(frames: int, half: Half) -> range:
    """Numbers in the whole sequence, from 1, of the frames of one half of `frames` frames.

    The rule of ifzhang/ByteTrack@d1bf019 tools/convert_mot17_to_coco.py, which the paper's ablations follow:
    counted from 0, `frames // 2` is the last frame that trains.

    >>> half_range(600, "train"), half_range(600, "val")
    (range(1, 302), range(302, 601))

    Raises:
        ValueError: there is no frame.
    """
    if frames < 1:
        raise ValueError(f"half split: {frames} frames, expected at least 1. Check seqLength in seqinfo.ini.")
    middle = frames // 2 + 2
    return range(1, min(middle, frames + 1)) if half == "train" else range(middle, frames + 1)


def take_half(rows: Rows, frames: int, half: Half) -> Rows:
    """The rows of one half of a sequence of `frames` frames, its frames numbered from 1."""
    numbers = half_range(frames, half)
    kept = (rows.frames >= numbers.start) & (rows.frames < numbers.stop)
    columns = {field.name: getattr(rows, field.name)[kept] for field in dataclasses.fields(rows)}
    columns["frames"] = columns["frames"] - (numbers.start - 1)
    return dataclasses.replace(rows, **columns)
