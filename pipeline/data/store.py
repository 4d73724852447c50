"""The feature store: what the frozen detector sees of each target, computed once, read through a memory map.

One Arrow file a sequence, one record batch a frame (all frames from 1 on, empty ones too): the box's key and one
fixed-size list a feature level. Rows stand in the order of frames, so that a group of consecutive frames is one stretch
of the file and shuffling groups costs no small reads. Nothing but the asked frames is brought into memory.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from pipeline.params import parse
from pipeline.tables import replacing

Levels = tuple[np.ndarray, ...]
_Shape = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True)
class FrameFeatures:
    """The targets of one frame: their rows in the frame's box list, their identities, a map a level.

    `identities` are 0 for boxes that have none (detections).
    """

    frame: int
    rows: Int[np.ndarray, " targets"]
    identities: Int[np.ndarray, " targets"]
    levels: Levels


def write(path: Path, shapes: Sequence[_Shape], frames: Iterable[FrameFeatures], *, half: bool) -> None:
    """Write the features of one sequence, whole or not at all.

    `shapes` are each level's (channels, height, width); `half` stores float16, else float32.
    """
    kind = pa.float16() if half else pa.float32()
    sizes = [math.prod(shape) for shape in shapes]
    schema = _schema(shapes, kind)
    with replacing(path) as temporary, pa.ipc.new_file(temporary, schema) as file:
        for one in frames:
            keys = [
                np.full(len(one.rows), one.frame, np.int32),
                one.rows.astype(np.int32),
                one.identities.astype(np.int64),
            ]
            values = [level.astype(kind.to_pandas_dtype(), copy=False).reshape(-1) for level in one.levels]
            lists = [pa.FixedSizeListArray.from_arrays(pa.array(v), s) for v, s in zip(values, sizes, strict=True)]
            file.write_batch(pa.record_batch([*map(pa.array, keys), *lists], schema=schema))


def _schema(shapes: Sequence[_Shape], kind: pa.DataType) -> pa.Schema:
    fields = [pa.field("frame", pa.int32()), pa.field("row", pa.int32()), pa.field("identity", pa.int64())]
    fields += [pa.field(f"level{i}", pa.list_(kind, math.prod(shape))) for i, shape in enumerate(shapes)]
    return pa.schema(fields, metadata={"shapes": json.dumps(list(map(list, shapes)))})


class SequenceFeatures:
    """The features of one sequence, memory-mapped.

    Raises:
        ValueError: no such file, or it is no feature store.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ValueError(
                f"{path}: no such feature store. Run `dvc repro -f features@<experiment>` to make it again."
            )
        try:
            self._file = pa.ipc.open_file(pa.memory_map(str(path)))
            schema = self._file.schema
            self.shapes = parse(json.loads(schema.metadata[b"shapes"]), tuple[_Shape, ...], where="shapes")
            if not any(schema.equals(_schema(self.shapes, kind)) for kind in (pa.float16(), pa.float32())):
                raise ValueError(f"columns are {schema.names}, expected those of shapes {self.shapes}")
        except (ValueError, OSError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{path}: not a feature store: {error}. Delete it and run `dvc repro` again.") from error

    @property
    def frames(self) -> int:
        """How many frames the store holds, those without targets included."""
        return self._file.num_record_batches

    @property
    def values_per_target(self) -> int:
        """How many numbers describe one target, over all levels."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def frame(self, index: int) -> FrameFeatures:
        """The targets of the frame at 0-based position `index`, as views of the file."""
        batch = self._file.get_batch(index)
        levels = tuple(
            batch.column(f"level{i}")
            .values.to_numpy()
            .reshape(-1, *shape)[batch.column(f"level{i}").offset : batch.column(f"level{i}").offset + batch.num_rows]
            for i, shape in enumerate(self.shapes)
        )
        return FrameFeatures(index + 1, batch.column("row").to_numpy(), batch.column("identity").to_numpy(), levels)
