"""How far mot17-half and a sweep would scale, reckoned from what was measured; no cluster is needed.

    OMP_NUM_THREADS=1 python -m benchmarks.scaling [--device-speed 1000] [--network 25] [--out FILE]

Takes the seconds of the Re-ID head, of association and of a start from the tables of `make bench` and `python -m
benchmarks.cluster`, and times YOLOX-x and Tune itself (minutes). A device is one core of this machine, then one that
computes `--device-speed` times as fast, which is an assumption; so is the `--network` between machines, in GB/s.
Reading, association and starts stay as they were measured. Pieces of work are dealt out as Ray does, the longest
first; a step waits for its samples or its gradients where these take longer.
"""

import argparse
import heapq
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from benchmarks.detector import inference, people, training_step
from benchmarks.sweeps import overhead
from pipeline import params
from pipeline.models.yolox import YOLOX
from pipeline.sources import ROOT
from pipeline.training.detector import DetectorTraining
from pipeline.training.reid import ReIDTraining

RESULTS = Path("benchmarks/results")
DEVICES = (1, 2, 4, 8, 16, 32, 64)
EXPERIMENT = "mot17-half"
# Frames of a half of MOT17 by sequence, boxes to learn from and to score, single images of CrowdHuman.
HALVES = (300, 525, 419, 263, 327, 450, 375)
TRAIN_BOXES, VAL_BOXES, CROWD_IMAGES = 58_407, 53_890, 19_370
THREADS = 8  # that make samples for a GPU
TRIALS = 256


@dataclass(frozen=True)
class Figures:
    """Seconds on one core: of an image trained and detected by YOLOX-x, of its features, of a sample, of an associated
    frame, of a start with Ray and of Tune a trial; targets a second of each variant's head; bytes of the gradients.
    """

    train_image: float
    detect_image: float
    features_image: float
    sample: float
    track_frame: float
    start: float
    tune: float
    train_targets: dict[str, float]
    embed_targets: dict[str, float]
    gradients: int


