"""Images a second of YOLOX-nano on one CPU thread, and what reading costs a training step.

    OMP_NUM_THREADS=1 python -m benchmarks.detector [--steps 20] [--out benchmarks/results/detector.parquet]

Training and inference at 256x448, batches of 8, in CPU time of the thread. Reading in CPU time too: frames of the
synthetic world, and 1920x1080 JPEG frames read whole, at half size by the decoder, and from a cache of frames already
scaled to the network's input. The share of a step that waits for data, with one prefetching thread, is wall time: it
needs a machine with two free cores.
"""

import argparse
import dataclasses
import itertools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pipeline import params
from pipeline.data.augmentation import Augmentation, Sample, augment
from pipeline.data.frames import letterbox, network_input, read_image
from pipeline.data.layout import Data, read_layout
from pipeline.data.synthetic import World, names, render_sequence
from pipeline.losses.detection import detection_loss
from pipeline.models.darknet import Size
from pipeline.models.yolox import YOLOX
from pipeline.training.detector import DetectorTraining, TrainingImages, training_batches
from pipeline.training.ema import Ema
from pipeline.training.worker import Worker

BATCH, HEIGHT, WIDTH = 8, 256, 448
FULL_HD = (1080, 1920)
PEOPLE = 22  # a frame, as in MOT17
MEMORY = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

Row = dict[str, object]


def main() -> None:
    """Measure everything, write the table and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/detector.parquet"))
    arguments = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("OMP_NUM_THREADS is not 1; CPU time of one thread means nothing then. Set it.")
    cv2.setNumThreads(1)

    with tempfile.TemporaryDirectory() as folder:
        rows = [*network_rows(arguments.steps), *reading_rows(Path(folder), arguments.steps)]
    table = pd.DataFrame(rows)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(arguments.out, index=False)
    print(table.to_string(index=False, float_format="{:.3g}".format))


def network_rows(steps: int) -> list[Row]:
    """Images a second of training and inference, by memory format and with or without folded BatchNorm."""
    pixels, labels = torch.rand(BATCH, 3, HEIGHT, WIDTH), people(BATCH, HEIGHT, WIDTH)
    rows = []
    for memory, format_ in MEMORY.items():
        images = pixels.contiguous(memory_format=format_)
        step = training_step("nano", torch.device("cpu"), format_)
        rows.append(speed(f"training, {memory}", lambda step=step, images=images: step(images, labels), steps))
        model = YOLOX.build("nano").eval()
        for name, network in (("", model), (", fused", model.fused())):
            run = inference(network.to(memory_format=format_), images)
            rows.append(speed(f"inference, {memory}{name}", run, steps))
    return rows


def reading_rows(folder: Path, steps: int) -> list[Row]:
    """What making samples costs, and the share of a training step that waits for them."""
    synthetic, full = synthetic_images(folder / "synthetic"), full_hd_images(folder / "full")
    cached = resized(full, folder / "cached")
    halved = HalfDecoded(full.paths, [boxes / 2 for boxes in full.boxes])
    rows = []
    kinds = {"synthetic": synthetic, "1080p": full, "1080p at half size": halved, "1080p resized cache": cached}
    for kind, images in kinds.items():
        for way, probability in (("single", 0.0), ("mosaic", 1.0)):
            augmentation = Augmentation(mosaic_probability=probability)
            spent = sample_seconds(images, augmentation, steps)
            rows.append({"measure": f"making a sample: {kind}, {way}", "value": 1e3 * spent, "unit": "CPU ms"})
            share = waiting_share(images, augmentation, steps)
            rows.append({"measure": f"waiting for data: {kind}, {way}", "value": 100 * share, "unit": "% of a step"})
    return [*rows, *decode_rows(full, steps)]


def decode_rows(images: TrainingImages, steps: int) -> list[Row]:
    """The parts of a 1080p sample for YOLOX-x: reading it, fitting it to 800x1440, making it network input."""
    path, frame = images.paths[0], read_image(images.paths[0])
    fitted = letterbox(frame, (800, 1440))[0]
    parts: dict[str, Callable[[], object]] = {
        "reading 1080p": lambda: read_image(path),
        "fitting 1080p to 800x1440": lambda: letterbox(frame, (800, 1440)),
        "network input of 800x1440": lambda: network_input(fitted, "bytetrack"),
        "mosaic of 1080p at 800x1440": lambda: augment(
            0,
            load=images.load,
            count=len(images.paths),
            size=(800, 1440),
            settings=Augmentation(),
            rng=np.random.default_rng(0),
        ),
    }
    return [{"measure": name, "value": 1e3 * cpu_seconds(run, steps), "unit": "CPU ms"} for name, run in parts.items()]


def training_step(size: Size, device: torch.device, memory: torch.memory_format) -> Callable[[Tensor, Tensor], None]:
    """A step of the detector's training as `pipeline.training.detector` takes it, on images and labels."""
    model = YOLOX.build(size).to(device, memory_format=memory)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, nesterov=True)
    ema = Ema(model)

    def step(pixels: Tensor, labels: Tensor) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            levels = model.raw(pixels.to(device, memory_format=memory))
        levels = tuple(level.float() for level in levels)
        loss = detection_loss(
            levels, labels.to(device), strides=model.strides, use_l1=False, assignment="bytetrack"
        ).total
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        ema.update(model)

    return step


