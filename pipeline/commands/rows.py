"""Result rows written as they come: MOTChallenge text and the tracks table, in bounded memory."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from pipeline import tables
from pipeline.boxes import to_xywh

_ROW_GROUP = 10_000  # rows kept until they are written to Parquet


class RowWriter:
    """Takes the tracks of one frame after the other. Made by `written_rows`."""

    def __init__(self, text: TextIO, parquet: pq.ParquetWriter, sequence: str) -> None:
        self.written = 0
        self._text, self._parquet, self._sequence = text, parquet, sequence
        self._waiting: list[pa.Table] = []

    def add(
        self,
        frame: int,
        identities: Int[np.ndarray, " tracks"],
        boxes: Float[np.ndarray, "tracks 4"],
        scores: Float[np.ndarray, " tracks"],
    ) -> None:
        """Add a frame's rows, in their order, to both files."""
        for identity, (x, y, w, h), score in zip(identities, to_xywh(boxes).tolist(), scores.tolist(), strict=True):
            # The format of `pipeline.data.motchallenge.write_results`.
            self._text.write(f"{frame},{identity},{x:.1f},{y:.1f},{w:.1f},{h:.1f},{score:.2f},-1,-1,-1\n")
        columns = {
            "split": ["test"] * len(identities),
            "sequence": [self._sequence] * len(identities),
            "frame": np.full(len(identities), frame, np.int32),
            "identity": identities,
            **dict(zip(("x1", "y1", "x2", "y2"), boxes.T, strict=True)),
            "score": scores.astype(np.float64),
        }
        self._waiting.append(pa.table(columns, schema=tables.TRACKS))
        self.written += len(identities)
        if sum(part.num_rows for part in self._waiting) >= _ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what waits as a row group."""
        self._parquet.write_table(tables.concat(self._waiting, tables.TRACKS).combine_chunks())
        self._waiting.clear()


@contextlib.contextmanager
def written_rows(folder: Path, sequence: str) -> Iterator[RowWriter]:
    """A writer of `tracks.txt` and `tracks.parquet` (tables.TRACKS, split `test`); both whole or not at all."""
    with (
        tables.replacing(folder / "tracks.txt") as text_path,
        tables.replacing(folder / "tracks.parquet") as parquet_path,
        text_path.open("w", encoding="utf-8") as text,
        pq.ParquetWriter(parquet_path, tables.TRACKS, compression="zstd") as parquet,
    ):
        writer = RowWriter(text, parquet, sequence)
        yield writer
        writer.flush()
