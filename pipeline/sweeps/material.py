"""What all trials of a sweep share: read and prepared once, handed to each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int

from pipeline import tables
from pipeline.evaluation.experiment import prepared_ground_truth
from pipeline.evaluation.trackeval import Benchmark, PreparedGroundTruth
from pipeline.inference.stores import Store, read_card
from pipeline.inference.tracks import aligned

Embedded = Mapping[str, Float[np.ndarray, "detections dim"]]  # by sequence


@dataclass(frozen=True)
class Files:
    """What the stages of an experiment made, and the folder of its unfinished and finished work."""

    sequences: Path
    ground_truth: Path
    detections: Path
    features: Path
    embeddings: Path
    work: Path

    def described(self, variant: str, seed: int) -> Path:
        """The embeddings of detections of a variant and seed."""
        return self.embeddings / variant / f"seed{seed}" / "detections.parquet"


@dataclass(frozen=True, eq=False)
class Video:
    """A sequence to track: its detections, sorted by frame, boxes x1 y1 x2 y2 pixels."""

    name: str
    length: int
    frame_rate: float
    frames: Int[np.ndarray, " detections"]
    boxes: Float[np.ndarray, "detections 4"]
    scores: Float[np.ndarray, " detections"]


@dataclass(frozen=True, eq=False)
class Material:
    """Feature stores as paths, because they are memory-mapped; detections, embeddings and ground truth as arrays.

    `training` names the store of each training sequence, `people` and `boxes` are the stores of annotated people and of
    detections of the split; `embeddings` are the experiment's own by seed, where trials train nothing; `models` is the
    folder of Re-ID runs, the stage's own, so that what the experiment trained is not trained again.
    """

    training: dict[str, Path]
    people: tuple[Store, ...]
    boxes: tuple[Store, ...]
    videos: tuple[Video, ...]
    truth: dict[str, PreparedGroundTruth]
    embeddings: dict[int, Embedded]
    models: Path


def gather(files: Files, split: str, benchmark: Benchmark, *, described: Mapping[int, Path]) -> Material:
    """Read what trials on `split` share; `described` are the embeddings of detections to read, by seed.

    Raises:
        ValueError: a file is missing, nothing is annotated, or there is nothing to train on.
    """
    annotated = tables.read(files.ground_truth, tables.GROUND_TRUTH)
    sequences = tables.read(files.sequences, tables.SEQUENCES)
    truth = prepared_ground_truth(sequences, annotated, (split,), benchmark).get(split, {})
    if not truth:
        raise ValueError(f"{files.ground_truth}: no sequence of {split} is annotated, expected one. Correct `split`.")
    found = tables.read(files.detections, tables.DETECTIONS)
    parts = tables.groups(found.filter(pc.equal(found["split"], split)), "sequence")
    rows = [one for one in sequences.to_pylist() if one["split"] == split and one["sequence"] in truth]
    videos = tuple(_video(one, parts.get((one["sequence"],), tables.empty(tables.DETECTIONS))) for one in rows)
    stores = read_card(files.features, "ground_truth")
    return Material(
        training={name: path for part, name, path in stores if part == "train"},
        people=tuple(one for one in stores if one[0] == split),
        boxes=tuple(one for one in read_card(files.features, "detections") if one[0] == split),
        videos=videos,
        truth=truth,
        embeddings={seed: by_video(tables.read_any(path), split, videos) for seed, path in described.items()},
        models=files.work / "reid",
    )


def by_video(table: pa.Table, split: str, videos: tuple[Video, ...]) -> Embedded:
    """An embedding for each detection of each sequence, from a table of embeddings (tables.embeddings_schema)."""
    parts = tables.groups(table.filter(pc.equal(table["split"], split)), "sequence")
    return {one.name: aligned(parts.get((one.name,), table.slice(0, 0)), one.frames) for one in videos}


def _video(row: Mapping, part: pa.Table) -> Video:
    return Video(
        name=row["sequence"],
        length=row["frames"],
        frame_rate=row["frame_rate"],
        frames=part["frame"].to_numpy().astype(np.int64),
        boxes=tables.boxes(part),
        scores=part["score"].to_numpy(),
    )
