import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import store
from pipeline.data.store import FrameFeatures, SequenceFeatures

SHAPES = [(3, 4, 2), (5, 2, 1)]


def frames(counts: list[int], *, half: bool = False) -> list[FrameFeatures]:
    """Frames with as many targets as `counts` says."""
    rng = np.random.default_rng(0)
    kind = np.float16 if half else np.float32
    return [
        FrameFeatures(
            number,
            rows=np.sort(rng.permutation(50)[:count]).astype(np.int64),
            identities=rng.integers(0, 2**40, count),
            levels=tuple(rng.normal(size=(count, *shape)).astype(kind) for shape in SHAPES),
        )
        for number, count in enumerate(counts, start=1)
    ]


def is_same(found: FrameFeatures, expected: FrameFeatures) -> bool:
    pairs = [(found.rows, expected.rows), (found.identities, expected.identities)]
    pairs += zip(found.levels, expected.levels, strict=True)
    return found.frame == expected.frame and all(a.shape == b.shape and np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("half", [False, True])
@settings(deadline=None)
@given(counts=st.lists(st.integers(0, 4), max_size=6))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, counts: list[int], half: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "round.arrow"
    store.write(path, SHAPES, frames(counts, half=half), half=half)
    found = SequenceFeatures(path)
    assert (found.frames, found.shapes, found.values_per_target) == (len(counts), tuple(SHAPES), 34)
    for index, expected in enumerate(frames(counts, half=half)):
        assert is_same(found.frame(index), expected)
        assert found.frame(index).levels[0].dtype == (np.float16 if half else np.float32)


def test_single_values_are_rounded_where_half_is_stored(tmp_path: Path) -> None:
    store.write(tmp_path / "a.arrow", SHAPES, frames([2]), half=True)
    assert np.array_equal(
        SequenceFeatures(tmp_path / "a.arrow").frame(0).levels[1], frames([2], half=True)[0].levels[1]
    )


def test_frames_are_read_in_any_order(tmp_path: Path) -> None:
    store.write(tmp_path / "a.arrow", SHAPES, frames([1, 0, 3]), half=False)
    found = SequenceFeatures(tmp_path / "a.arrow")
    for index in (2, 0, 1, 2):
        assert is_same(found.frame(index), frames([1, 0, 3])[index])


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        store.write(tmp_path / name, SHAPES, frames([2, 1]), half=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_reading_a_frame_brings_only_that_frame_into_memory(tmp_path: Path) -> None:
    shape, count = (64, 32, 16), 4
    size = count * int(np.prod(shape)) * 4

    def large() -> Iterator[FrameFeatures]:
        for number in range(1, 65):
            level = np.full((count, *shape), number, np.float32)
            yield FrameFeatures(number, np.arange(count), np.arange(count), (level,))

    store.write(tmp_path / "a.arrow", [shape], large(), half=False)
    process = psutil.Process()
    before = process.memory_info().rss
    frame = SequenceFeatures(tmp_path / "a.arrow").frame(40)
    assert (frame.levels[0] == 41).all()
    assert (tmp_path / "a.arrow").stat().st_size > 60 * size
    assert process.memory_info().rss - before < 10 * size


def test_consecutive_frames_are_one_stretch_of_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = [(16, 8, 4), (32, 4, 2)]
    written = [
        FrameFeatures(
            number,
            np.arange(count),
            np.arange(count),
            tuple(rng.normal(size=(count, *shape)).astype(np.float32) for shape in shapes),
        )
        for number, count in enumerate((5, 3, 6, 4, 5, 7), start=1)
    ]
    store.write(tmp_path / "a.arrow", shapes, written, half=False)
    found = SequenceFeatures(tmp_path / "a.arrow")
    group = [level for index in (1, 2, 3) for level in found.frame(index).levels]
    starts = [level.__array_interface__["data"][0] for level in group]
    assert starts == sorted(starts)
    stretch = starts[-1] + group[-1].nbytes - starts[0]
    assert stretch < 1.1 * sum(level.nbytes for level in group)


def test_a_frame_is_a_view_of_the_file(tmp_path: Path) -> None:
    store.write(tmp_path / "a.arrow", SHAPES, frames([2]), half=False)
    for level in SequenceFeatures(tmp_path / "a.arrow").frame(0).levels:
        assert level.base is not None
        assert not level.flags.writeable


def foreign(path: Path, metadata: dict[str, str] | None) -> None:
    schema = pa.schema([("x", pa.int32())], metadata=metadata)
    with pa.ipc.new_file(path, schema) as file:
        file.write_batch(pa.record_batch([pa.array([1], pa.int32())], schema=schema))


def cut(path: Path) -> None:
    store.write(path, SHAPES, frames([2, 1]), half=False)
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("no Arrow file, but long enough to be taken for one"),
        lambda path: foreign(path, None),
        lambda path: foreign(path, {"other": "1"}),
        lambda path: foreign(path, {"shapes": "["}),
        lambda path: foreign(path, {"shapes": json.dumps(3)}),
        cut,
    ],
    ids=["empty", "text", "no metadata", "other metadata", "no JSON", "no shapes", "cut short"],
)
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.arrow")
    with pytest.raises(ValueError) as error:
        SequenceFeatures(tmp_path / "a.arrow")
    assert str(error.value).startswith(f"{tmp_path / 'a.arrow'}: not a feature store: ")
    assert str(error.value).endswith("Delete it and run `dvc repro` again.")


def test_a_missing_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a.arrow: no such feature store. Run `dvc repro"):
        SequenceFeatures(tmp_path / "a.arrow")


def test_a_write_that_fails_leaves_nothing_or_the_old_store(tmp_path: Path) -> None:
    def broken() -> Iterator[FrameFeatures]:
        yield from frames([1, 2])
        raise ValueError("img1/000003.jpg: 0 bytes")

    with pytest.raises(ValueError, match="0 bytes"):
        store.write(tmp_path / "a.arrow", SHAPES, broken(), half=False)
    assert list(tmp_path.iterdir()) == []
    store.write(tmp_path / "a.arrow", SHAPES, frames([3]), half=False)
    with pytest.raises(ValueError, match="0 bytes"):
        store.write(tmp_path / "a.arrow", SHAPES, broken(), half=False)
    assert is_same(SequenceFeatures(tmp_path / "a.arrow").frame(0), frames([3])[0])


def test_a_killed_write_leaves_nothing_that_is_taken_for_a_store(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
import numpy as np
from pipeline.data import store

def frames():
    for number in range(1, 100):
        if number == 50:
            os.kill(os.getpid(), signal.SIGKILL)
        yield store.FrameFeatures(number, np.zeros(1, int), np.zeros(1, int), (np.zeros((1, 8, 8, 8), np.float32),))

store.write(Path(sys.argv[1]), [(8, 8, 8)], frames(), half=False)
"""
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.arrow")], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "a.arrow").exists()
    assert list(tmp_path.glob("*.arrow")) == []


def test_a_file_of_other_columns_is_refused(tmp_path):
    schema = pa.schema([("frame", pa.int32())], metadata={"shapes": "[[2, 3, 2]]"})
    with pa.ipc.new_file(tmp_path / "a.arrow", schema):
        pass
    with pytest.raises(ValueError, match=r"a\.arrow: not a feature store: columns are \['frame'\]"):
        store.SequenceFeatures(tmp_path / "a.arrow")
