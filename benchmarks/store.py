"""How fast the feature store is read in each order, and the memory that crowds take in training.

    OMP_NUM_THREADS=1 python -m benchmarks.store [--gigabytes 3] [--folder /tmp] [--out results/store.parquet]

Reading: wall time, from the disk, for the system forgets the file before each pass. `sequential` reads groups of eight
frames in their order, `sgs` shuffles the groups, `shuffle` single frames. Memory: the peak of a process that makes one
training step of FineTrack at the paper's sizes; a target's is the slope between two numbers of targets.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pipeline.data import samplers, store
from pipeline.losses.reid import ReIDLossWeights, reid_loss
from pipeline.models.reid import Classifiers, FineTrackReID, ReIDHead

SHAPES = ((160, 32, 16), (320, 16, 8), (640, 8, 4))  # dark2 to dark4 of YOLOX-x
TARGETS, GROUP = 22, 8  # of a frame of MOT17, frames a group
CROWD, CHUNKS, SLOPE = 1000, (0, 16), (32, 96)  # targets; chunk; targets measured


def main() -> None:
    """Measure, write the table and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/store.parquet"))
    arguments = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("OMP_NUM_THREADS is not 1; CPU time of one thread means nothing then. Set it.")

    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        rows = reading(Path(folder) / "large.arrow", arguments.gigabytes)
    rows += [crowd(chunk) for chunk in CHUNKS]
    table = pd.DataFrame(rows)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(arguments.out, index=False)
    print(table.to_string(index=False, float_format="{:.0f}".format))


def reading(path: Path, gigabytes: float) -> list[dict[str, object]]:
    """A row an order of reading: MB/s."""
    generate(path, round(gigabytes * 1e9 / (2 * TARGETS * sum(map(np.prod, SHAPES)))))
    frames = {"large": store.SequenceFeatures(path).frames}
    orders = {
        "sequential": samplers.sequential(frames, size=GROUP),
        "sgs": samplers.sgs(frames, size=GROUP, seed=0, epoch=0),
        "shuffle": samplers.shuffle(frames, size=GROUP, seed=0, epoch=0),
    }
    return [
        {"what": f"read {name}", "value": throughput(path, groups), "unit": "MB/s"} for name, groups in orders.items()
    ]


def throughput(path: Path, groups: list[samplers.Group]) -> float:
    """MB/s of copying every frame of every group out of the file."""
    forget(path)
    video = store.SequenceFeatures(path)
    start, read = time.perf_counter(), 0
    for _, index in (frame for group in groups for frame in group):
        read += sum(np.array(level).nbytes for level in video.frame(index).levels)
    return read / (time.perf_counter() - start) / 1e6


def generate(path: Path, frames: int) -> None:
    """A store of noise."""
    rng, people = np.random.default_rng(0), np.arange(TARGETS)
    noise = tuple(rng.normal(size=(TARGETS, *shape)).astype(np.float16) for shape in SHAPES)
    store.write(path, SHAPES, (store.FrameFeatures(n, people, people, noise) for n in range(1, frames + 1)), half=True)


def forget(path: Path) -> None:
    """Take a file that nobody has mapped out of the system's cache."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def crowd(chunk: int) -> dict[str, object]:
    """Memory of a step with a thousand targets."""
    few, many = (peak(targets, chunk) for targets in SLOPE)
    value = (many - few) / (SLOPE[1] - SLOPE[0]) * CROWD
    return {"what": f"step of {CROWD} targets, chunk {chunk}, extrapolated", "value": value / 1e6, "unit": "MB"}


def peak(targets: int, chunk: int) -> int:
    """Bytes that a process which makes one step has at its peak."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(step, (targets, chunk))


def step(targets: int, chunk: int) -> int:
    """Make a training step and say how much memory this process had at its peak, in bytes."""
    torch.set_num_threads(1)
    head = ReIDHead(chunk=chunk)
    model, classifiers = FineTrackReID(head, tuple(shape[0] for shape in SHAPES)), Classifiers(300, head)
    embeddings = model(tuple(torch.randn(targets, *shape) for shape in SHAPES))
    people = torch.arange(targets) % 30
    reid_loss(embeddings, classifiers(embeddings), people, ReIDLossWeights()).total.backward()
    # Not getrusage, whose peak a new process inherits from the one that read the store.
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return 1024 * peak


if __name__ == "__main__":
    main()
