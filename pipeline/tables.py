"""What passes between stages: Parquet tables with declared schemas, read strictly and written atomically.

Conventions, once: boxes are x1 y1 x2 y2 in pixels of the original image, as float64, because IoU thresholds are decided
on them and evaluators read float64; frames and identities count from 1; scores lie in [0, 1]; one row a box, sorted by
split, sequence and frame. A key (split, sequence, frame) names a frame: the two halves of one sequence are two splits.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.folders import plain_name


def _schema(**columns: tuple[pa.DataType, str]) -> pa.Schema:
    return pa.schema(
        [pa.field(name, kind, nullable=False, metadata={"doc": doc}) for name, (kind, doc) in columns.items()]
    )


CROWD = "crowd"  # the split of single images that only the detector trains on

_SPLIT = (pa.string(), "train, val or test; crowd for single images that only the detector trains on")
_SEQUENCE = (pa.string(), "name of the sequence")
_FRAME = (pa.int32(), "number of the frame in its split, from 1")
_BOX = {
    "x1": (pa.float64(), "left edge, pixels"),
    "y1": (pa.float64(), "top edge, pixels"),
    "x2": (pa.float64(), "right edge, pixels"),
    "y2": (pa.float64(), "bottom edge, pixels"),
}
_SCORE = (pa.float64(), "confidence in [0, 1]")

SEQUENCES = _schema(
    split=_SPLIT,
    sequence=_SEQUENCE,
    frame_rate=(pa.float64(), "frames per second"),
    frames=(pa.int32(), "number of frames in this split"),
    width=(pa.int32(), "image width, pixels"),
    height=(pa.int32(), "image height, pixels"),
    first=(pa.int32(), "number in the whole sequence of the frame that counts as 1 here"),
    has_ground_truth=(pa.bool_(), "whether the sequence is annotated"),
    has_images=(pa.bool_(), "whether its frames can be read as pixels"),
)
FRAMES = _schema(
    split=_SPLIT,
    sequence=_SEQUENCE,
    frame=_FRAME,
    path=(pa.string(), "image file, relative to the repository's root"),
)
GROUND_TRUTH = _schema(
    split=_SPLIT,
    sequence=_SEQUENCE,
    frame=_FRAME,
    identity=(pa.int64(), "number of the person within the sequence"),
    **_BOX,
    considered=(pa.bool_(), "the seventh column of gt.txt: whether evaluation counts the row"),
    category=(
        pa.int32(),
        "MOTChallenge class: 1 pedestrian, 2 person on vehicle, 7 static, 8 distractor, 12 reflection",
    ),
    visibility=(pa.float64(), "share of the box that is visible, in [0, 1]"),
)
DETECTIONS = _schema(split=_SPLIT, sequence=_SEQUENCE, frame=_FRAME, **_BOX, score=_SCORE)
TRACKS = _schema(
    split=_SPLIT,
    sequence=_SEQUENCE,
    frame=_FRAME,
    identity=(pa.int64(), "number of the track within its sequence, from 1"),
    **_BOX,
    score=_SCORE,
)


def embeddings_schema(dim: int) -> pa.Schema:
    """Schema of embeddings of `dim` values: the key of a box and its unit-length descriptor."""
    return _schema(
        split=_SPLIT,
        sequence=_SEQUENCE,
        frame=_FRAME,
        row=(pa.int32(), "index of the box among those of its frame in the table it describes, from 0"),
        embedding=(
            pa.list_(pa.field("item", pa.float32(), nullable=False), dim),
            "descriptor of unit length",
        ),
    )


def read(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a table and refuse any columns but the schema's.

    Raises:
        ValueError: the file is missing, is no Parquet file, or has other columns or types; both lists are named.
    """
    return _conforming(read_any(path), schema, path)


