"""Time a frame of association takes, ours beside the ByteTrack of Roboflow's `trackers`, and what it is worth.

    OMP_NUM_THREADS=1 python benchmarks/association.py [--frames 600] [--out benchmarks/results/association.parquet]

Only `update` is timed, as CPU time of its thread; every frame goes to one tracker after the other, each time from
another first, so that whatever else the machine does falls on all alike. The tracks are scored against the people who
walked there. `trackers` is no dependency: without it, only ours are printed.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.motchallenge import Annotations, Results
from pipeline.evaluation import trackeval
from pipeline.tracking.tracker import Association, Tracker

TARGETS = (20, 60, 150)
DIMS = (256, 1024)
WIDTH, HEIGHT = 1920, 1080
MISSED, LOW, CLUTTER = 0.08, 0.12, 0.02

SCORES = ("HOTA", "IDF1", "MOTA", "IDSW")

Found = tuple[np.ndarray, np.ndarray]  # identities and boxes of one frame
Timed = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, Found]]


def main() -> None:
    """Time every tracker at every number of targets, write the table and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/association.parquet"))
    arguments = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("OMP_NUM_THREADS is not 1; CPU time of one thread means nothing then. Set it.")

    times = pd.DataFrame([row for targets in TARGETS for row in measure(targets, arguments.frames)])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    times.to_parquet(arguments.out, index=False)
    report(times)


def measure(targets: int, frames: int) -> list[dict[str, object]]:
    """A row a tracker: mean and median milliseconds a frame, and the scores of its tracks."""
    updates = {**ours(), **theirs()}
    seconds: dict[str, list[float]] = {name: [] for name in updates}
    tracks: dict[str, list[Found]] = {name: [] for name in updates}
    truth: list[Found] = []
    names = list(updates)
    for boxes, scores, embeddings, people in world(targets, frames, np.random.default_rng(targets)):
        truth.append((np.arange(targets), people))
        names = [*names[1:], names[0]]
        for name in names:
            update, dim = updates[name]
            spent, found = update(boxes, scores, embeddings[:, :dim])
            seconds[name].append(spent)
            tracks[name].append(found)
    return [
        {
            "tracker": name,
            "targets": targets,
            "frames": frames,
            "mean_ms": 1e3 * float(np.mean(spent)),
            "median_ms": 1e3 * float(np.median(spent)),
            **outcome(truth, tracks[name]),
        }
        for name, spent in seconds.items()
    ]


def outcome(truth: list[Found], tracks: list[Found]) -> dict[str, float]:
    """Scores of a tracker against the people who walked there."""
    frames, identities, boxes = flat(truth)
    ones = np.ones(len(frames))
    people = Annotations(frames, identities, boxes, ones > 0, np.ones(len(frames), dtype=np.int64), ones)
    frames, identities, boxes = flat(tracks)
    found = Results(frames, identities, boxes, np.ones(len(frames)))
    prepared = {"walk": trackeval.prepare(people, len(truth), "MOT17")}
    row = trackeval.score(prepared, {"walk": found})[-1]
    return {name: row[name] for name in SCORES}


def flat(found: list[Found]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames from 1, identities and boxes of all frames in a row."""
    frames = np.repeat(np.arange(1, len(found) + 1), [len(identities) for identities, _ in found])
    return frames, np.concatenate([one for one, _ in found]), np.concatenate([boxes for _, boxes in found])


def ours() -> dict[str, tuple[Timed, int]]:
    """Our trackers: an update that returns the seconds it took and the tracks, and the embedding's width."""
    trackers = {kind: (Tracker(Association(kind=kind)), 0) for kind in ("bytetrack", "sort")}
    trackers |= {f"finetrack {dim}-d": (Tracker(Association()), dim) for dim in DIMS}
    return {name: (timed(tracker), dim) for name, (tracker, dim) in trackers.items()}


def timed(tracker: Tracker) -> Timed:
    """An update of `tracker` that returns the seconds it took and the tracks."""

    def update(boxes: np.ndarray, scores: np.ndarray, embeddings: np.ndarray) -> tuple[float, Found]:
        given = np.ascontiguousarray(embeddings) if embeddings.shape[1] else None
        start = time.thread_time()
        tracks = tracker.update(boxes, scores, given)
        return time.thread_time() - start, (tracks.identities, tracks.boxes)

    return update


def theirs() -> dict[str, tuple[Timed, int]]:
    """ByteTrack of `trackers`, where installed."""
    try:
        import supervision
        import trackers
    except ImportError:
        return {}
    tracker = trackers.ByteTrackTracker()

    def update(boxes: np.ndarray, scores: np.ndarray, _: np.ndarray) -> tuple[float, Found]:
        detections = supervision.Detections(xyxy=boxes, confidence=scores)
        start = time.thread_time()
        found = tracker.update(detections)
        spent = time.thread_time() - start
        found = found[found.tracker_id >= 0]  # the others belong to no track yet
        return spent, (found.tracker_id, found.xyxy)

    return {"trackers ByteTrack": (update, 0)}


def world(targets: int, frames: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, ...]]:
    """People who walk about an image and turn at its edges: boxes, scores and embeddings found, and all true boxes."""
    high = rng.uniform(60, 300, targets)
    size = np.stack([high * rng.uniform(0.3, 0.5, targets), high], axis=1)
    room = np.array([WIDTH, HEIGHT]) - size
    corner, velocity = rng.uniform(0, 1, (targets, 2)) * room, rng.normal(0, 3, (targets, 2))
    looks = rng.normal(0, 1, (targets, max(DIMS))).astype(np.float32)
    for _ in range(frames):
        corner = corner + velocity
        velocity = np.where((corner < 0) | (corner > room), -velocity, velocity)
        corner = np.clip(corner, 0, room)
        seen = np.flatnonzero(rng.random(targets) >= MISSED)
        clutter = rng.poisson(CLUTTER * targets)
        people = np.concatenate([corner, corner + size], axis=1)
        boxes = people[seen] + rng.normal(0, 1, (len(seen), 4))
        stray = rng.uniform(0, 1, (clutter, 2)) * (WIDTH - 100, HEIGHT - 200)
        boxes = np.concatenate([boxes, np.concatenate([stray, stray + np.array([100, 200])], axis=1)])
        scores = rng.uniform(0.6, 1.0, len(boxes))
        is_low = rng.random(len(boxes)) < LOW
        scores[is_low] = rng.uniform(0.1, 0.6, is_low.sum())
        noise = rng.normal(0, 0.5, (len(boxes), max(DIMS))).astype(np.float32)
        noise[: len(seen)] += looks[seen]
        yield boxes, scores, noise, people


def report(times: pd.DataFrame) -> None:
    """Print milliseconds a frame, scores and, where `trackers` was there, how many times faster we are."""
    table = times.pivot(index="tracker", columns="targets", values="mean_ms")
    print("milliseconds a frame\n" + table.round(3).to_string())
    print("\nscores against the people who walked there")
    print(times.pivot(index="tracker", columns="targets", values=list(SCORES)).round(1).to_string())
    if "trackers ByteTrack" not in table.index:
        print("\ntrackers: not installed, so no ratios. Run in an environment that has trackers==2.6.1.")
    else:
        print("\ntimes faster than trackers ByteTrack")
        print((table.loc["trackers ByteTrack"] / table).round(2).to_string())


if __name__ == "__main__":
    main()
