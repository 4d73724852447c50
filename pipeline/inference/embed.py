"""Trained Re-ID heads over stored features: the descriptors that retrieval and tracking compare."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from pipeline import tables
from pipeline.data import store
from pipeline.fingerprint import fingerprint
from pipeline.inference.heads import load_head
from pipeline.inference.stores import Kind, Store, read_card
from pipeline.models.reid import FineTrackReID
from pipeline.sources import code_digest


@dataclass(frozen=True)
class Embed:
    """Which detections get an embedding, and how many targets at a time.

    Every detection that scores more than `min_score` is described; association thresholds at or above it can then
    change without describing anything again.
    """

    min_score: float
    batch: int


@dataclass(frozen=True)
class EmbeddingJob:
    """A trained model and the stores of the targets it is to describe."""

    model: Path
    stores: tuple[Store, ...]


def embedding_jobs(
    reid: Path, features: Path, splits: tuple[str, ...], settings: Embed, *, folder: Path
) -> dict[str, tuple[Path, EmbeddingJob]]:
    """For each `<variant>/seed<k>/<kind>.parquet` the file in `folder` to make, named for its content, and the job.

    `reid` holds model folders `<variant>/seed<k>`, `features` is the card of the feature stores.
    """
    code = code_digest("pipeline.inference.embed")
    kinds: tuple[Kind, ...] = ("ground_truth", "detections")
    stores = {kind: tuple(one for one in read_card(features, kind) if one[0] in splits) for kind in kinds}
    jobs = {}
    for model in sorted(path.parent for path in reid.glob("*/*/card.json")):
        for kind in kinds:
            key = fingerprint(
                model=model,
                stores=[list(map(str, one)) for one in stores[kind]],
                settings=settings,
                code=code,
            )
            name = f"{model.relative_to(reid)}/{kind}.parquet"
            jobs[name] = (folder / f"{key}.parquet", EmbeddingJob(model, stores[kind]))
    return jobs


def embed_stores(job: EmbeddingJob, out: Path, *, batch: int) -> None:
    """Write a model's embeddings of all targets of the stores, in their order, `batch` or more targets at a time."""
    model, _ = load_head(job.model)
    found = described(model, job.stores, batch=batch)
    tables.write(found, out, found.schema)


def described(model: FineTrackReID, stores: Sequence[Store], *, batch: int) -> pa.Table:
    """The embeddings of all targets of the stores (tables.embeddings_schema), by a head in evaluation mode."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    schema = tables.embeddings_schema(model.head.dim)
    parts = [_embedding_rows(model, device, split, sequence, path, batch, schema) for split, sequence, path in stores]
    return tables.concat(parts, schema)


@torch.inference_mode()
def _embedding_rows(
    model: FineTrackReID,
    device: torch.device,
    split: str,
    sequence: str,
    path: Path,
    batch: int,
    schema: pa.Schema,
) -> pa.Table:
    parts = []
    for numbers, rows, levels in _batched(store.SequenceFeatures(path), batch):
        found = model(tuple(torch.from_numpy(x).to(device).float() for x in levels)).descriptor
        values = found.cpu().numpy().astype(np.float32)
        lists = pa.FixedSizeListArray.from_arrays(values.reshape(-1), type=schema.field("embedding").type)
        keys = [
            pa.array([split] * len(rows)),
            pa.array([sequence] * len(rows)),
            pa.array(numbers, pa.int32()),
            pa.array(rows, pa.int32()),
        ]
        parts.append(pa.Table.from_arrays([*keys, lists], schema=schema))
    return tables.concat(parts, schema)


def _batched(features: store.SequenceFeatures, batch: int) -> Iterator[tuple[np.ndarray, np.ndarray, list[np.ndarray]]]:
    """Targets of consecutive frames, at least `batch` together where there are as many: numbers, rows, levels."""
    waiting: list[store.FrameFeatures] = []
    for index in range(features.frames):
        frame = features.frame(index)
        if len(frame.rows):
            waiting.append(frame)
        if waiting and (sum(len(one.rows) for one in waiting) >= batch or index == features.frames - 1):
            numbers = np.concatenate([np.full(len(one.rows), one.frame) for one in waiting])
            rows = np.concatenate([one.rows for one in waiting])
            yield (
                numbers,
                rows,
                [np.concatenate([one.levels[i] for one in waiting]) for i in range(len(features.shapes))],
            )
            waiting = []
