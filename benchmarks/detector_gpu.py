"""What share of a GPU's measured bf16 matrix rate YOLOX reaches, and what the Re-ID head adds to it.

    python3 -m benchmarks.detector_gpu [--seconds 3] [--profile] [--out benchmarks/results/detector_gpu.parquet]
    python3 -m benchmarks.detector_gpu --device cpu --size nano --input 64 96      # a trial without a GPU

Inference in bf16, batch 1 and 8, as it is, compiled and compiled into CUDA graphs; training in mixed precision; a
thread's and eight threads' mosaics of 1080p frames, which training needs as many of; the Re-ID head at 22 and 127
targets a frame (MOT17's and MOT20's), and its memory at 1,000. Needs neither Ray nor DVC. `--profile` prints the
kernels that inference at batch 8 spends its time in.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.detector import Row, full_hd_images, inference, people, training_step
from pipeline.data.augmentation import Augmentation, augment
from pipeline.data.frames import network_input
from pipeline.data.prefetch import prefetched_map
from pipeline.inference.features import Features, target_features
from pipeline.models.darknet import SIZES, Size
from pipeline.models.reid import FineTrackReID, ReIDHead
from pipeline.models.yolox import YOLOX, level_channels

BATCHES = (1, 8)
TARGETS = (22, 127)
CROWD = 1000
MATRIX = 8192  # rows of the square matrices whose product is the ceiling
WAYS = {"eager": None, "compiled": "default", "graphs": "reduce-overhead"}


def main() -> None:
    """Measure everything, write the table and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--size", choices=tuple(SIZES), default="x")
    parser.add_argument("--input", type=int, nargs=2, default=(800, 1440), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--train-batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each timing")
    parser.add_argument("--eager", action="store_true", help="compile nothing")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/detector_gpu.parquet"))
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device. Run on a machine with an NVIDIA GPU, or try --device cpu --size nano.")

    bench = Bench(torch.device(arguments.device), arguments.size, tuple(arguments.input), arguments.seconds)
    print(f"{bench.name}, torch {torch.__version__}, YOLOX-{bench.size} at {bench.input[0]}x{bench.input[1]}")
    rows = []
    for row in bench.rows(("eager",) if arguments.eager else tuple(WAYS), arguments.train_batch):
        print(f"{row['measure']:<60} {row['value']:10.4g} {row['unit']}", flush=True)
        rows.append({**row, "device": bench.name, "size": bench.size})
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(arguments.out, index=False)
    if arguments.profile:
        bench.profile()


class Bench:
    """One device, one model size and input; every figure is of whole runs with the device's queue drained."""

    def __init__(self, device: torch.device, size: Size, image: tuple[int, int], seconds: float):
        self.device, self.size, self.input, self.budget = device, size, image, seconds
        self.name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"

    def rows(self, ways: tuple[str, ...], train_batch: int) -> Iterator[Row]:
        """Every figure, as soon as it is there."""
        rate = self.matrix_rate(MATRIX if self.device.type == "cuda" else 512)
        flops = frame_flops(self.size, self.input)
        yield {"measure": "bf16 matrix product", "value": rate / 1e12, "unit": "TFLOP/s"}
        yield {"measure": "a frame", "value": flops / 1e9, "unit": "GFLOP"}
        for batch in BATCHES:
            for way in ways:
                speed = batch / self.spent(self.network(batch, way))
                yield {"measure": f"inference, batch {batch}, {way}", "value": speed, "unit": "images/s"}
                yield {"measure": f"inference, batch {batch}, {way}", "value": 100 * speed * flops / rate, "unit": "%"}
        speed = train_batch / self.spent(self.training(train_batch))
        yield {"measure": f"training, batch {train_batch}", "value": speed, "unit": "images/s"}
        yield {"measure": f"training, batch {train_batch}", "value": 100 * 3 * speed * flops / rate, "unit": "%"}
        yield from self.mosaic_rows()
        yield from self.reid_rows()

    def matrix_rate(self, rows: int) -> float:
        """Operations a second of a product of two square random bf16 matrices."""
        a, b = torch.randn(2, rows, rows, device=self.device, dtype=torch.bfloat16)
        return 2 * rows**3 / self.spent(lambda: a @ b)

    def network(self, batch: int, way: str) -> Callable[[], object]:
        """A pass of the fused network in bf16."""
        network = self.model().fused().to(torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if WAYS[way] is not None:
            network = torch.compile(network, mode=WAYS[way], dynamic=False)
        return inference(network, self.images(batch).to(torch.bfloat16))

    def training(self, batch: int) -> Callable[[], object]:
        """A step of training in mixed precision."""
        images, labels = self.images(batch), people(batch, *self.input).to(self.device)
        return partial(training_step(self.size, self.device, torch.channels_last), images, labels)

    def mosaic_rows(self) -> Iterator[Row]:
        """Samples a second that threads make of 1080p frames; training waits where it takes more."""
        with tempfile.TemporaryDirectory() as folder:
            images = full_hd_images(Path(folder) / "frames")

            def make(number: int) -> None:
                rng, count = np.random.default_rng(number), len(images.paths)
                settings = Augmentation()
                sample = augment(
                    number % count, load=images.load, count=count, size=self.input, settings=settings, rng=rng
                )
                network_input(sample.image, "bytetrack")

            for threads in (1, 8):
                start, made = time.perf_counter(), 0
                stream = prefetched_map(make, range(10**9), threads=threads)
                while time.perf_counter() - start < self.budget:
                    next(stream)
                    made += 1
                speed = made / (time.perf_counter() - start)
                stream.close()
                yield {"measure": f"mosaics of 1080p, {threads} threads", "value": speed, "unit": "images/s"}

    @torch.inference_mode()
    def reid_rows(self) -> Iterator[Row]:
        """Features of a frame's targets and the Re-ID head on them, beside the detector on that frame."""
        model, image, settings = self.model().eval(), self.images(1), Features()
        head = FineTrackReID(ReIDHead(), tuple(level_channels(level, self.size) for level in settings.levels))
        head.eval().to(self.device)
        frame = self.spent(partial(model, image))
        yield {"measure": "detector, float32, batch 1", "value": 1e3 * frame, "unit": "ms"}
        for targets in TARGETS:
            features = self.features(model, image, targets, settings)
            parts = {"maps and features": features, "Re-ID head": partial(head, features())}
            for name, run in parts.items():
                spent = self.spent(run)
                yield {"measure": f"{name}, {targets} targets", "value": 1e3 * spent, "unit": "ms"}
                yield {"measure": f"{name}, {targets} targets", "value": 100 * spent / frame, "unit": "% of detector"}
        if self.device.type == "cuda":
            yield {"measure": f"Re-ID head, {CROWD} targets", "value": self.crowd_memory(head, model), "unit": "GiB"}

    def crowd_memory(self, head: FineTrackReID, model: YOLOX) -> float:
        """GiB that the head takes beyond weights and features of 1,000 targets."""
        features = self.features(model, self.images(1), CROWD, Features())()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        head(features)
        return (torch.cuda.max_memory_allocated() - before) / 2**30

    def features(
        self, model: YOLOX, image: torch.Tensor, targets: int, settings: Features
    ) -> Callable[[], tuple[torch.Tensor, ...]]:
        """The features of as many targets of one image."""
        rng, (height, width) = np.random.default_rng(0), self.input
        corner = rng.uniform((0, 0), (0.9 * width, 0.7 * height), (targets, 2))
        boxes = np.concatenate([corner, corner + rng.uniform((20, 50), (90, 280), (targets, 2))], axis=1)
        where = torch.from_numpy(boxes.astype(np.float32)).to(self.device)
        index = torch.zeros(targets, dtype=torch.int64, device=self.device)
        return partial(target_features, model, image, where, index, settings)

    def model(self) -> YOLOX:
        """The detector on the device, with fresh weights."""
        return YOLOX.build(self.size).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def images(self, batch: int) -> torch.Tensor:
        """Network input of random numbers: zeros would let the card run faster than pictures do."""
        images = torch.randn(batch, 3, *self.input, device=self.device)
        return images.contiguous(memory_format=torch.channels_last)

    def spent(self, run: Callable[[], object]) -> float:
        """Seconds of a run, the mean of as many as fit the budget, after three to warm up."""
        for _ in range(3):
            run()
        once = self.timed(run, 1)
        repeats = max(int(self.budget / once), 1)
        return self.timed(run, repeats) / repeats

    def timed(self, run: Callable[[], object], repeats: int) -> float:
        """Seconds until the device has finished all runs."""
        self.drain()
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        self.drain()
        return time.perf_counter() - start

    def drain(self) -> None:
        """Wait until the device has done what it was asked."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def profile(self) -> None:
        """Print the kernels that inference at batch 8 spends its time in, and what training does."""
        for name, run in (("inference", self.network(8, "eager")), ("training", self.training(8))):
            run()
            with torch.profiler.profile() as recorded:
                run()
                self.drain()
            by = f"self_{self.device.type}_time_total".replace("cuda", "device")
            print(f"\n{name}, batch 8\n{recorded.key_averages().table(sort_by=by, row_limit=12)}")


def frame_flops(size: Size, image: tuple[int, int]) -> float:
    """Operations of one image's pass: two for each multiplication of a convolution with its addition."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        YOLOX.build(size)(torch.zeros(1, 3, *image))
    return float(counter.get_total_flops())


if __name__ == "__main__":
    main()