def inference(network: YOLOX, images: Tensor) -> Callable[[], Tensor]:
    """A pass of the network without gradients."""

    def run() -> Tensor:
        with torch.inference_mode():
            return network(images)

    return run


def people(batch: int, height: int, width: int) -> Tensor:
    """Labels of as many people an image as MOT17 has, padded as in training."""
    random = torch.Generator().manual_seed(0)
    labels = torch.zeros(batch, 60, 5)
    place, size = torch.rand(2, batch, PEOPLE, 2, generator=random)
    labels[:, :PEOPLE, 1:3] = place * torch.tensor([width, height])
    labels[:, :PEOPLE, 3:] = (0.02 + 0.1 * size) * torch.tensor([width, 3 * height])
    return labels


def speed(name: str, run: Callable[[], object], steps: int) -> Row:
    """Images a second of CPU time of a run on one batch."""
    return {"measure": name, "value": BATCH / cpu_seconds(run, steps), "unit": "images/s"}


def cpu_seconds(run: Callable[[], object], repeats: int) -> float:
    """Median CPU seconds of this thread that a run takes, after one to warm up."""
    run()
    spent = []
    for _ in range(repeats):
        start = time.thread_time()
        run()
        spent.append(time.thread_time() - start)
    return float(np.median(spent))


def sample_seconds(images: TrainingImages, augmentation: Augmentation, repeats: int) -> float:
    """CPU seconds that reading, varying and converting an image takes, the median of different ones."""
    numbers = itertools.count()

    def make() -> None:
        number = next(numbers)
        rng, index = np.random.default_rng(number), number % len(images.paths)
        sample = augment(
            index, load=images.load, count=len(images.paths), size=(HEIGHT, WIDTH), settings=augmentation, rng=rng
        )
        network_input(sample.image, "bytetrack")

    return cpu_seconds(make, repeats)


def waiting_share(images: TrainingImages, augmentation: Augmentation, steps: int) -> float:
    """The share of wall time of training steps in which the next batch was not ready."""
    settings = dataclasses.replace(
        params.section("synthetic", "detector", DetectorTraining),
        input_size=(HEIGHT, WIDTH),
        batch=BATCH,
        augmentation=augmentation,
    )
    rounds = -(-BATCH * (steps + 1) // len(images.paths))
    enough = dataclasses.replace(images, paths=rounds * list(images.paths), boxes=rounds * list(images.boxes))
    step = training_step("nano", torch.device("cpu"), torch.channels_last)
    batches = training_batches(Worker(), enough, settings, 0, plain=False)
    step(*next(batches))
    waited, start = 0.0, time.perf_counter()
    for _ in range(steps):
        asked = time.perf_counter()
        pixels, labels = next(batches)
        waited += time.perf_counter() - asked
        step(pixels, labels)
    share = waited / (time.perf_counter() - start)
    batches.close()
    return share


class HalfDecoded(TrainingImages):
    """Images whose JPEG decoder is told to give half the size; boxes are in pixels of that."""

    def load(self, index: int) -> Sample:
        """Read one image at half its size with its boxes."""
        image = cv2.imread(str(self.paths[index]), cv2.IMREAD_REDUCED_COLOR_2)
        return Sample(np.asarray(image, dtype=np.uint8), self.boxes[index])


def synthetic_images(folder: Path) -> TrainingImages:
    """Frames of a small synthetic world, read through the pipeline's own reader."""
    world = World(sequences=1, dances=0, frames=30)
    render_sequence(world, names(world)[0], folder / "train")
    data = dataclasses.replace(params.section("synthetic", "data", Data), halves=False, evaluate=("train",))
    layout = read_layout(folder, data)
    return TrainingImages.of_splits(("train",), layout.frames, layout.ground_truth)


def full_hd_images(folder: Path, count: int = 12) -> TrainingImages:
    """JPEG frames of 1920x1080 with detail and noise: some 0.8 MB each, more than MOT17's 0.2 MB."""
    folder.mkdir(parents=True)
    rng, paths, boxes = np.random.default_rng(0), [], []
    for number in range(count):
        blobs = rng.integers(0, 256, (68, 120, 3), dtype=np.uint8)
        frame = cv2.resize(blobs, FULL_HD[::-1], interpolation=cv2.INTER_CUBIC) + rng.normal(0, 6, (*FULL_HD, 1))
        paths.append(folder / f"{number:06d}.jpg")
        cv2.imwrite(str(paths[-1]), frame.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])
        corner = rng.uniform((0, 0), (1800, 700), (PEOPLE, 2))
        boxes.append(np.concatenate([corner, corner + rng.uniform((30, 80), (120, 380), (PEOPLE, 2))], axis=1))
    return TrainingImages(paths, boxes)


def resized(images: TrainingImages, folder: Path) -> TrainingImages:
    """The same images as a cache would hold them: scaled to the network's input, as JPEG."""
    folder.mkdir(parents=True)
    paths, boxes = [], []
    for path, found in zip(images.paths, images.boxes, strict=True):
        frame, ratio = letterbox(read_image(path), (HEIGHT, WIDTH))
        paths.append(folder / path.name)
        cv2.imwrite(str(paths[-1]), frame, [cv2.IMWRITE_JPEG_QUALITY, 95])
        boxes.append(found * ratio)
    return TrainingImages(paths, boxes)


if __name__ == "__main__":
    main()
