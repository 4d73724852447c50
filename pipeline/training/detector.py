"""Train YOLOX as ByteTrack does (section 4.1: "consistent with ByteTrack"), restartable after any epoch."""

import dataclasses
import itertools
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline import tables
from pipeline.data import frames
from pipeline.data.augmentation import Augmentation, Sample, augment, to_labels
from pipeline.data.frames import InputConvention
from pipeline.data.prefetch import prefetched_map
from pipeline.losses.detection import DetectionLoss, detection_loss
from pipeline.models.checkpoint import load_checkpoint
from pipeline.models.darknet import Size
from pipeline.models.folder import save_model
from pipeline.models.yolox import YOLOX, is_folded, unfold
from pipeline.training import checkpoint
from pipeline.training.ema import Ema
from pipeline.training.schedule import yolox_warm_cosine
from pipeline.training.worker import Worker, refuse_uneven

_RESIZE_EVERY = 10  # steps between sizes, yolox/core/trainer.py of ifzhang/ByteTrack@d1bf019
# A thread makes about seven mosaics of 1080p frames a second (benchmarks/detector.py), a GPU takes dozens. Where the
# CPU trains as well, one thread keeps up.
_THREADS = {"cuda": 8}
_STATISTICS_IMAGES = 128  # from which BatchNorm's statistics are taken, where initial weights have none


@dataclass(frozen=True)
class DetectorTraining:
    """How the detector is trained; ByteTrack's values are params.yaml's shared ones.

    `input_size` is (height, width) in pixels, `random_size` a range of heights in units of 32 pixels or none for a
    fixed size; `plain_epochs` at the end are without mosaic, mixup and affine and with the L1 term; `batch` images make
    a step, over all workers; the learning rate peaks at `rate_per_image * batch`. `sum_foregrounds` divides the loss by
    the foreground anchors of all workers; the original divides by each GPU's own. `freeze_statistics` keeps BatchNorm
    as in the initial weights.
    """

    size: Size
    convention: InputConvention
    input_size: tuple[int, int]
    random_size: tuple[int, int] | None
    epochs: int
    warmup_epochs: int
    plain_epochs: int
    batch: int
    rate_per_image: float
    minimum_ratio: float
    momentum: float
    weight_decay: float
    ema_decay: float
    assignment: Literal["bytetrack", "megvii"]
    sum_foregrounds: bool
    freeze_statistics: bool
    max_objects: int
    seed: int
    augmentation: Augmentation

    def __post_init__(self) -> None:
        if self.input_size[0] % 32 or self.input_size[1] % 32:
            raise ValueError(f"input_size {self.input_size}: expected multiples of 32. Correct it.")
        if not 0 <= self.warmup_epochs + self.plain_epochs <= self.epochs or self.epochs < 1 or self.batch < 1:
            raise ValueError(
                f"epochs {self.epochs}, warmup_epochs {self.warmup_epochs}, plain_epochs {self.plain_epochs}, batch "
                f"{self.batch}: expected at least one epoch and image, room for warm-up and plain epochs. Correct them."
            )


@dataclass(frozen=True)
class TrainingImages:
    """Image files and the boxes to find in each, (objects, 4) x1 y1 x2 y2 pixels of the original image."""

    paths: Sequence[Path]
    boxes: Sequence[Float[np.ndarray, "_ 4"]]

    @classmethod
    def of_splits(cls, splits: tuple[str, ...], frames: pa.Table, ground_truth: pa.Table) -> "TrainingImages":
        """The images of some splits with their considered pedestrians (tables.FRAMES, tables.GROUND_TRUTH)."""
        people = ground_truth.filter(pc.and_(ground_truth["considered"], pc.equal(ground_truth["category"], 1)))
        boxes = {key: tables.boxes(part) for key, part in tables.groups(people, "split", "sequence", "frame").items()}
        images = [row for row in frames.to_pylist() if row["split"] in splits]
        none = np.zeros((0, 4))
        keys = [(row["split"], row["sequence"], row["frame"]) for row in images]
        return cls([Path(row["path"]) for row in images], [boxes.get(key, none) for key in keys])

    def load(self, index: int) -> Sample:
        """Read one image with its boxes.

        Raises:
            ValueError: the image cannot be read.
        """
        return Sample(frames.read_image(self.paths[index]), self.boxes[index])


