"""Time scoring takes, ours beside TrackEval's own run on the same files, and what a second process adds.

    OMP_NUM_THREADS=1 python -m benchmarks.scoring [--repeats 5] [--frames 600] [--out benchmarks/results]

Seven sequences of 600 frames with 30 targets and a few distractors, from text files to all scores, imports excluded.
`scoring.parquet` has CPU time of the process, the contenders in turn, so that whatever else the machine does falls on
all alike; ratios are medians of adjacent runs. That all agree on every score is checked first.
`scoring_processes.parquet` has seconds on the clock, which mean something on a quiet machine only: sequences side by
side in two processes against one after the other, where seven gain 7/4 at most, and Ray's start on its own line.
"""

import argparse
import contextlib
import io
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import trackeval as reference
import yaml

from pipeline.cluster.parallel import map_ordered
from pipeline.cluster.session import CLUSTER, Cluster, session
from pipeline.data import motchallenge
from pipeline.evaluation import metrics, trackeval

SEQUENCES, TARGETS, DISTRACTORS = 7, 30, 2
WIDTH, HEIGHT = 1920, 1080
GOALS = {"ours": 1.6, "ours, ground truth prepared": 1.9, "own metrics, ground truth prepared": 4.0}
PROCESSES = 2

Scored = dict[str, float]
Truth = dict[str, trackeval.PreparedGroundTruth]
Score = Callable[[Truth, dict[str, motchallenge.Results]], list[trackeval.Row]]


def main() -> None:
    """Time every contender, write the tables and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("OMP_NUM_THREADS is not 1; CPU time of one thread means nothing then. Set it.")

    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        names = [write_sequence(Path(folder), number, arguments.frames) for number in range(1, SEQUENCES + 1)]
        for table, measured in (("scoring", measure), ("scoring_processes", measure_processes)):
            times = measured(Path(folder), names, arguments)
            times.to_parquet(arguments.out / f"{table}.parquet", index=False)
            print(times.to_string(index=False, float_format="{:.2f}".format), flush=True)


def measure(folder: Path, names: list[str], arguments: argparse.Namespace) -> pd.DataFrame:
    """A row a contender: median seconds, and how many times TrackEval's own run it is as fast."""
    frames, repeats = arguments.frames, arguments.repeats
    prepared = prepare(folder, names, frames)
    contenders: dict[str, Callable[[], Scored]] = {
        "TrackEval": lambda: theirs(folder, names, frames),
        "ours": lambda: ours(folder, prepare(folder, names, frames), trackeval.score),
        "ours, ground truth prepared": lambda: ours(folder, prepared, trackeval.score),
        "own metrics, ground truth prepared": lambda: ours(folder, prepared, metrics.score),
    }
    expected = contenders["TrackEval"]()
    for name, run in contenders.items():
        if run() != expected:
            raise ValueError(f"benchmarks/scoring.py: {name} scores {run()}, expected {expected}. Run `make test`.")

    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            seconds[name].append(timed(run, time.process_time))
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


def measure_processes(folder: Path, names: list[str], arguments: argparse.Namespace) -> pd.DataFrame:
    """A row a scoring and number of processes: median seconds on the clock, and the gain over one process."""
    prepared = prepare(folder, names, arguments.frames)
    jobs = {
        name: partial(score_sequence, folder=folder, prepared=prepared, score=score)
        for name, score in (("ours", trackeval.score), ("own metrics", metrics.score))
    }
    side_by_side = Cluster(address=None, workers=PROCESSES, cpus_per_worker=1.0, gpus_per_worker=0.0)
    alone = Cluster(address=None, workers=0, cpus_per_worker=1.0, gpus_per_worker=0.0)
    seconds: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as root, contextlib.chdir(root), contextlib.ExitStack() as stack:
        start = timed(lambda: stack.enter_context(session(side_by_side)))
        start += timed(partial(run_all, jobs["ours"], names, side_by_side))  # the first tasks start and import
        for _ in range(arguments.repeats):
            for name, job in jobs.items():
                for cluster in (alone, side_by_side):
                    spent = timed(partial(run_all, job, names, cluster))
                    seconds.setdefault((name, max(1, cluster.workers)), []).append(spent)
    rows = [
        {
            "scoring": name,
            "processes": processes,
            "seconds": float(np.median(spent)),
            "gain": float(np.median(np.divide(seconds[name, 1], spent))),
        }
        for (name, processes), spent in seconds.items()
    ]
    return pd.DataFrame([*rows, {"scoring": "(Ray's start)", "processes": PROCESSES, "seconds": start}])


