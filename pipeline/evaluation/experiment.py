"""All score rows of one experiment, from the tables that its stages wrote."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import tables
from pipeline.data.motchallenge import Annotations, read_results
from pipeline.evaluation import motmetrics, trackeval
from pipeline.evaluation.detection import DetectionScore, average_precision
from pipeline.evaluation.retrieval import Protocol, retrieval
from pipeline.evaluation.trackeval import Benchmark, PreparedGroundTruth
from pipeline.models.folder import load_card

Row = dict[str, Any]


@dataclass(frozen=True)
class Score:
    """What is scored: evaluators of tracks, protocols of retrieval, and the score from which detections count.

    `gap` frames around a query are left out under the protocol `gap`; every `query_stride`-th box is a query;
    `recall_threshold` is the lowest score of a detection that counts for recall and precision.
    """

    evaluators: tuple[Literal["trackeval", "motmetrics"], ...]
    protocols: tuple[Protocol, ...]
    gap: int
    query_stride: int
    recall_threshold: float


@dataclass(frozen=True)
class ResultsFolder:
    """One results row: a variant and seed with its folder of result files, and the split that these are of."""

    split: str
    variant: str
    seed: int
    folder: Path


def results_folders(tracks: Path, splits: tuple[str, ...]) -> list[ResultsFolder]:
    """Every `<variant>/seed<k>` of a tracks folder, once a split."""
    folders = sorted(path for path in tracks.glob("*/seed*") if path.is_dir())
    return [ResultsFolder(split, f.parent.name, int(f.name[4:]), f) for split in splits for f in folders]


def jobs(
    truth: Mapping[str, Mapping[str, PreparedGroundTruth]],
    ground_truth: pa.Table,
    *,
    tracks: Path,
    embeddings: Path,
    splits: tuple[str, ...],
    settings: Score,
) -> list[Callable[[], list[Row]]]:
    """Independent calls that give the rows of every variant and seed: first of tracking, then of retrieval.

    `tracks` holds `<variant>/seed<k>/<sequence>.txt`, `embeddings` `<variant>/seed<k>/ground_truth.parquet`.
    """
    tracking = [
        partial(tracking_rows, folder, truth=truth[folder.split], evaluators=settings.evaluators)
        for folder in results_folders(tracks, tuple(truth))
    ]
    described = sorted(embeddings.glob("*/*/ground_truth.parquet"))
    retrieved = [partial(retrieval_rows, path, ground_truth, splits, settings) for path in described]
    return [*tracking, *retrieved]


def name_of(job: Any) -> str:
    """What a job scores, for messages."""
    return str(getattr(job.args[0], "folder", job.args[0]))


def prepared_ground_truth(
    sequences: pa.Table, ground_truth: pa.Table, splits: tuple[str, ...], benchmark: Benchmark
) -> dict[str, dict[str, PreparedGroundTruth]]:
    """Ground truth ready for scoring, by split and sequence; sequences without annotations are left out."""
    annotated = tables.groups(ground_truth, "split", "sequence")
    prepared: dict[str, dict[str, PreparedGroundTruth]] = {}
    for row in sequences.to_pylist():
        if row["split"] in splits and row["has_ground_truth"]:
            part = annotated.get((row["split"], row["sequence"]), tables.empty(tables.GROUND_TRUTH))
            truth = trackeval.prepare(_annotations(part), row["frames"], benchmark)
            prepared.setdefault(row["split"], {})[row["sequence"]] = truth
    return prepared


def left_out(sequences: pa.Table, splits: tuple[str, ...]) -> list[str]:
    """The sequences of the splits that cannot be scored, because they have no ground truth: `split sequence`."""
    rows = sequences.to_pylist()
    return [
        f"{row['split']} {row['sequence']}" for row in rows if row["split"] in splits and not row["has_ground_truth"]
    ]


def tracking_rows(
    results: ResultsFolder, *, truth: Mapping[str, PreparedGroundTruth], evaluators: tuple[str, ...]
) -> list[Row]:
    """A row a sequence and one for all, by each evaluator, of one variant and seed.

    Raises:
        ValueError: a result file is missing or wrong; file and line are named.
    """
    tracks = {name: read_results(results.folder / f"{name}.txt") for name in truth}
    key = {"split": results.split, "variant": results.variant, "seed": results.seed}
    rows: list[Row] = []
    for evaluator in evaluators:
        score = trackeval.score if evaluator == "trackeval" else motmetrics.score
        rows += [{**key, "evaluator": evaluator, **row} for row in score(truth, tracks)]
    return rows


def retrieval_rows(embeddings: Path, ground_truth: pa.Table, splits: tuple[str, ...], settings: Score) -> list[Row]:
    """A row a split and protocol of one variant's and seed's embeddings of annotated people.

    `embeddings` is `<variant>/seed<k>/ground_truth.parquet`.
    """
    table = tables.read_any(embeddings)
    variant, seed = embeddings.parent.parent.name, int(embeddings.parent.name[4:])
    rows: list[Row] = []
    for split in splits:
        part = table.filter(pc.equal(table["split"], split))
        if part.num_rows == 0:
            continue
        find = partial(
            retrieval,
            tables.embeddings(part),
            _identities(part, ground_truth),
            part["sequence"].combine_chunks().dictionary_encode().indices.to_numpy(),
            part["frame"].to_numpy(),
            gap=settings.gap,
            query_stride=settings.query_stride,
        )
        key = {"split": split, "variant": variant, "seed": seed}
        for name in settings.protocols:
            gap = settings.gap if name == "gap" else None
            rows.append({**key, "protocol": name, "gap": gap, **find(protocol=name)._asdict()})
    return rows


def detection_scores(
    frames: pa.Table, ground_truth: pa.Table, detections: pa.Table, splits: tuple[str, ...], settings: Score
) -> dict[str, DetectionScore]:
    """The detector's scores on the annotated sequences of each evaluated split that has detections."""
    people = ground_truth.filter(pc.and_(ground_truth["considered"], pc.equal(ground_truth["category"], 1)))
    truth = tables.groups(people, "split", "sequence", "frame")
    found = tables.groups(detections, "split", "sequence", "frame")
    annotated = tables.groups(ground_truth, "split", "sequence")
    every = {key for key in itertools.chain(truth, found, _images(frames)) if key[:2] in annotated}
    none, no_scores = np.zeros((0, 4)), np.zeros(0)
    result = {}
    for split in splits:
        keys = sorted(key for key in every if key[0] == split)
        if not any(key in truth for key in keys) or not any(key in found for key in keys):
            continue
        result[split] = average_precision(
            [tables.boxes(truth[key]) if key in truth else none for key in keys],
            [tables.boxes(found[key]) if key in found else none for key in keys],
            [found[key]["score"].to_numpy() if key in found else no_scores for key in keys],
            score_threshold=settings.recall_threshold,
        )
    return result