def train_detector(
    worker: Worker, *, images: TrainingImages, settings: DetectorTraining, initial: Path | None, folder: Path
) -> None:
    """Train to the end and write `folder/model`; `folder` also holds the checkpoint of every finished epoch.

    Called again after a kill, it goes on after the last finished epoch and ends with the same weights. The result
    holds the EMA weights, which are what ByteTrack evaluates. `initial` may be a COCO checkpoint: layers for other
    classes are left as built. If its BatchNorms were folded away, they get the training images' statistics first.

    Deviation: the weights of the last epoch are kept. The original evaluates during training and keeps those with the
    best AP50; on the halves that are scored here this would choose the detector by the data that judges it.

    Raises:
        ValueError: the workers cannot share a batch, fewer images than a batch, an unreadable image, or a loss or
            gradient that is not finite (the step is named); nothing that was finished is overwritten.
    """
    refuse_uneven(settings.batch, worker.world, what="detector.batch")
    steps = len(images.paths) // settings.batch
    if steps == 0:
        raise ValueError(
            f"detector.batch: {settings.batch}, expected at most {len(images.paths)}, the training images. Lower it."
        )
    worker.bring(folder)
    torch.manual_seed(settings.seed)
    model = YOLOX.build(settings.size)
    model.to(worker.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = checkpoint.latest(folder)
    if initial is not None:
        load_checkpoint(model, initial, strict=False)
        if state is None and is_folded(model):
            unfold(model, _plain_images(worker, images, settings))
    optimizer = _optimizer(model, settings)
    ema = Ema(model, decay=settings.ema_decay)
    curve: list[dict[str, float]] = []
    if state is not None:
        tensors, card = state
        model.load_state_dict(tensors["model"])
        checkpoint.restore_optimizer(optimizer, tensors.get("optimizer", {}))
        ema.load(tensors["ema"], updates=card["ema_updates"])
        curve = card["curve"]
    run = _Run(worker, images, settings, steps, model, worker.wrap(_Raw(model)), optimizer, ema)
    for epoch in range(len(curve), settings.epochs):
        row = _epoch(run, epoch)
        curve.append(row)
        if worker.rank == 0:
            checkpoint.save(
                folder,
                epoch + 1,
                model,
                optimizer,
                ema=ema.state_dict(),
                ema_updates=ema.updates,
                curve=curve,
            )
            worker.keep(folder)
            worker.tell("detector", epoch + 1, settings.epochs, f"loss {row['total']:.2f}")
    if worker.rank == 0:
        save_model(folder / "model", ema.state_dict(), _card(settings, initial, curve))
        worker.keep(folder)


@dataclass(frozen=True)
class _Run:
    """What every epoch of a training works on."""

    worker: Worker
    images: TrainingImages
    settings: DetectorTraining
    steps: int
    model: YOLOX
    parallel: nn.Module
    optimizer: torch.optim.Optimizer
    ema: Ema


class _Raw(nn.Module):
    """The detector's raw predictions as a forward pass, which is what data parallelism wraps."""

    def __init__(self, model: YOLOX) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.model.raw(images)


def _epoch(run: _Run, epoch: int) -> dict[str, float]:
    """Take every step of an epoch; the result is the epoch's row of the loss curve, means over steps and workers."""
    worker, settings = run.worker, run.settings
    run.parallel.train()
    if settings.freeze_statistics:
        _freeze_statistics(run.model)
    plain = epoch >= settings.epochs - settings.plain_epochs
    sums: dict[str, Tensor] = {}
    batches = training_batches(worker, run.images, settings, epoch, plain=plain)
    for step, (pixels, labels) in enumerate(batches):
        rate = _rate(settings, epoch * run.steps + step, run.steps)
        loss = _loss(run, pixels, labels, use_l1=plain)
        _step(run, loss.total, rate, where=f"epoch {epoch + 1}, step {step + 1}")
        for name, value in vars(loss).items():
            sums[name] = sums.get(name, 0) + value.detach()
    means = {name: float(worker.total(value).item()) / worker.world / run.steps for name, value in sums.items()}
    return {"epoch": float(epoch + 1), "rate": rate, **means}


def _loss(run: _Run, pixels: Tensor, labels: Tensor, *, use_l1: bool) -> DetectionLoss:
    worker = run.worker
    pixels = pixels.to(worker.device, memory_format=torch.channels_last)
    with torch.autocast(worker.device.type, torch.bfloat16, enabled=worker.device.type == "cuda"):
        levels = run.parallel(pixels)
    return detection_loss(
        tuple(level.float() for level in levels),
        labels.to(worker.device),
        strides=run.model.strides,
        use_l1=use_l1,
        assignment=run.settings.assignment,
        # Gradients are averaged over the workers, so each divides by its share of all foreground anchors.
        divisor=(lambda n: worker.total(n).clamp(min=1) / worker.world) if run.settings.sum_foregrounds else None,
    )


def _step(run: _Run, loss: Tensor, rate: float, *, where: str) -> None:
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    # After backward, so that all workers stop at once: their averaged gradients are the same.
    norm = nn.utils.get_total_norm([p.grad for p in run.model.parameters() if p.grad is not None])
    if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
        raise ValueError(
            f"detector: loss {loss.item()}, its gradient's norm {norm.item()} in {where}, expected finite numbers. "
            f"Lower detector.rate_per_image ({run.settings.rate_per_image:g}); finished epochs are kept."
        )
    run.optimizer.step()
    run.ema.update(run.model)


def _rate(settings: DetectorTraining, step: int, steps: int) -> float:
    return yolox_warm_cosine(
        step,
        steps_per_epoch=steps,
        epochs=settings.epochs,
        warmup_epochs=settings.warmup_epochs,
        flat_epochs=settings.plain_epochs,
        peak=settings.rate_per_image * settings.batch,
        minimum_ratio=settings.minimum_ratio,
    )


def training_batches(
    worker: Worker, images: TrainingImages, settings: DetectorTraining, epoch: int, *, plain: bool
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """This rank's share of each step of an epoch: network input and labels, made ahead in threads.

    Every sample depends on (seed, epoch, its place in the epoch) only, neither on the workers nor on the threads.
    `plain` leaves out mosaic, mixup and affine.
    """
    augmentation = settings.augmentation
    if plain:
        augmentation = dataclasses.replace(augmentation, mosaic_probability=0.0, affine_probability=0.0)
    order = np.random.default_rng([settings.seed, epoch]).permutation(len(images.paths))
    steps = len(images.paths) // settings.batch

    def batch(step: int) -> tuple[Tensor, Tensor]:
        size = _size(settings, epoch * steps + step)
        pixels, labels = [], []
        for place in range(step * settings.batch + worker.rank, (step + 1) * settings.batch, worker.world):
            rng = np.random.default_rng([settings.seed, epoch, place])
            index, count = int(order[place]), len(images.paths)
            sample = augment(index, load=images.load, count=count, size=size, settings=augmentation, rng=rng)
            pixels.append(torch.from_numpy(frames.network_input(sample.image, settings.convention)))
            labels.append(torch.from_numpy(to_labels(sample, settings.max_objects)))
        return torch.stack(pixels), torch.stack(labels)

    threads = _THREADS.get(worker.device.type, 1)
    yield from prefetched_map(batch, range(steps), threads=threads, ahead=threads + 1)


def _plain_images(worker: Worker, images: TrainingImages, settings: DetectorTraining) -> Iterator[Tensor]:
    """Batches of training images without mosaic, the same on every worker."""
    alone = Worker(device=worker.device)
    batches = training_batches(alone, images, settings, 0, plain=True)
    for pixels, _ in itertools.islice(batches, -(-_STATISTICS_IMAGES // settings.batch)):
        yield pixels.to(worker.device, memory_format=torch.channels_last)
    batches.close()


def _size(settings: DetectorTraining, step: int) -> tuple[int, int]:
    """The (height, width) of a step's images: the same on every worker, changed every few steps."""
    if settings.random_size is None:
        return settings.input_size
    low, high = settings.random_size
    units = int(np.random.default_rng([settings.seed, 1, step // _RESIZE_EVERY]).integers(low, high + 1))
    return 32 * units, 32 * int(units * settings.input_size[1] / settings.input_size[0])


def _optimizer(model: nn.Module, settings: DetectorTraining) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum; only weights of convolutions decay, not BatchNorm's and not biases."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            is_decayed = name == "weight" and not isinstance(module, nn.BatchNorm2d)
            (decayed if is_decayed else plain).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=0.0, momentum=settings.momentum, nesterov=True)


def _freeze_statistics(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _card(settings: DetectorTraining, initial: Path | None, curve: list[dict[str, float]]) -> dict[str, Any]:
    return {
        "kind": "yolox",
        "size": settings.size,
        "classes": 1,
        "convention": settings.convention,
        "input_size": list(settings.input_size),
        "person_class": 0,
        "initial": initial.name if initial else None,
        "training": dataclasses.asdict(settings),
        "curve": curve,
    }
