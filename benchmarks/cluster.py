"""What a run costs before its first step, what a second worker brings, and what travels.

    OMP_NUM_THREADS=1 python -m benchmarks.cluster [--repeats 3] [--out benchmarks/results/cluster.parquet]

Start: wall time from `dvc repro train_detector` to the end of its only step, in a cut-down copy of the repository, by
the moments at which its lines appear. Two workers: wall time of a step of YOLOX-nano's training on one worker and on
two, and where the rest goes, told by one worker that takes half of each step, alone and beside another that does the
same. What travels: pickled bytes of what a stage hands to its tasks and workers and gets back. Quiet machine, please.
"""

import argparse
import contextlib
import dataclasses
import json
import multiprocessing
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from ray import cloudpickle

from benchmarks.detector import synthetic_images
from benchmarks.sweeps import MADE, stage_options
from pipeline import params
from pipeline.cluster import parallel, train
from pipeline.cluster.session import Cluster
from pipeline.models.yolox import YOLOX
from pipeline.sources import ROOT
from pipeline.training.detector import DetectorTraining, TrainingImages, train_detector
from pipeline.training.worker import Worker
from tests import small

BATCHES = (4, 16)
STEPS, EPOCHS, UNCOUNTED = 10, 7, 2  # steps an epoch; the first epochs warm up
MOMENTS = {"DVC": "Running stage", "imports, Ray": "ray: on this machine", "workers, step": "train_detector: 1 of 1"}
STAGES = ("train_detector", "detect", "features", "train_reid", "embed", "track", "score")
# MOT17's first halves and CrowdHuman, which mot17-half's detector learns from: images and people in each.
MOT17_HALF = ((2664, 20), (19370, 23))

Row = dict[str, Any]


def main() -> None:
    """Measure everything, write the table and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/cluster.parquet"))
    arguments = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("OMP_NUM_THREADS is not 1; two workers would then fight for the cores. Set it.")

    with tempfile.TemporaryDirectory(prefix="finetrack-bench-") as folder:
        copy = one_step_copy(Path(folder, "copy"))
        rows = [*start_rows(copy, arguments.repeats), *travel_rows(copy)]
        rows += [one for batch in BATCHES for one in worker_rows(Path(folder, f"batch-{batch}"), batch)]
    table = pd.DataFrame(rows)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(arguments.out, index=False)
    print(table.to_string(index=False, float_format="{:.4g}".format))


def one_step_copy(folder: Path) -> Path:
    """The repository with an experiment whose detector takes a single step, finished once."""
    everything = small.small_params()
    everything["synthetic"]["detector"] |= {"epochs": 1, "plain_epochs": 0, "warmup_epochs": 0, "batch": 16}
    everything["synthetic"]["features"]["precision"] = "single"  # which a detector that learned so little needs
    small.copy_of_repository(folder, everything)
    done = small.repro(folder)
    if done.returncode:
        raise ValueError(f"{folder}: `dvc repro` failed, expected success: {done.stderr[-500:]}")
    return folder


def start_rows(copy: Path, repeats: int) -> Iterator[Row]:
    """Seconds between the moments of a start, medians."""
    for workers in (0, 1, 2):
        small.use_workers(copy, workers)
        found = pd.DataFrame([moments(copy) for _ in range(repeats)]).median()
        for name, seconds in found.items():
            yield {"measure": f"start, workers {workers}: {name}", "value": seconds, "unit": "s"}
        yield {"measure": f"start, workers {workers}: to the end of the first step", "value": found.sum(), "unit": "s"}


def moments(copy: Path) -> dict[str, float]:
    """Seconds from one line of `dvc repro` to the next that tells something."""
    shutil.rmtree(copy / "runs/synthetic/work/detector")
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", "--force", "train_detector@synthetic"]
    last, found = time.monotonic(), {}
    with subprocess.Popen(
        command, cwd=copy, env=small.environment(copy), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            for name, beginning in MOMENTS.items():
                if line.startswith(beginning):
                    found[name], last = time.monotonic() - last, time.monotonic()
    if process.returncode:
        raise ValueError(f"{copy}: `dvc repro` ended with {process.returncode}, expected 0. Run it there.")
    return found


def worker_rows(folder: Path, batch: int) -> list[Row]:
    """A step of a batch by one worker and by two, and the shares of what two lose."""
    folder.mkdir()
    images = longer(synthetic_images(folder / "images"), STEPS * batch)
    whole, half = training(batch), training(batch // 2)
    halved = longer(images, STEPS * batch // 2)
    one = side_by_side([partial(alone, images, whole, folder / "one")])
    less = side_by_side([partial(alone, halved, half, folder / "less")])
    beside = side_by_side([partial(alone, halved, half, folder / f"beside-{i}") for i in range(2)])
    two = together(images, whole, folder / "two")
    name = f"training, batch {batch}"
    lost = {
        "smaller batches": less - one / 2,
        "sharing the machine": beside - less,
        "averaging gradients and waiting": two - beside,
    }
    return [
        {"measure": f"{name}: a step, one worker", "value": 1e3 * one, "unit": "ms"},
        {"measure": f"{name}: a step, two workers", "value": 1e3 * two, "unit": "ms"},
        {"measure": f"{name}: efficiency of two", "value": 100 * one / 2 / two, "unit": "%"},
        *(
            {"measure": f"{name}: lost to {what}", "value": 100 * part / two, "unit": "% of a step"}
            for what, part in lost.items()
        ),
    ]


def training(batch: int) -> DetectorTraining:
    """The embedded experiment's training, of a few epochs."""
    settings = params.section("synthetic", "detector", DetectorTraining)
    return dataclasses.replace(settings, epochs=EPOCHS, warmup_epochs=0, plain_epochs=0, batch=batch)


