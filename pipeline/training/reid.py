"""Train FineTrack's Re-ID head on stored features of the frozen detector (section 3.4), restartable after any epoch."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.data import samplers
from pipeline.data.samplers import Group
from pipeline.data.store import SequenceFeatures
from pipeline.fingerprint import fingerprint
from pipeline.losses.reid import ReIDLoss, ReIDLossWeights, reid_loss
from pipeline.models.folder import save_model
from pipeline.models.reid import Classifiers, FineTrackReID, ReIDHead
from pipeline.sources import code_digest
from pipeline.training import checkpoint
from pipeline.training.schedule import stepped
from pipeline.training.worker import Worker


@dataclass(frozen=True)
class Variant:
    """A row of the paper's ablations: neck and pooling (Tables 4 and 5) and sampling (Table 3).

    `sampler: none` leaves the head as built: the control that training must beat.
    """

    neck: Literal["fpn", "fafpn_nofam", "fafpn"]
    pool: Literal["gap", "mpmg"]
    sampler: Literal["sgs", "shuffle", "sequential", "none"]


@dataclass(frozen=True)
class ReIDTraining:
    """The Re-ID head and how it is trained (section 4.1), for all variants and seeds of an experiment.

    Adam starts at `rate` and goes on with `rate * rate_factor` from 0-based epoch `milestone`; `group_size` frames make
    a batch.
    """

    channels: int
    mask_per_head: int
    parts: int
    part_dim: int
    global_dim: int
    rectify: bool
    chunk: int
    loss: ReIDLossWeights
    epochs: int
    group_size: int
    rate: float
    rate_factor: float
    milestone: int
    seeds: tuple[int, ...]
    variants: dict[str, Variant]

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.group_size < 1 or not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(
                f"epochs {self.epochs}, group_size {self.group_size}, seeds {list(self.seeds)}: expected at least one "
                "epoch, frame and seed, no seed twice. Correct them."
            )

    def head(self, variant: Variant) -> ReIDHead:
        """The network of a variant."""
        shared = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(ReIDHead) if hasattr(self, field.name)
        }
        return ReIDHead(neck=variant.neck, pool=variant.pool, **shared)


@dataclass(frozen=True)
class ReIDRun:
    """One training: a variant with a seed, and the folder of its checkpoints and its finished `model`."""

    name: str
    variant: Variant
    seed: int
    folder: Path

    @property
    def model(self) -> Path:
        """Where the finished model folder is."""
        return self.folder / "model"


def runs_of(settings: ReIDTraining, stores: Mapping[str, Path], folder: Path) -> list[ReIDRun]:
    """Every variant with every seed; each run's folder is named for all that its result depends on.

    `stores` names the feature file of each training sequence, whose folder is named for what it holds.
    """
    shared = {name: value for name, value in vars(settings).items() if name not in ("variants", "seeds")}
    shared |= {"stores": {name: str(path) for name, path in stores.items()}}
    shared |= {"code": code_digest("pipeline.training.reid")}
    return [
        ReIDRun(name, variant, seed, folder / fingerprint(variant=variant, seed=seed, **shared))
        for name, variant in settings.variants.items()
        for seed in settings.seeds
    ]


def train_runs(worker: Worker, *, runs: Sequence[ReIDRun], stores: Mapping[str, Path], settings: ReIDTraining) -> None:
    """Train this worker's share of the runs, heaviest first: a step is one group, which one worker takes.

    Raises:
        ValueError: at least one run failed; each is named with its error, all others were finished.
    """
    heaviest_first = sorted(runs, key=_weight, reverse=True)
    failures = []
    for run in heaviest_first[worker.rank :: worker.world]:
        try:
            train_reid(worker, run=run, stores=stores, settings=settings)
        except ValueError as error:
            failures.append(f"{run.name} seed {run.seed}: {error}")
    if failures:
        raise ValueError(f"train_reid: {len(failures)} of {len(runs)} runs failed: " + "; ".join(failures))


def train_reid(worker: Worker, *, run: ReIDRun, stores: Mapping[str, Path], settings: ReIDTraining) -> None:
    """Train one run to the end and write its model folder; called again after a kill, it ends with the same weights.

    `stores` names the feature file of each training sequence. Only the head is saved, not the classifiers.

    Raises:
        ValueError: no identities to train on, or a loss that is not finite (the step is named).
    """
    worker.bring(run.folder)
    if run.model.exists():
        return
    videos = {name: SequenceFeatures(path) for name, path in stores.items()}
    labels = identity_labels(videos)
    if not labels:
        raise ValueError("the train split has no identities, expected annotated people. Check the ground truth.")
    torch.manual_seed(run.seed)
    head = settings.head(run.variant)
    in_channels = tuple(shape[0] for shape in next(iter(videos.values())).shapes)
    model = FineTrackReID(head, in_channels).to(worker.device)
    classifiers = Classifiers(len(labels), head).to(worker.device)
    both = nn.ModuleDict({"model": model, "classifiers": classifiers})
    optimizer = torch.optim.Adam(both.parameters(), lr=settings.rate)
    curve: list[dict[str, float]] = []
    if (state := checkpoint.latest(run.folder)) is not None:
        tensors, card = state
        both.load_state_dict(tensors["model"])
        checkpoint.restore_optimizer(optimizer, tensors.get("optimizer", {}))
        curve = card["curve"]
    epochs = settings.epochs if run.variant.sampler != "none" else 0
    for epoch in range(len(curve), epochs):
        for group in optimizer.param_groups:
            group["lr"] = stepped(
                epoch, initial=settings.rate, factor=settings.rate_factor, milestone=settings.milestone
            )
        groups = _groups(run, {name: video.frames for name, video in videos.items()}, settings.group_size, epoch)
        row = _epoch(
            worker=worker,
            both=both,
            optimizer=optimizer,
            groups=groups,
            videos=videos,
            labels=labels,
            weights=settings.loss,
            epoch=epoch,
        )
        curve.append(row)
        checkpoint.save(run.folder, epoch + 1, both, optimizer, curve=curve)
        worker.keep(run.folder)
        worker.tell(f"{run.name} seed {run.seed}", epoch + 1, epochs, f"loss {row['total']:.2f}")
    card = {"in_channels": list(in_channels), "identities": len(labels), "curve": curve}
    save_model(run.model, model.state_dict(), {**card, **_card(run, head, settings)})
    worker.keep(run.folder)


def identity_labels(videos: Mapping[str, SequenceFeatures]) -> dict[tuple[str, int], int]:
    """Class 0 to M-1 of each (sequence, identity): identities of two sequences are two people."""
    people = {
        (name, int(identity))
        for name, video in videos.items()
        for index in range(video.frames)
        for identity in video.frame(index).identities
    }
    return {person: label for label, person in enumerate(sorted(people))}


def _epoch(
    *,
    worker: Worker,
    both: nn.ModuleDict,
    optimizer: torch.optim.Optimizer,
    groups: Sequence[Group],
    videos: Mapping[str, SequenceFeatures],
    labels: Mapping[tuple[str, int], int],
    weights: ReIDLossWeights,
    epoch: int,
) -> dict[str, float]:
    both.train()
    sums: dict[str, float] = {}
    steps = 0
    for group in groups:
        identities, levels = _read(group, videos, labels, worker.device)
        if len(identities) < 2:
            continue  # BatchNorm has no statistics of a single target
        loss = _step(both, optimizer, identities, levels, weights)
        if not math.isfinite(loss.total.item()):
            raise ValueError(
                f"loss {loss.total.item()} in epoch {epoch + 1}, step {steps + 1}, expected a finite number. "
                "Lower reid.rate; finished epochs are kept."
            )
        steps += 1
        for name, value in vars(loss).items():
            sums[name] = sums.get(name, 0.0) + value.item()
    return {"epoch": float(epoch + 1), **{name: value / max(steps, 1) for name, value in sums.items()}}


def _step(
    both: nn.ModuleDict,
    optimizer: torch.optim.Optimizer,
    identities: Tensor,
    levels: tuple[Tensor, ...],
    weights: ReIDLossWeights,
) -> ReIDLoss:
    embeddings = both["model"](levels)
    loss = reid_loss(embeddings, both["classifiers"](embeddings), identities, weights)
    optimizer.zero_grad(set_to_none=True)
    loss.total.backward()
    optimizer.step()
    return loss


def _read(
    group: Group,
    videos: Mapping[str, SequenceFeatures],
    labels: Mapping[tuple[str, int], int],
    device: torch.device,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    frames = [(name, videos[name].frame(index)) for name, index in group]
    classes = [labels[name, int(identity)] for name, frame in frames for identity in frame.identities]
    shapes = range(len(frames[0][1].levels))
    levels = [np.concatenate([frame.levels[i] for _, frame in frames]) for i in shapes]
    return torch.tensor(classes, device=device), tuple(torch.from_numpy(x).to(device).float() for x in levels)


def _groups(run: ReIDRun, frames: dict[str, int], size: int, epoch: int) -> list[Group]:
    if run.variant.sampler == "sequential":
        return samplers.sequential(frames, size=size)
    sample = samplers.sgs if run.variant.sampler == "sgs" else samplers.shuffle
    return sample(frames, size=size, seed=run.seed, epoch=epoch)


def _weight(run: ReIDRun) -> int:
    """How long a run takes, roughly: masks cost most, then residual blocks (measured in benchmarks/)."""
    if run.variant.sampler == "none":
        return 0
    return 1 + 4 * (run.variant.pool == "mpmg") + 2 * (run.variant.neck != "fpn")


def _card(run: ReIDRun, head: ReIDHead, settings: ReIDTraining) -> dict[str, Any]:
    training = {k: v for k, v in dataclasses.asdict(settings).items() if k not in ("variants", "seeds")}
    return {
        "kind": "reid",
        "sampler": run.variant.sampler,
        "seed": run.seed,
        "head": dataclasses.asdict(head),
        "training": training,
    }