def main() -> None:
    """Reckon for both devices, write the table and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device-speed", type=float, default=1000.0)
    parser.add_argument("--network", type=float, default=25.0)
    parser.add_argument("--out", type=Path, default=RESULTS / "scaling.parquet")
    arguments = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("OMP_NUM_THREADS is not 1; a device is one core here. Set it.")

    figures = measured()
    print(figures)
    rows = []
    for speed, threads in ((1.0, 1), (arguments.device_speed, THREADS)):
        device = Device(speed, threads, 1e9 * arguments.network)
        for count in DEVICES:
            stages = experiment_seconds(figures, device, count)
            rows.append({"speed": speed, "devices": count, "work": EXPERIMENT, **stages, "all": sum(stages.values())})
            spent = sweep_seconds(figures, device, count)
            rows.append({"speed": speed, "devices": count, "work": f"{TRIALS} trials", "all": spent})
    reckoned = with_efficiency(pd.DataFrame(rows))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    reckoned.to_parquet(arguments.out, index=False)
    for (work, speed), part in reckoned.groupby(["work", "speed"], sort=False):
        shown = part.drop(columns=["work", "speed"]).dropna(axis=1, how="all").round(3)
        print(f"\n{work}, device of {speed:g} cores, hours\n{shown.to_string(index=False)}")


@dataclass(frozen=True)
class Device:
    """One that computes `speed` times as fast as a core, with `threads` that make samples, on a network of bytes/s."""

    speed: float
    threads: int
    network: float


def measured() -> Figures:
    """The figures of this machine.

    Raises:
        ValueError: a table is missing.
    """
    reid = table("reid").query("size == 'x'").set_index("variant")
    cluster = table("cluster").set_index("measure")["value"]
    detector = table("detector").set_index("measure")["value"]
    tracked = table("tracking").query("workers == 0").iloc[-1]
    train_image, detect_image = yolox_seconds()
    return Figures(
        train_image=train_image,
        detect_image=detect_image,
        features_image=float(reid["features_step_s"].iloc[0]),
        sample=float(detector["mosaic of 1080p at 800x1440"] + detector["network input of 800x1440"]) / 1e3,
        track_frame=float(tracked["seconds"] / (tracked["frames"] * tracked["tasks"])),
        start=float(cluster["start, workers 1: to the end of the first step"]),
        tune=overhead(ROOT, 64, 2)["seconds_a_trial"],
        train_targets=reid["train_targets_s"].to_dict(),
        embed_targets=reid["embed_targets_s"].to_dict(),
        gradients=int(1e3 * cluster["travels, YOLOX-x: gradients of a step"]),
    )


def table(name: str) -> pd.DataFrame:
    """A benchmark's table.

    Raises:
        ValueError: it was not made yet.
    """
    path = RESULTS / f"{name}.parquet"
    if not path.is_file():
        raise ValueError(f"{path}: no such file, expected the table of benchmarks/{name}.py. Run it.")
    return pd.read_parquet(path)


def yolox_seconds() -> tuple[float, float]:
    """Seconds of an image of YOLOX-x at 800x1440 on this core: in training and in inference."""
    torch.set_num_threads(1)
    pixels, labels = torch.rand(1, 3, 800, 1440), people(1, 800, 1440)
    step = partial(training_step("x", torch.device("cpu"), torch.channels_last), pixels, labels)
    run = inference(YOLOX.build("x").eval().fused().to(memory_format=torch.channels_last), pixels)
    seconds = []
    for call in (step, run):
        call()
        start = time.thread_time()
        call()
        seconds.append(time.thread_time() - start)
    return seconds[0], seconds[1]


def experiment_seconds(figures: Figures, device: Device, count: int) -> dict[str, float]:
    """Seconds of each stage on so many devices; preparing and reporting, seconds too, are left out."""
    reid = params.section(EXPERIMENT, "reid", ReIDTraining)
    speed, trained = device.speed, [one for one in reid.variants.values() if one.sampler != "none"]
    heads = [head(one.neck, one.pool) for one in reid.variants.values()]
    boxes = [VAL_BOXES * frames / sum(HALVES) for frames in HALVES]
    work = {
        "detect": [frames * figures.detect_image / speed for frames in HALVES],
        "features": [frames * figures.features_image / speed for frames in 2 * HALVES],
        "train_reid": [reid_seconds(figures, head(one.neck, one.pool), reid) / speed for one in trained],
        "embed": [some / figures.embed_targets[name] / speed for name in heads for some in boxes],
        "track": [frames * figures.track_frame for frames in HALVES for _ in range(len(heads) + 2)],
    }
    seconds = {name: figures.start + longest(pieces, count) for name, pieces in work.items()}
    return {"train_detector": figures.start + detector_seconds(figures, device, count), **seconds}


def detector_seconds(figures: Figures, device: Device, count: int) -> float:
    """Seconds of the detector's training: a step is divided among as many devices as divide its batch."""
    settings = params.section(EXPERIMENT, "detector", DetectorTraining)
    used = max(n for n in range(1, count + 1) if settings.batch % n == 0)
    images = settings.batch // used
    compute, samples = images * figures.train_image / device.speed, images * figures.sample / device.threads
    gradients = 2 * (used - 1) / used * figures.gradients / device.network
    steps = settings.epochs * ((sum(HALVES) + CROWD_IMAGES) // settings.batch)
    return steps * (max(compute, samples) + gradients)


def sweep_seconds(figures: Figures, device: Device, count: int) -> float:
    """Seconds of a Re-ID sweep's trials over stored features: train, embed, associate. Tune starts them in turn."""
    reid = params.section(EXPERIMENT, "reid", ReIDTraining)
    name = head("fafpn", "mpmg")
    computed = reid_seconds(figures, name, reid) + VAL_BOXES / figures.embed_targets[name]
    trial = computed / device.speed + sum(HALVES) * figures.track_frame
    return figures.start + max(longest([trial] * TRIALS, count), TRIALS * figures.tune)


def reid_seconds(figures: Figures, name: str, reid: ReIDTraining) -> float:
    """Seconds of a head's training on one core, which no second device shortens."""
    return reid.epochs * TRAIN_BOXES / figures.train_targets[name]


def head(neck: str, pool: str) -> str:
    """The name in the table of benchmarks/reid.py."""
    names = {("fpn", "gap"): "baseline", ("fpn", "mpmg"): "mpmg", ("fafpn", "gap"): "fafpn"}
    names |= {("fafpn", "mpmg"): "finetrack", ("fafpn_nofam", "gap"): "fafpn-nofam"}
    return names.get((neck, pool), "finetrack-nofam")


def longest(pieces: Sequence[float], count: int) -> float:
    """Seconds until the last of the devices is done, if each takes the longest piece left."""
    busy = [0.0] * count
    for piece in sorted(pieces, reverse=True):
        heapq.heapreplace(busy, busy[0] + piece)
    return max(busy)


def with_efficiency(rows: pd.DataFrame) -> pd.DataFrame:
    """Hours instead of seconds, and what share of so many devices is put to use."""
    first = rows.groupby(["work", "speed"])["all"].transform("first")
    efficiency = 100 * first / (rows["all"] * rows["devices"])
    seconds = rows.columns.difference(["work", "speed", "devices"])
    return rows.assign(**{name: rows[name] / 3600 for name in seconds}).assign(**{"efficiency_%": efficiency})


if __name__ == "__main__":
    main()