def run_all(job: Callable[[str], list[trackeval.Row]], names: list[str], cluster: Cluster) -> None:
    """Score every sequence on its own by `cluster`, written to the working folder, where `map_ordered` reads it."""
    CLUSTER.write_text(yaml.safe_dump(asdict(cluster)))
    with contextlib.redirect_stdout(io.StringIO()):
        map_ordered(job, names, what="score")


def score_sequence(name: str, *, folder: Path, prepared: Truth, score: Score) -> list[trackeval.Row]:
    """One sequence's rows, from its file of tracks."""
    return score({name: prepared[name]}, {name: motchallenge.read_results(results_file(folder, name))})


def timed(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one run."""
    start = clock()
    run()
    return clock() - start


def prepare(folder: Path, names: list[str], frames: int) -> Truth:
    """Our reading of the ground truth."""
    return {
        name: trackeval.prepare(motchallenge.read_ground_truth(folder / name / "gt/gt.txt"), frames, "MOT17")
        for name in names
    }


def ours(folder: Path, ground_truth: Truth, score: Score) -> Scored:
    """Our reading of the tracks and the scores of all sequences together."""
    tracks = {name: motchallenge.read_results(results_file(folder, name)) for name in ground_truth}
    row = score(ground_truth, tracks)[-1]
    return {name: row[name] for name in (*trackeval.PERCENTS, *trackeval.COUNTS)}


def results_file(folder: Path, name: str) -> Path:
    """Where TrackEval looks for the tracks of a sequence."""
    return folder / "trackers/all/data" / f"{name}.txt"


def theirs(folder: Path, names: list[str], frames: int) -> Scored:
    """TrackEval's reading, preprocessing and metrics, without its printing, writing and plotting."""
    quiet = dict.fromkeys(("PRINT_RESULTS", "OUTPUT_SUMMARY", "OUTPUT_DETAILED", "PLOT_CURVES", "TIME_PROGRESS"), False)
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = reference.datasets.MotChallenge2DBox(
            {
                "GT_FOLDER": str(folder),
                "TRACKERS_FOLDER": str(folder / "trackers"),
                "SKIP_SPLIT_FOL": True,
                "SEQ_INFO": dict.fromkeys(names, frames),
            }
        )
        metrics = [reference.metrics.HOTA(), reference.metrics.CLEAR(), reference.metrics.Identity()]
        result, _ = reference.Evaluator({**quiet, "LOG_ON_ERROR": None}).evaluate([dataset], metrics)
    parts = result["MotChallenge2DBox"]["all"]["COMBINED_SEQ"]["pedestrian"].values()
    found = {name: value for part in parts for name, value in part.items()}
    found["frames"] = found["CLR_Frames"]
    shares = {name: 100 * float(np.mean(found[name])) for name in trackeval.PERCENTS}
    return shares | {name: int(found[name]) for name in trackeval.COUNTS}


def write_sequence(folder: Path, number: int, length: int) -> str:
    """Write walking targets, standing distractors and a tracker that jitters, misses, invents and swaps."""
    rng = np.random.default_rng(number)
    name = f"S{number}"
    people, frames = np.tile(np.arange(TARGETS), length), np.repeat(np.arange(1, length + 1), TARGETS)
    size = rng.uniform((30, 80), (90, 240), (TARGETS, 2))
    step = rng.normal(0, 2, (TARGETS, 2))
    corner = np.mod(rng.uniform(0, 1800, (TARGETS, 2))[people] + frames[:, None] * step[people], (WIDTH, HEIGHT))
    walking = np.column_stack([frames, people + 1, corner, size[people]])
    still = np.column_stack(
        [np.repeat(np.arange(1, length + 1), DISTRACTORS), np.tile(range(900, 900 + DISTRACTORS), length)]
    )
    places = np.tile(rng.uniform((0, 0, 30, 80), (1800, 900, 90, 240), (DISTRACTORS, 4)), (length, 1))
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
        (results_file(folder, name), tracks, "%d,%d,%.1f,%.1f,%.1f,%.1f,%.2f,%d,%d,%d"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, rows, fmt=form)
    return name


if __name__ == "__main__":
    main()
