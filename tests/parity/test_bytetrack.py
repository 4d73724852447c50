"""The original ByteTrack's outputs, box by box."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import boxes as geometry
from pipeline.tracking.tracker import Association, Tracker

XYWH = ["x", "y", "w", "h"]
HALVES = {"MOT17-02-FRCNN": 600, "MOT17-05-FRCNN": 837, "MOT17-10-FRCNN": 654}


def original_settings(shared: Path) -> tuple[Association, float]:
    settings = json.loads((shared / "golden/bytetrack/settings.json").read_text())
    association = Association(
        kind="bytetrack",
        track_threshold=settings["track_thresh"],
        new_track_threshold=settings["track_thresh"] + 0.1,
        match_threshold=settings["match_thresh"],
        buffer=settings["track_buffer"],
        fuse_score=not settings["mot20"],
        iou_offset=1,
    )
    return association, settings["frame_rate"]


def track(detections: pd.DataFrame, frames: int, association: Association, frame_rate: float) -> pd.DataFrame:
    """Frame, identity, x, y, w, h and score of every output, in the order of output."""
    tracker = Tracker(association, frame_rate)
    by_frame = dict(list(detections.groupby("frame")))
    nothing = detections.iloc[:0]
    outputs = []
    for frame in range(1, frames + 1):
        found = by_frame.get(frame, nothing)
        tracks = tracker.update(found[["x1", "y1", "x2", "y2"]].to_numpy(), found["score"].to_numpy())
        output = pd.DataFrame(geometry.to_xywh(tracks.boxes), columns=XYWH)
        outputs.append(output.assign(frame=frame, id=tracks.identities, score=tracks.scores))
    return pd.concat(outputs, ignore_index=True)[["frame", "id", *XYWH, "score"]]


def second_half(path: Path, frames: int) -> pd.DataFrame:
    columns = ["frame", "n", *XYWH, "score"]
    detections = pd.read_csv(path, header=None, usecols=range(7), names=columns)
    detections = detections[detections["frame"] > frames // 2 + 1]
    corners = geometry.from_xywh(detections[XYWH].to_numpy())
    return pd.DataFrame(corners, columns=["x1", "y1", "x2", "y2"]).assign(
        frame=detections["frame"].to_numpy() - (frames // 2 + 1), score=detections["score"].to_numpy()
    )


def assert_equal(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert len(expected) > 1000
    np.testing.assert_array_equal(found[["frame", "id"]], expected[["frame", "id"]])
    np.testing.assert_allclose(found[[*XYWH, "score"]], expected[[*XYWH, "score"]], rtol=0, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["crossing-1", "crossing-2"])
def test_every_box_of_a_crossing_equals_the_original(shared: Path, name: str, dtype: str) -> None:
    folder = shared / "golden/bytetrack"
    detections = pd.read_csv(folder / f"{name}.detections.csv")
    detections = detections.astype(dict.fromkeys(["x1", "y1", "x2", "y2", "score"], dtype))
    expected = pd.read_csv(folder / f"{name}.csv")
    association, frame_rate = original_settings(shared)
    frames = int(max(detections["frame"].max(), expected["frame"].max()))
    assert_equal(track(detections, frames, association, frame_rate), expected)


@pytest.mark.parametrize(("name", "frames"), HALVES.items())
def test_every_box_of_a_second_half_equals_the_original(shared: Path, name: str, frames: int) -> None:
    detections = second_half(shared / f"data/mot17/detections/yolox_x_ablation/{name}.txt", frames)
    expected = pd.read_csv(shared / f"golden/bytetrack/{name}.csv")
    association, frame_rate = original_settings(shared)
    assert_equal(track(detections, frames - (frames // 2 + 1), association, frame_rate), expected)