def read_any(path: Path) -> pa.Table:
    """Read a table of any schema, for readers that declare none (`compare`, downloads).

    Raises:
        ValueError: the file is missing or is no Parquet file.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file, expected a table. Run `dvc repro`, or `dvc pull` where it is cached.")
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        table.validate(full=True)
        return table
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
        first = str(error).split("\n")[0]
        raise ValueError(f"{path}: {first}; expected a Parquet table. Delete the file and run `dvc repro`.") from error


def write(table: pa.Table, path: Path, schema: pa.Schema) -> None:
    """Write `table` to `path` whole or not at all; the same rows give the same bytes.

    Where rows belong to frames, each sequence is a row group: who wants one sequence reads no other.

    Raises:
        ValueError: the table has other columns or types than the schema, or a sequence's rows are not together.
    """
    table = _conforming(table, schema, path)
    is_of_frames = {"split", "sequence", "frame"} <= set(schema.names)
    parts = groups(table, "split", "sequence").values() if is_of_frames else [table]
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for part in parts:
            writer.write_table(part)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place if the block succeeds and vanishes if it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(text: str, path: Path) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_card(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Raises:
        ValueError: the file is missing, or holds anything else.
    """
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}; expected JSON. Delete it and run `dvc repro`.") from error
    if not isinstance(card, dict):
        raise ValueError(
            f"{path}: found a {type(card).__name__}, expected a JSON object. Delete it and run `dvc repro`."
        )
    return card


def empty(schema: pa.Schema) -> pa.Table:
    """A table with the schema's columns and no row."""
    return schema.empty_table()


def concat(parts: list[pa.Table], schema: pa.Schema) -> pa.Table:
    """The rows of all parts in order; no parts give an empty table."""
    return pa.concat_tables([p.select(schema.names).cast(schema) for p in parts]) if parts else empty(schema)


def columns(table: pa.Table, *names: str) -> np.ndarray:
    """Numeric columns side by side, (rows, names) float64.

    >>> columns(pa.table({"a": [1, 2], "b": [3.0, 4.0]}), "b", "a").tolist()
    [[3.0, 1.0], [4.0, 2.0]]
    """
    return np.stack([table[name].to_numpy().astype(np.float64) for name in names], axis=1)


def boxes(table: pa.Table) -> np.ndarray:
    """The boxes of a table, (rows, 4) float64 x1 y1 x2 y2."""
    return columns(table, "x1", "y1", "x2", "y2")


def embeddings(table: pa.Table) -> np.ndarray:
    """The embeddings of a table, (rows, dim) float32."""
    column = table["embedding"].combine_chunks()
    return column.flatten().to_numpy().reshape(table.num_rows, column.type.list_size)


def groups(table: pa.Table, *keys: str) -> dict[tuple, pa.Table]:
    """Split a table sorted by `keys` into zero-copy slices, in order of appearance.

    >>> {k: t.num_rows for k, t in groups(pa.table({"frame": [1, 1, 2]}), "frame").items()}
    {(1,): 2, (2,): 1}

    Raises:
        ValueError: rows of one key are not together.
    """
    if table.num_rows == 0:
        return {}
    codes = [table[key].combine_chunks().dictionary_encode() for key in keys]
    indices = np.stack([c.indices.to_numpy() for c in codes], axis=1)
    starts = np.flatnonzero(np.r_[True, np.any(np.diff(indices, axis=0) != 0, axis=1)])
    ends = np.r_[starts[1:], table.num_rows]
    result: dict[tuple, pa.Table] = {}
    for start, end in zip(starts, ends, strict=True):
        key = tuple(c.dictionary[int(i)].as_py() for c, i in zip(codes, indices[start], strict=True))
        if key in result:
            raise ValueError(
                f"row {start}: {dict(zip(keys, key, strict=True))} comes back, expected sorted rows. Sort the table."
            )
        result[key] = table.slice(start, end - start)
    return result


def _conforming(table: pa.Table, schema: pa.Schema, path: Path) -> pa.Table:
    """The table with the schema's order of columns and metadata; a table of another schema is refused."""
    found = table.schema
    if sorted(found.names) != sorted(schema.names):
        missing = [n for n in schema.names if n not in found.names]
        extra = [n for n in found.names if n not in schema.names]
        raise ValueError(
            f"{path}: columns are {found.names}, expected {schema.names}; missing {missing}, unexpected {extra}. "
            "Run `dvc repro` to make it anew."
        )
    for name in schema.names:
        if found.field(name).type != schema.field(name).type:
            raise ValueError(
                f"{path}: column {name!r} is {found.field(name).type}, expected {schema.field(name).type}. "
                "Run `dvc repro` to make it anew."
            )
        if table[name].null_count and not schema.field(name).nullable:
            raise ValueError(
                f"{path}: column {name!r} has {table[name].null_count} nulls, expected none. "
                "Run `dvc repro` to make it anew."
            )
    for name in {"split", "sequence"} & set(schema.names):  # files are named for them
        for value in pc.unique(table[name]).drop_null().to_pylist():
            plain_name(value, where=f"{path}: {name}")
    return table.select(schema.names).cast(schema)