def longer(images: TrainingImages, count: int) -> TrainingImages:
    """So many images, again and again the same."""
    index = [i % len(images.paths) for i in range(count)]
    return TrainingImages([images.paths[i] for i in index], [images.boxes[i] for i in index])


def side_by_side(runs: list[Callable[[], None]]) -> float:
    """Seconds a step of trainings in processes of their own, at once; the folder of each is its last argument."""
    processes = [multiprocessing.get_context("spawn").Process(target=run) for run in runs]
    for one in processes:
        one.start()
    for one in processes:
        one.join()
    return float(np.mean([seconds_a_step(run.args[-1]) for run in runs]))


def alone(images: TrainingImages, settings: DetectorTraining, folder: Path) -> None:
    """Train in this process."""
    clocked(Worker.local(), images, settings, folder)


def together(images: TrainingImages, settings: DetectorTraining, folder: Path) -> float:
    """Seconds a step of two workers of Ray Train."""
    cluster = Cluster(address=None, workers=2, cpus_per_worker=1.0, gpus_per_worker=0.0)
    loop = partial(clocked, images=images, settings=settings, folder=folder)
    with contextlib.chdir(folder.parent):
        Path("cluster.yaml").write_text(yaml.safe_dump(dataclasses.asdict(cluster)))
        train.train(loop, what=folder.name, total=settings.epochs, reads=[], makes=[])
    return seconds_a_step(folder)


def clocked(worker: Worker, images: TrainingImages, settings: DetectorTraining, folder: Path) -> None:
    """Train, and note when each epoch ends."""
    folder.mkdir(parents=True, exist_ok=True)

    def tell(*news: object) -> None:
        with (folder / "clock").open("a") as clock:
            clock.write(f"{time.monotonic()}\n")

    worker = dataclasses.replace(worker, tell=tell)
    train_detector(worker, images=images, settings=settings, initial=None, folder=folder)


def seconds_a_step(folder: Path) -> float:
    """Seconds a step, by the epochs' ends: the median, so that a checkpoint now and then counts little."""
    ends = np.array([float(line) for line in (folder / "clock").read_text().split()])
    return float(np.median(np.diff(ends)[UNCOUNTED - 1 :])) / STEPS


def travel_rows(copy: Path) -> Iterator[Row]:
    """Bytes that each stage of the copy sends and gets, and those that mot17-half's detector would send."""
    small.use_workers(copy, 0)
    for stage in STAGES:
        shutil.rmtree(copy / "runs/synthetic/work" / MADE.get(stage, stage), ignore_errors=True)
        paths = os.pathsep.join([str(copy), str(ROOT)])
        command = [sys.executable, "-c", f"from benchmarks import cluster; cluster.count({stage!r})"]
        environment = {**small.environment(copy), "PYTHONPATH": paths}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"{stage}: ended with {done.returncode}, expected 0: {done.stderr[-500:]}")
        for what, size in json.loads(done.stdout.splitlines()[-1]).items():
            yield {"measure": f"travels, {stage}: {what}", "value": size / 1e3, "unit": "kB"}
    loop = partial(train_detector, images=many_images(), settings=training(16), initial=None, folder=Path("runs"))
    yield {
        "measure": "travels, train_detector of mot17-half: to a worker",
        "value": len(cloudpickle.dumps(loop)) / 1e3,
        "unit": "kB",
    }
    weights = sum(one.numel() for one in YOLOX.build("x").parameters())
    yield {"measure": "travels, YOLOX-x: gradients of a step", "value": 4 * weights / 1e3, "unit": "kB"}


def many_images() -> TrainingImages:
    """As many paths and boxes as mot17-half's detector learns from."""
    sizes = [people for count, people in MOT17_HALF for _ in range(count)]
    paths = [Path(f"data/mot17-half/crowdhuman/Images/{number:030d}.jpg") for number in range(len(sizes))]
    return TrainingImages(paths, [np.ones((people, 4)) for people in sizes])


def count(stage: str) -> None:
    """Run a stage of the working folder in this process; the last line says what would have travelled."""
    sizes: dict[str, int] = {}

    def loop(function: Callable, items: Any, shown: Any) -> tuple[dict[int, Any], dict[int, str]]:
        results = {i: function(item) for i, item in enumerate(items)}
        sizes["with every task"] = max(len(cloudpickle.dumps(item)) for item in items)
        sizes["once, for all tasks"] = len(cloudpickle.dumps(function))
        sizes["back from a task"] = max(len(cloudpickle.dumps(one)) for one in results.values())
        return results, {}

    def fit(loop: Callable[[Worker], None], **named: Any) -> None:
        sizes["to a worker"] = len(cloudpickle.dumps(loop))
        loop(Worker.local())

    parallel._loop, train.train = loop, fit
    sys.argv = [stage, *(word for name, value in stage_options(stage).items() for word in (f"--{name}", value))]
    runpy.run_module(f"stages.{stage}", run_name="__main__")
    print(json.dumps(sizes))


if __name__ == "__main__":
    main()
