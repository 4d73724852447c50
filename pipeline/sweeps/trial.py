"""One trial with one seed: train, describe, retrieve, track and score, all in memory but the training's checkpoints."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from pipeline import boxes, tables
from pipeline.data.motchallenge import Results
from pipeline.data.store import SequenceFeatures
from pipeline.evaluation import metrics as tracking_metrics
from pipeline.evaluation.retrieval import retrieval
from pipeline.inference.embed import described
from pipeline.inference.heads import head_of
from pipeline.models.folder import load_model
from pipeline.sweeps.declaration import RETRIEVAL, TRACKING, Sweep
from pipeline.sweeps.material import Embedded, Material, Video, by_video
from pipeline.sweeps.settings import Settings, resolve, tracked_with, trained_with
from pipeline.sweeps.space import Configuration, Value
from pipeline.tracking.sequence import track_sequence
from pipeline.training import checkpoint
from pipeline.training.reid import ReIDRun, ReIDTraining, runs_of, train_reid
from pipeline.training.worker import Worker

Metrics = dict[str, float]


@dataclass(frozen=True, eq=False)
class Study:
    """A sweep with all that its trials need; `experiment` is its section of params.yaml, `folder` keeps its trials."""

    sweep: Sweep
    experiment: Mapping[str, Any]
    material: Material
    folder: Path

    @property
    def epochs(self) -> int:
        """The longest training of a trial."""
        searched = self.sweep.dimensions.get("reid.epochs")
        return max(int(one) for one in (searched.extremes if searched else [self.experiment["reid"]["epochs"]]) if one)


@dataclass(frozen=True)
class Outcome:
    """What a trial ran with, read back from what it made; the epochs that it trained; what it scored."""

    parameters: dict[str, Value]
    epochs: int
    metrics: Metrics


def run_trial(study: Study, asked: Configuration, seed: int, tell: Callable[[Outcome], None] | None = None) -> Outcome:
    """Train and score, or track and score what the experiment itself trained; `tell` hears each epoch's outcome.

    A killed training goes on after its last finished epoch. The outcome's parameters are those of the trained model's
    card and of the tracker; before a training's end those that it was started with.

    Raises:
        ValueError: a stage would refuse, or a searched parameter is not what the trial ran with.
    """
    settings = resolve(study.experiment, study.sweep.variant, asked, where=study.sweep.experiment)
    material = study.material
    if not study.sweep.is_trained:
        return Outcome(
            _read_back(study, asked, settings, {}), 0, _tracking(settings, material, material.embeddings[seed])
        )
    one = replace(settings.reid, variants={study.sweep.variant: settings.row}, seeds=(seed,))
    (run,) = runs_of(one, material.training, material.models)

    def outcome(weights: Mapping[str, Tensor], card: Mapping[str, Any], epochs: int) -> Outcome:
        with torch.random.fork_rng():  # a network is built, between epochs of one that draws from the same numbers
            metrics = _metrics(weights, card, settings, study)
        return Outcome(_read_back(study, asked, settings, card), epochs, metrics)

    def after_epoch(name: str, epoch: int, epochs: int, note: str) -> None:
        if tell is not None and epoch < epochs:
            tell(outcome(*_unfinished(run, one, material), epoch))

    train_reid(Worker.local(tell=after_epoch), run=run, stores=material.training, settings=one)
    weights, card = load_model(run.model)
    return outcome(weights, card, len(card["curve"]))


def _unfinished(run: ReIDRun, settings: ReIDTraining, material: Material) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The head after its last finished epoch, and what its card would say."""
    state = checkpoint.latest(run.folder)
    assert state is not None, "an epoch is told after its checkpoint is written"
    prefix = "model."  # beside it are the classifiers
    weights = {name.removeprefix(prefix): x for name, x in state[0]["model"].items() if name.startswith(prefix)}
    shapes = SequenceFeatures(next(iter(material.training.values()))).shapes
    head = asdict(settings.head(run.variant))
    return weights, {
        "kind": "reid",
        "head": head,
        "in_channels": [one[0] for one in shapes],
        "training": asdict(settings),
    }


def _metrics(weights: Mapping[str, Tensor], card: Mapping[str, Any], settings: Settings, study: Study) -> Metrics:
    material, batch = study.material, settings.embed.batch
    model = head_of(weights, card, where="trial")
    found = _retrieval(described(model, material.people, batch=batch), settings, material)
    if study.sweep.is_tracked:
        table = described(model, material.boxes, batch=batch)
        found |= _tracking(settings, material, by_video(table, study.sweep.split, material.videos))
    return found


def _retrieval(table: pa.Table, settings: Settings, material: Material) -> Metrics:
    """Ranks and mAP of annotated people under each protocol, percent; the stores know who they are."""
    stored = [SequenceFeatures(path) for _, _, path in material.people]
    identities = np.concatenate([one.frame(i).identities for one in stored for i in range(one.frames)])
    sequences = table["sequence"].combine_chunks().dictionary_encode().indices.to_numpy()
    embeddings, frames, score = tables.embeddings(table), table["frame"].to_numpy(), settings.score
    metrics: Metrics = {}
    for protocol in score.protocols:
        options: dict[str, Any] = {"protocol": protocol, "gap": score.gap, "query_stride": score.query_stride}
        found = retrieval(embeddings, identities, sequences, frames, **options)
        metrics |= {f"{name}_{protocol}": float(getattr(found, name)) for name in RETRIEVAL}
    return metrics


def _tracking(settings: Settings, material: Material, embeddings: Embedded) -> Metrics:
    """Scores of all sequences of the split together, equal to TrackEval's."""
    tracks = {one.name: _tracks(one, settings, embeddings[one.name]) for one in material.videos}
    combined = tracking_metrics.score(material.truth, tracks)[-1]
    return {name: float(combined[name]) for name in TRACKING}


def _tracks(video: Video, settings: Settings, embeddings: Float[np.ndarray, "detections dim"]) -> Results:
    """Tracks of a sequence, rounded as result files are, so that scores are those of the stages."""
    found = track_sequence(
        video.name,
        video.frames,
        video.boxes,
        video.scores,
        embeddings,
        length=video.length,
        frame_rate=video.frame_rate,
        settings=settings.track,
        kind=settings.track.kind,
    )
    rounded = boxes.from_xywh(np.round(boxes.to_xywh(found.boxes), 1))
    return Results(found.frames, found.identities, rounded, found.scores)


def _read_back(study: Study, asked: Configuration, settings: Settings, card: Mapping[str, Any]) -> dict[str, Value]:
    """The searched parameters as the model's card and the tracker tell them."""
    ran = {
        name: trained_with(name, card) if name.startswith("reid.") else tracked_with(name, settings.track)
        for name in study.sweep.space
    }
    for name, value in asked.items():
        if value is not None and ran[name] != value:
            raise ValueError(f"{name}: ran with {ran[name]!r}, expected {value!r}. Mend the stage that ignores it.")
    return ran
