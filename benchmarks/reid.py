"""What the stored features save, and how fast the Re-ID head of every variant is.

    OMP_NUM_THREADS=1 python -m benchmarks.reid [--steps 5] [--out benchmarks/results/reid.parquet]

CPU time of one thread, in seconds; contenders take turns in each step, so that whatever else the machine does falls on
all alike, and a contender's time is its median. `loop` decodes each image, runs the frozen backbone and cuts out the
targets in every step; `store` reads what was computed once, here from memory (benchmarks/store.py reads the disk).
Weights and pictures are random, which changes no time. An epoch is as long as its frames together, so a step tells it;
`epoch_min` is that of MOT17's first halves.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from pipeline.data import store
from pipeline.data.frames import letterbox, network_input, read_image
from pipeline.inference.features import Features, level_shapes, sequence_features, target_features
from pipeline.losses.reid import ReIDLossWeights, reid_loss
from pipeline.models.reid import Classifiers, FineTrackReID, ReIDHead
from pipeline.models.yolox import YOLOX

IDENTITIES, EPOCH_FRAMES = 300, 2664
VARIANTS = {
    "baseline": ReIDHead("fpn", "gap"),
    "mpmg": ReIDHead("fpn", "mpmg"),
    "fafpn-nofam": ReIDHead("fafpn_nofam", "gap"),
    "fafpn": ReIDHead("fafpn", "gap"),
    "finetrack-nofam": ReIDHead("fafpn_nofam", "mpmg"),
    "finetrack": ReIDHead("fafpn", "mpmg"),
}

Levels = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Scale:
    """A detector with its input, the features and the width of the head; sizes are (height, width) in pixels.

    `frames` make a step, with `targets` in each.
    """

    image: tuple[int, int]
    network: tuple[int, int]
    features: Features
    channels: int
    mask_per_head: int
    frames: int
    targets: int


SCALES = {
    "nano": Scale((256, 448), (192, 320), Features(roi=(16, 8)), channels=48, mask_per_head=8, frames=4, targets=8),
    # One frame a step where training has eight: a frame takes seconds here.
    "x": Scale((1080, 1920), (800, 1440), Features(), channels=256, mask_per_head=32, frames=1, targets=22),
}


def main() -> None:
    """Measure every variant at both sizes, write the table and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", choices=SCALES, default=list(SCALES))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/reid.parquet"))
    arguments = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("OMP_NUM_THREADS is not 1; CPU time of one thread means nothing then. Set it.")

    torch.set_num_threads(1)
    times = pd.DataFrame([row for size in arguments.sizes for row in measure(size, SCALES[size], arguments.steps)])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    times.to_parquet(arguments.out, index=False)
    print(times.to_string(index=False, float_format="{:.4g}".format))


def measure(size: str, scale: Scale, steps: int) -> Iterator[dict[str, object]]:
    """A row a variant: seconds of a step by part, and what follows from them."""
    torch.manual_seed(0)
    detector = YOLOX.build(size).eval().to(memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as folder:
        source = Source(Path(folder), detector, scale)
        runs = {f"train {name}": training(scale, head, source) for name, head in VARIANTS.items()}
        runs |= {f"embed {name}": embedding(scale, head, source) for name, head in VARIANTS.items()}
        seconds = medians({"store": source.stored, "loop": source.in_the_loop, **runs}, steps)
    targets = scale.frames * scale.targets
    for name in VARIANTS:
        head = seconds[f"train {name}"]
        epochs = {where: seconds[where] + head for where in ("store", "loop")}
        yield {
            "size": size,
            "variant": name,
            "train_targets_s": targets / head,
            "embed_targets_s": targets / seconds[f"embed {name}"],
            "read_step_s": seconds["store"],
            "features_step_s": seconds["loop"],
            **{f"{where}_epoch_min": time / scale.frames * EPOCH_FRAMES / 60 for where, time in epochs.items()},
            "times_faster": epochs["loop"] / epochs["store"],
        }


def medians(runs: dict[str, Callable[[], object]], steps: int) -> dict[str, float]:
    """Median CPU seconds of each call, the first of which only warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(steps + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    return {name: float(np.median(spent[1:])) for name, spent in seconds.items()}


class Source:
    """The targets of a step, from a store or from the images."""

    def __init__(self, folder: Path, detector: YOLOX, scale: Scale) -> None:
        self.detector, self.scale = detector, scale
        rng = np.random.default_rng(0)
        self.paths = [folder / f"{number}.jpg" for number in range(scale.frames)]
        for path in self.paths:
            coarse = rng.integers(0, 255, (scale.image[0] // 16, scale.image[1] // 16, 3), dtype=np.uint8)
            cv2.imwrite(str(path), cv2.resize(coarse, scale.image[::-1]))
        low = rng.uniform(0, 0.8, (scale.targets, 2)) * scale.image[::-1]
        self.boxes = np.concatenate([low, low + np.array([0.05, 0.2]) * scale.image[::-1]], axis=1)
        self.shapes = level_shapes(detector, scale.features)
        rows = [np.arange(scale.targets)] * scale.frames
        frames = sequence_features(
            detector,
            self.paths,
            [self.boxes] * scale.frames,
            rows,
            rows,
            settings=scale.features,
            input_size=scale.network,
            convention="bytetrack",
            device=torch.device("cpu"),
        )
        store.write(folder / "a.arrow", self.shapes, frames, half=True)
        self.file = store.SequenceFeatures(folder / "a.arrow")

    def stored(self) -> Levels:
        """Read the targets of all frames."""
        frames = [self.file.frame(index) for index in range(self.scale.frames)]
        joined = (np.concatenate([frame.levels[i] for frame in frames]) for i in range(len(self.shapes)))
        return tuple(torch.from_numpy(level).float() for level in joined)

    @torch.inference_mode()
    def in_the_loop(self) -> Levels:
        """Read every image and compute its targets."""
        return tuple(torch.cat(level) for level in zip(*map(self._computed, self.paths), strict=True))

    def _computed(self, path: Path) -> Levels:
        image, ratio = letterbox(read_image(path), self.scale.network)
        planes = torch.from_numpy(network_input(image, "bytetrack"))[None].contiguous(memory_format=torch.channels_last)
        boxes = torch.from_numpy((self.boxes * ratio).astype(np.float32))
        return target_features(
            self.detector, planes, boxes, torch.zeros(len(boxes), dtype=torch.int64), self.scale.features
        )


def training(scale: Scale, head: ReIDHead, source: Source) -> Callable[[], object]:
    """A step of a variant's training: forward, losses, backward, Adam."""
    head, levels = replace(head, channels=scale.channels, mask_per_head=scale.mask_per_head), source.stored()
    model = FineTrackReID(head, tuple(shape[0] for shape in source.shapes)).train()
    classifiers = Classifiers(IDENTITIES, head)
    optimizer = torch.optim.Adam([*model.parameters(), *classifiers.parameters()], lr=1e-4)
    people = torch.arange(scale.targets).repeat(scale.frames)

    def step() -> None:
        embeddings = model(levels)
        loss = reid_loss(embeddings, classifiers(embeddings), people, ReIDLossWeights())
        optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        optimizer.step()

    return step


def embedding(scale: Scale, head: ReIDHead, source: Source) -> Callable[[], object]:
    """Embedding the targets of a step by a variant."""
    head, levels = replace(head, channels=scale.channels, mask_per_head=scale.mask_per_head), source.stored()
    model = FineTrackReID(head, tuple(shape[0] for shape in source.shapes)).eval()
    return torch.inference_mode()(lambda: model(levels))


if __name__ == "__main__":
    main()