def curves(detector: Path, reid: Path, detection: Mapping[str, DetectionScore]) -> list[Row]:
    """Loss curves of all models, from their cards, and precision over recall of the detector (schemas.CURVES)."""
    rows = list(_losses(detector, curve="detector", variant="detector", seed=0))
    for card in sorted(reid.glob("*/*/card.json")):
        rows += _losses(card.parent, curve="reid", variant=card.parent.parent.name, seed=int(card.parent.name[4:]))
    for split, score in detection.items():
        key = {"split": split, "variant": "detector", "seed": 0, "curve": "precision", "name": "precision"}
        points = zip(score.curve_recall, score.curve_precision, strict=True)
        rows += [{**key, "x": float(recall), "y": float(precision)} for recall, precision in points]
    return rows


def _losses(folder: Path, *, curve: str, variant: str, seed: int) -> Iterator[Row]:
    for epoch in load_card(folder).get("curve", []):
        key = {"split": "train", "variant": variant, "seed": seed, "curve": curve, "x": float(epoch["epoch"])}
        yield from ({**key, "name": name, "y": float(value)} for name, value in epoch.items() if name != "epoch")


def _annotations(part: pa.Table) -> Annotations:
    return Annotations(
        frames=part["frame"].to_numpy().astype(np.int64),
        identities=part["identity"].to_numpy(),
        boxes=tables.boxes(part),
        considered=part["considered"].to_numpy(),
        categories=part["category"].to_numpy().astype(np.int64),
        visibility=part["visibility"].to_numpy(),
    )


def _identities(embedded: pa.Table, ground_truth: pa.Table) -> np.ndarray:
    """The person of each embedded box: `row` counts the boxes of its frame in the ground truth."""
    annotated = tables.groups(ground_truth, "split", "sequence", "frame")
    people = {key: part["identity"].to_numpy() for key, part in annotated.items()}
    parts = tables.groups(embedded, "split", "sequence", "frame")
    return np.concatenate([people[key][part["row"].to_numpy()] for key, part in parts.items()])


def frames_of(frames: pa.Table, splits: tuple[str, ...]) -> int:
    """How many images the splits have (tables.FRAMES)."""
    return sum(row[0] in splits for row in _images(frames))


def _images(frames: pa.Table) -> Iterator[tuple]:
    return zip(*(frames[name].to_pylist() for name in ("split", "sequence", "frame")), strict=True)
