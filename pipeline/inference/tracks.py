"""Tracks of every row of the results table: which there are, how one is made, where its files lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import tables
from pipeline.data.motchallenge import Results, write_results
from pipeline.fingerprint import fingerprint
from pipeline.sources import code_digest
from pipeline.tracking.sequence import Tracking, track_sequence


@dataclass(frozen=True)
class TrackJob:
    """One sequence of one results row: `kind` of association, embeddings where it uses appearance."""

    split: str
    sequence: str
    length: int
    frame_rate: float
    kind: str
    detections: Path
    embeddings: Path | None


def track_jobs(
    sequences: pa.Table,
    detections: Path,
    embeddings: Path,
    splits: Sequence[str],
    *,
    settings: Tracking,
    min_score: float,
    folder: Path,
) -> dict[str, tuple[Path, TrackJob]]:
    """For each `<variant>/seed<k>/<sequence>.txt`, the file in `folder` to make, named for its content, and its job.

    Rows with appearance are the folders `<variant>/seed<k>` of `embeddings`; `settings.baselines` are tracked once, as
    seed 0. Detections scoring at most `min_score` have no embedding.

    Raises:
        ValueError: an association threshold lies below the score from which detections have embeddings.
    """
    tracked = [row for row in sequences.to_pylist() if row["split"] in splits]
    models = sorted(path.parent for path in embeddings.glob("*/*/detections.parquet"))
    if models:
        refuse_undescribed(settings, min_score)
    rows: list[tuple[str, str, Path | None]] = [
        (str(model.relative_to(embeddings)), settings.kind, model / "detections.parquet") for model in models
    ]
    rows += [(f"{kind}/seed0", kind, None) for kind in settings.baselines]
    jobs = {}
    code = code_digest("pipeline.inference.tracks")
    for name, kind, described in rows:
        made_from = {"detections": detections, "settings": settings, "kind": kind, "code": code}
        key = fingerprint(sequences=sequences.to_pydict(), embeddings=described, **made_from)
        for row in tracked:
            job = TrackJob(row["split"], row["sequence"], row["frames"], row["frame_rate"], kind, detections, described)
            jobs[f"{name}/{row['sequence']}.txt"] = (folder / key / f"{row['sequence']}.txt", job)
    return jobs


def refuse_undescribed(settings: Tracking, min_score: float) -> None:
    """Refuse to associate detections that no embedding describes.

    Raises:
        ValueError: an association threshold lies below the score from which detections have embeddings.
    """
    if settings.low_threshold < min_score:
        raise ValueError(
            f"track.low_threshold: {settings.low_threshold}, expected at least embed.min_score ({min_score}), "
            "below which detections have no embedding. Change one of them."
        )


def track_to_file(job: TrackJob, out: Path, *, settings: Tracking) -> None:
    """Track one sequence and write its MOTChallenge result file.

    Raises:
        ValueError: a detection or embedding is refused; sequence, frame and row are named.
    """
    chosen = [("split", "=", job.split), ("sequence", "=", job.sequence)]
    detections = pq.read_table(job.detections, filters=chosen)
    frames = detections["frame"].to_numpy()
    tracks = track_sequence(
        job.sequence,
        frames,
        tables.boxes(detections),
        detections["score"].to_numpy(),
        aligned(pq.read_table(job.embeddings, filters=chosen), frames) if job.embeddings else None,
        length=job.length,
        frame_rate=job.frame_rate,
        settings=settings,
        kind=job.kind,
    )
    write_results(out, Results(tracks.frames, tracks.identities, tracks.boxes, tracks.scores))


def aligned(table: pa.Table, frames: np.ndarray) -> np.ndarray:
    """An embedding for each detection; those that have none (scores below `embed.min_score`) get zeros."""
    values = tables.embeddings(table)
    starts = np.searchsorted(frames, table["frame"].to_numpy())
    aligned = np.zeros((len(frames), values.shape[1]), np.float32)
    aligned[starts + table["row"].to_numpy()] = values
    return aligned
