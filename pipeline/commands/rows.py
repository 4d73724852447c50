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
from pipeline.data.motchallenge import Results, result_lines

_ROW_GROUP = 10_000  # rows kept until they are written to Parquet
_NUMBERS = tables.TRACKS.names[2:]  # what differs from row to row


class RowWriter:
    """Takes the tracks of one frame after the other. Made by `written_rows`.

    Rows wait in one array made once: small arrays kept of every frame would leave gaps in the heap into which the next
    frame does not fit (3.5 MB a frame at 640x480).
    """

    def __init__(self, text: TextIO, parquet: pq.ParquetWriter, sequence: str) -> None:
        self.written = 0
        self._text, self._parquet, self._sequence = text, parquet, sequence
        self._rows = np.empty((_ROW_GROUP, len(_NUMBERS)))
        self._waiting = 0

    def add(
        self,
        frame: int,
        identities: Int[np.ndarray, " tracks"],
        boxes: Float[np.ndarray, "tracks 4"],
        scores: Float[np.ndarray, " tracks"],
    ) -> None:
        """Add a frame's rows, in their order, to both files."""
        frames = np.full(len(identities), frame)
        self._text.write(result_lines(Results(frames, identities, boxes, scores)))
        rows = np.column_stack([frames, identities, boxes, scores])
        while len(rows):
            part, rows = np.split(rows, [_ROW_GROUP - self._waiting])
            self._rows[self._waiting : self._waiting + len(part)] = part
            self._waiting += len(part)
            self.written += len(part)
            if self._waiting == _ROW_GROUP:
                self.flush()

    def flush(self) -> None:
        """Write what waits as a row group."""
        rows = self._rows[: self._waiting]
        columns = {name: pa.array(rows[:, i]).cast(tables.TRACKS.field(name).type) for i, name in enumerate(_NUMBERS)}
        names = {"split": ["test"] * len(rows), "sequence": [self._sequence] * len(rows)}
        self._parquet.write_table(pa.table({**names, **columns}, schema=tables.TRACKS))
        self._waiting = 0


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
