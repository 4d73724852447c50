"""Wall time of the stage `track`: a plain loop beside Ray's workers, and from what amount of work they pay.

    OMP_NUM_THREADS=1 python -m benchmarks.tracking [--frames 600] [--repeats 3] [--out FILE]

Seven sequences of all variants with 256-d embeddings, and smaller amounts, from files to result files. Ray is started
once, and its start-up (with the workers' imports) stands on its own line; every amount is then done by the plain loop,
one worker and two in turn, and the least of the repeats counts. One worker against the loop is what a task costs more.
"""

import argparse
import os
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.association import world
from pipeline import params, tables
from pipeline.cluster import parallel
from pipeline.cluster.session import Cluster, session
from pipeline.inference.tracks import TrackJob, track_jobs, track_to_file
from pipeline.tracking.sequence import Tracking

SEQUENCES, TARGETS, DIM, RATE = 7, 20, 256, 30.0
WORKERS = (0, 1, 2)
SHARES = (0.02, 0.1, 0.3, 1.0)  # of the frames
OVERHEAD_GOAL = 0.05


def main() -> None:
    """Time every amount of work on every number of workers, write the table and print what it says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tracking.parquet"))
    arguments = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("OMP_NUM_THREADS is not 1; two workers would then fight for the cores. Set it.")

    out = arguments.out.resolve()
    variants = params.section("synthetic", "reid.variants", dict)
    settings = params.section("synthetic", "track", Tracking)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # `make_missing` reads cluster.yaml of the working folder
        amounts = [
            write_inputs(Path(f"{share}"), max(round(share * arguments.frames), 1), variants) for share in SHARES
        ]
        times = measure(amounts, settings, arguments.repeats)
        os.chdir("/")
    out.parent.mkdir(parents=True, exist_ok=True)
    times.to_parquet(out, index=False)
    report(times)


def write_inputs(folder: Path, frames: int, variants: dict) -> Path:
    """The tables that the stage reads; every variant has the same embeddings."""
    rng = np.random.default_rng(frames)
    boxes: list[pa.Table] = []
    looks: list[pa.Table] = []
    schema = tables.embeddings_schema(DIM)
    for sequence in range(SEQUENCES):
        for frame, (found, scores, embeddings, _) in enumerate(world(TARGETS, frames, rng), start=1):
            place: dict[str, list] = {"split": ["val"] * len(found), "sequence": [f"S{sequence}"] * len(found)}
            place |= {"frame": [frame] * len(found)}
            corners = dict(zip(("x1", "y1", "x2", "y2"), found.T.copy(), strict=True))
            boxes.append(pa.table({**place, **corners, "score": scores}).cast(tables.DETECTIONS))
            values = pa.array(np.ascontiguousarray(embeddings[:, :DIM]).reshape(-1))
            lists = pa.FixedSizeListArray.from_arrays(values, type=schema.field("embedding").type)
            looks.append(pa.table({**place, "row": np.arange(len(found)), "embedding": lists}).cast(schema))
    folder.mkdir()
    tables.write(tables.concat(boxes, tables.DETECTIONS), folder / "detections.parquet", tables.DETECTIONS)
    tables.write(tables.concat(looks, schema), folder / "embeddings.parquet", schema)
    for variant in variants:
        path = folder / "embeddings" / variant / "seed0" / "detections.parquet"
        path.parent.mkdir(parents=True)
        path.hardlink_to(folder / "embeddings.parquet")
    rows = [
        {"split": "val", "sequence": f"S{sequence}", "frame_rate": RATE, "frames": frames, "width": 1920}
        | {"height": 1080, "first": 1, "has_ground_truth": False, "has_images": False}
        for sequence in range(SEQUENCES)
    ]
    tables.write(pa.Table.from_pylist(rows, tables.SEQUENCES), folder / "sequences.parquet", tables.SEQUENCES)
    return folder.resolve()


def measure(amounts: list[Path], settings: Tracking, repeats: int) -> pd.DataFrame:
    """A row an amount and number of workers, with seconds."""
    cluster = Cluster(address=None, workers=max(WORKERS), cpus_per_worker=1.0, gpus_per_worker=0.0)
    rows = []
    start = time.perf_counter()
    with session(cluster):
        for workers in WORKERS:
            timed(targets(amounts[0], settings, f"start-up-{workers}"), settings, workers)
        started = time.perf_counter() - start
        for folder in amounts:
            seconds: dict[int, list[float]] = {workers: [] for workers in WORKERS}
            for repeat in range(repeats):
                for workers in WORKERS:
                    made = targets(folder, settings, f"{repeat}-{workers}")
                    seconds[workers].append(timed(made, settings, workers))
            frames = next(iter(made.values())).length
            rows += [
                {"frames": frames, "tasks": len(made), "workers": workers}
                | {"seconds": min(spent), "start_up_s": started}
                for workers, spent in seconds.items()
            ]
    return pd.DataFrame(rows)


def targets(folder: Path, settings: Tracking, name: str) -> dict[Path, TrackJob]:
    """What the stage would make, a file a task: under fingerprints, equal variants would share theirs."""
    jobs = track_jobs(
        tables.read(folder / "sequences.parquet", tables.SEQUENCES),
        folder / "detections.parquet",
        folder / "embeddings",
        ("val",),
        settings=settings,
        min_score=settings.low_threshold,
        folder=folder,
    )
    return {folder / name / row: job for row, (_, job) in jobs.items()}


def timed(made: dict[Path, TrackJob], settings: Tracking, workers: int) -> float:
    """Wall seconds of all tasks."""
    use(workers)
    start = time.perf_counter()
    parallel.make_missing(
        partial(track_to_file, settings=settings), made, what=f"track, {workers} workers", reads=lambda job: []
    )
    return time.perf_counter() - start


def use(workers: int) -> None:
    """Let the next pieces of work run on so many workers; Ray, once up, counts CPUs alone."""
    cpus = max(WORKERS) / max(workers, 1)
    text = f"address: null\nworkers: {workers}\ncpus_per_worker: {cpus}\ngpus_per_worker: 0\n"
    Path("cluster.yaml").write_text(text, encoding="utf-8")


def report(times: pd.DataFrame) -> None:
    """Print seconds, a task's overhead and from where two workers pay for Ray's start-up."""
    table = times.pivot(index=["frames", "tasks"], columns="workers", values="seconds")
    table["overhead"] = table[1] / table[0] - 1
    table["times faster"] = table[0] / table[2]
    started = float(times["start_up_s"].iloc[0])
    print(f"\nRay's start-up {started:.1f} s\n\nseconds by number of workers, without it")
    print(table.round(3).to_string())
    whole = table.iloc[-1]
    print(f"\noverhead of a task {whole['overhead']:.1%} (goal below {OVERHEAD_GOAL:.0%})")
    if whole[2] < whole[0]:
        least = started / (1 - whole[2] / whole[0])
        print(f"two workers beat the plain loop from {least:.0f} s of work on")
    else:
        print("two workers never beat the plain loop here")


if __name__ == "__main__":
    main()
