"""Time scoring takes, ours beside TrackEval's own run on the same files.

    OMP_NUM_THREADS=1 python benchmarks/scoring.py [--repeats 5] [--out benchmarks/results/scoring.parquet]

Seven sequences of 600 frames with 30 targets and a few distractors, from text files to all scores, imports excluded.
CPU time of the process, the contenders in turn, so that whatever else the machine does falls on all alike; ratios are
medians of adjacent runs. That all three agree on every score is checked first.
"""

import argparse
import contextlib
import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import trackeval as reference

from pipeline.data import motchallenge
from pipeline.evaluation import trackeval

SEQUENCES, FRAMES, TARGETS, DISTRACTORS = 7, 600, 30, 2
WIDTH, HEIGHT = 1920, 1080
GOALS = {"ours": 1.6, "ours, ground truth prepared": 1.9}

Scored = dict[str, float]


def main() -> None:
    """Time every contender, write the table and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/scoring.parquet"))
    arguments = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("OMP_NUM_THREADS is not 1; CPU time of one thread means nothing then. Set it.")

    with tempfile.TemporaryDirectory() as folder:
        times = measure(Path(folder), arguments.repeats)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    times.to_parquet(arguments.out, index=False)
    print(times.to_string(index=False, float_format="{:.2f}".format))


def measure(folder: Path, repeats: int) -> pd.DataFrame:
    """A row a contender: median seconds, and how many times TrackEval's own run it is as fast."""
    names = [write_sequence(folder, number) for number in range(1, SEQUENCES + 1)]
    prepared = prepare(folder, names)
    contenders: dict[str, Callable[[], Scored]] = {
        "TrackEval": lambda: theirs(folder, names),
        "ours": lambda: ours(folder, prepare(folder, names)),
        "ours, ground truth prepared": lambda: ours(folder, prepared),
    }
    expected = contenders["TrackEval"]()
    for name, run in contenders.items():
        if run() != expected:
            raise ValueError(f"benchmarks/scoring.py: {name} scores {run()}, expected {expected}. Run `make test`.")

    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            seconds[name].append(timed(run))
    return pd.DataFrame(
        {
            "scoring": name,
            "seconds": float(np.median(spent)),
            "ratio": float(np.median(np.divide(seconds["TrackEval"], spent))),
            "goal": GOALS.get(name, float("nan")),
            "repeats": repeats,
        }
        for name, spent in seconds.items()
    )


def timed(run: Callable[[], Scored]) -> float:
    """CPU seconds of one run."""
    start = time.process_time()
    run()
    return time.process_time() - start


def prepare(folder: Path, names: list[str]) -> dict[str, trackeval.PreparedGroundTruth]:
    """Our reading of the ground truth."""
    return {
        name: trackeval.prepare(motchallenge.read_ground_truth(folder / name / "gt/gt.txt"), FRAMES, "MOT17")
        for name in names
    }


def ours(folder: Path, ground_truth: dict[str, trackeval.PreparedGroundTruth]) -> Scored:
    """Our reading of the tracks and the scores of all sequences together."""
    files = {name: folder / "trackers/all/data" / f"{name}.txt" for name in ground_truth}
    tracks = {name: motchallenge.read_results(path) for name, path in files.items()}
    row = trackeval.score(ground_truth, tracks)[-1]
    return {name: row[name] for name in (*trackeval.PERCENTS, *trackeval.COUNTS)}


def theirs(folder: Path, names: list[str]) -> Scored:
    """TrackEval's reading, preprocessing and metrics, without its printing, writing and plotting."""
    quiet = dict.fromkeys(("PRINT_RESULTS", "OUTPUT_SUMMARY", "OUTPUT_DETAILED", "PLOT_CURVES", "TIME_PROGRESS"), False)
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = reference.datasets.MotChallenge2DBox(
            {
                "GT_FOLDER": str(folder),
                "TRACKERS_FOLDER": str(folder / "trackers"),
                "SKIP_SPLIT_FOL": True,
                "SEQ_INFO": dict.fromkeys(names, FRAMES),
            }
        )
        metrics = [reference.metrics.HOTA(), reference.metrics.CLEAR(), reference.metrics.Identity()]
        result, _ = reference.Evaluator({**quiet, "LOG_ON_ERROR": None}).evaluate([dataset], metrics)
    parts = result["MotChallenge2DBox"]["all"]["COMBINED_SEQ"]["pedestrian"].values()
    found = {name: value for part in parts for name, value in part.items()}
    found["frames"] = found["CLR_Frames"]
    shares = {name: 100 * float(np.mean(found[name])) for name in trackeval.PERCENTS}
    return shares | {name: int(found[name]) for name in trackeval.COUNTS}


def write_sequence(folder: Path, number: int) -> str:
    """Write walking targets, standing distractors and a tracker that jitters, misses, invents and swaps."""
    rng = np.random.default_rng(number)
    name = f"S{number}"
    people, frames = np.tile(np.arange(TARGETS), FRAMES), np.repeat(np.arange(1, FRAMES + 1), TARGETS)
    size = rng.uniform((30, 80), (90, 240), (TARGETS, 2))
    step = rng.normal(0, 2, (TARGETS, 2))
    corner = np.mod(rng.uniform(0, 1800, (TARGETS, 2))[people] + frames[:, None] * step[people], (WIDTH, HEIGHT))
    walking = np.column_stack([frames, people + 1, corner, size[people]])
    still = np.column_stack(
        [np.repeat(np.arange(1, FRAMES + 1), DISTRACTORS), np.tile(range(900, 900 + DISTRACTORS), FRAMES)]
    )
    places = np.tile(rng.uniform((0, 0, 30, 80), (1800, 900, 90, 240), (DISTRACTORS, 4)), (FRAMES, 1))
    standing = np.column_stack([still, places])
    classes = np.repeat([1, 8], [len(walking), len(standing)])[:, None]
    truth = np.column_stack([np.vstack([walking, standing]), classes == 1, classes, np.ones_like(classes)])

    found = np.vstack([walking, standing])
    found = found[rng.random(len(found)) < 0.9]
    found[:, 2:] += rng.normal(0, 3, (len(found), 4))
    found[:, 1] += 1000 * ((found[:, 0] // 150 + found[:, 1]) % 4 == 0)
    found = found[np.argsort(found[:, 0], kind="stable")]
    tracks = np.column_stack([found, np.full(len(found), 0.9), np.full((len(found), 3), -1)])
    for path, rows, form in (
        (folder / name / "gt/gt.txt", truth, "%d,%d,%.1f,%.1f,%.1f,%.1f,%d,%d,%d"),
        (folder / "trackers/all/data" / f"{name}.txt", tracks, "%d,%d,%.1f,%.1f,%.1f,%.1f,%.2f,%d,%d,%d"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, rows, fmt=form)
    return name


if __name__ == "__main__":
    main()
