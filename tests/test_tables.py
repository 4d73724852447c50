import contextlib
import doctest
import itertools
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import tables

SHIPPED = {
    "sequences": tables.SEQUENCES,
    "frames": tables.FRAMES,
    "ground_truth": tables.GROUND_TRUTH,
    "detections": tables.DETECTIONS,
    "tracks": tables.TRACKS,
    "embeddings": tables.embeddings_schema(3),
}


def read_back(table: pa.Table, path: Path) -> pa.Table:
    """Have another program write the table, and read it."""
    pq.write_table(table, path)
    return tables.read(path, tables.DETECTIONS)


ACTS = {"read": read_back, "write": lambda table, path: tables.write(table, path, tables.DETECTIONS)}


def detections(count: int, *, seed: int = 0) -> pa.Table:
    """Detections of two sequences, sorted."""
    rng = np.random.default_rng(seed)
    columns = {
        "split": ["val"] * count,
        "sequence": ["a" if i < count // 2 else "b" for i in range(count)],
        "frame": [1 + i // 3 % 50 for i in range(count)],
        **{name: rng.random(count) for name in ("x1", "y1", "x2", "y2", "score")},
    }
    return pa.table(columns, schema=tables.DETECTIONS)


def alone(path: Path) -> bool:
    """Whether a file has its folder for itself, with no temporary file beside it."""
    return [one.name for one in path.parent.iterdir()] == [path.name]


def test_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(tables).failed == 0


@pytest.mark.parametrize("name", SHIPPED)
def test_every_column_of_a_schema_is_described_and_never_null(name: str) -> None:
    for field in SHIPPED[name]:
        assert field.metadata[b"doc"]
        assert not field.nullable


@pytest.mark.parametrize("name", SHIPPED)
def test_an_empty_table_is_written_and_read(tmp_path: Path, name: str) -> None:
    tables.write(tables.empty(SHIPPED[name]), tmp_path / "t.parquet", SHIPPED[name])
    found = tables.read(tmp_path / "t.parquet", SHIPPED[name])
    assert found.num_rows == 0
    assert found.schema.equals(SHIPPED[name], check_metadata=True)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    table = detections(40)
    tables.write(table, tmp_path / "new" / "folder" / "t.parquet", tables.DETECTIONS)
    assert tables.read(tmp_path / "new" / "folder" / "t.parquet", tables.DETECTIONS).equals(table)


def test_columns_come_in_the_schemas_order(tmp_path: Path) -> None:
    table = detections(5)
    pq.write_table(table.select(table.column_names[::-1]), tmp_path / "t.parquet")
    found = tables.read(tmp_path / "t.parquet", tables.DETECTIONS)
    assert found.equals(table)
    assert found.schema.equals(tables.DETECTIONS, check_metadata=True)


def test_everyone_may_read_what_is_written(tmp_path: Path) -> None:
    tables.write(detections(1), tmp_path / "t.parquet", tables.DETECTIONS)
    assert stat.S_IMODE((tmp_path / "t.parquet").stat().st_mode) == 0o644


@pytest.mark.parametrize("act", ["read", "write"])
def test_other_columns_are_refused_with_both_lists(tmp_path: Path, act: str) -> None:
    other = detections(2).drop_columns(["score", "frame"]).append_column("identity", pa.array([1, 2]))
    path = tmp_path / "t.parquet"
    with pytest.raises(ValueError) as error:
        ACTS[act](other, path)
    assert str(error.value) == (
        f"{path}: columns are {other.column_names}, expected {tables.DETECTIONS.names}; missing ['frame', 'score'], "
        "unexpected ['identity']. Run `dvc repro` to make it anew."
    )
    assert path.exists() == (act == "read")


@pytest.mark.parametrize("act", ["read", "write"])
@pytest.mark.parametrize(
    ("column", "found"),
    [
        (pa.array([1, 2], pa.int64()), "is int64, expected int32"),
        (pa.array([1.0, 2.0]), "is double, expected int32"),
        (pa.array([1, None], pa.int32()), "has 1 nulls, expected none"),
    ],
)
def test_another_type_is_refused_and_named(tmp_path: Path, act: str, column: pa.Array, found: str) -> None:
    other = detections(2).set_column(2, "frame", column)
    path = tmp_path / "t.parquet"
    with pytest.raises(ValueError) as error:
        ACTS[act](other, path)
    assert str(error.value).startswith(f"{path}: column 'frame' {found}. ")


def test_a_missing_table_says_which_command_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"t.parquet: no such file, expected a table. Run `dvc repro`, or `dvc pull`"):
        tables.read(tmp_path / "t.parquet", tables.DETECTIONS)
    with pytest.raises(ValueError, match="no such file"):
        tables.read_any(tmp_path)


@pytest.mark.parametrize("length", [0, 1, 4, 100, 1000, -1, -4, -8, -9])
def test_a_table_that_is_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "t.parquet"
    tables.write(detections(60), path, tables.DETECTIONS)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError) as error:
        tables.read(path, tables.DETECTIONS)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_damaged_table_is_refused_and_never_read_as_another(tmp_path: Path) -> None:
    path, table = tmp_path / "t.parquet", detections(60)
    tables.write(table, path, tables.DETECTIONS)
    content = path.read_bytes()
    same: list[bool] = []
    for position in range(0, len(content), 11):
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        with contextlib.suppress(ValueError):
            found = tables.read(path, tables.DETECTIONS)
            same.append(found.equals(table))
    assert all(same)
    assert len(same) < len(content) / 11 / 3, "most damage is noticed"


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tables.write(detections(5000), tmp_path / name, tables.DETECTIONS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@settings(deadline=None)
@given(st.lists(st.integers(0, 300), max_size=5))
def test_bytes_do_not_depend_on_how_a_table_was_put_together(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    folder, table = tmp_path_factory.getbasetemp(), detections(300)
    bounds = [0, *sorted(cuts), 300]
    parts = [table.slice(start, end - start) for start, end in itertools.pairwise(bounds)]
    tables.write(table, folder / "whole", tables.DETECTIONS)
    tables.write(tables.concat(parts, tables.DETECTIONS), folder / "parts", tables.DETECTIONS)
    assert (folder / "whole").read_bytes() == (folder / "parts").read_bytes()


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    tables.write(detections(3), path, tables.DETECTIONS)
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match="no space left"):
        tables.write(detections(9), path, tables.DETECTIONS)
    assert path.read_bytes() == before
    assert alone(path)


def fail_halfway(path: Path, error: type[BaseException]) -> None:
    with tables.replacing(path) as temporary:
        temporary.write_text("half of the ne")
        raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_in_the_block_leaves_the_old_file_whole(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "note.txt"
    tables.write_text("old", path)
    with pytest.raises(error):
        fail_halfway(path, error)
    assert path.read_text() == "old"
    assert alone(path)


def test_whoever_reads_while_a_file_is_replaced_sees_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    tables.write_text("old", path)
    with path.open() as reader:
        tables.write_text("new", path)
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_a_file_is_on_disk_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "note.txt"
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append((os.fstat(handle).st_size, path.exists())))
    tables.write_text("new", path)
    assert synced == [(3, False)]


def test_a_killed_write_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    tables.write_text("old", path)
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom pipeline.tables import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half of the ne')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_text_is_written_as_it_is(tmp_path: Path) -> None:
    tables.write_text("a\r\né\n", tmp_path / "new" / "a.txt")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "a\r\né\n".encode()
    assert os.listdir(tmp_path / "new") == ["a.txt"]  # noqa: PTH208


def test_no_parts_join_to_an_empty_table() -> None:
    assert tables.concat([], tables.DETECTIONS).equals(tables.empty(tables.DETECTIONS))


def test_columns_stand_side_by_side_as_float64() -> None:
    table = detections(4)
    assert tables.columns(table, "score", "frame").dtype == np.float64
    assert tables.columns(table, "score", "frame")[:, 1].tolist() == table["frame"].to_pylist()
    assert tables.boxes(table)[2].tolist() == [table[name][2].as_py() for name in ("x1", "y1", "x2", "y2")]
    assert tables.boxes(tables.empty(tables.DETECTIONS)).shape == (0, 4)


@settings(deadline=None)
@given(start=st.integers(0, 6), length=st.integers(0, 6), chunks=st.integers(1, 3))
def test_embeddings_of_any_stretch_are_those_of_its_rows(start: int, length: int, chunks: int) -> None:
    values = np.arange(18, dtype=np.float32).reshape(6, 3)
    column = pa.FixedSizeListArray.from_arrays(values.reshape(-1), 3)
    whole = pa.table({"embedding": pa.chunked_array([column.slice(i, 6 // chunks) for i in range(0, 6, 6 // chunks)])})
    found = tables.embeddings(whole.slice(start, length))
    assert found.dtype == np.float32
    assert np.array_equal(found, values[start : start + length])


def test_an_empty_table_has_embeddings_of_its_width() -> None:
    assert tables.embeddings(tables.empty(tables.embeddings_schema(5))).shape == (0, 5)


keys = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3)), max_size=20)


@settings(deadline=None)
@given(keys)
def test_groups_are_the_stretches_of_a_sorted_table(rows: list[tuple[str, int]]) -> None:
    rows = sorted(rows)
    table = pa.table({"s": [s for s, _ in rows], "f": [f for _, f in rows], "row": range(len(rows))})
    found = tables.groups(table, "s", "f")
    expected = {key: [n for n, _ in group] for key, group in itertools.groupby(enumerate(rows), key=lambda one: one[1])}
    assert list(found) == list(expected), "in order of appearance"
    assert {key: part["row"].to_pylist() for key, part in found.items()} == expected


@settings(deadline=None)
@given(keys)
def test_groups_refuse_rows_of_one_key_that_are_apart(rows: list[tuple[str, int]]) -> None:
    table = pa.table({"s": [s for s, _ in rows], "f": pa.array([f for _, f in rows], pa.int32())})
    stretches = [key for key, _ in itertools.groupby(rows)]
    if len(stretches) == len(set(stretches)):
        assert len(tables.groups(table, "s", "f")) == len(stretches)
    else:
        with pytest.raises(ValueError, match=r"row \d+: \{'s': '.', 'f': \d\} comes back, expected sorted rows. Sort"):
            tables.groups(table, "s", "f")


def test_groups_copy_nothing() -> None:
    table = pa.table({"frame": [1, 1, 2, 2], "x": [1.0, 2.0, 3.0, 4.0]})
    second = tables.groups(table, "frame")[(2,)]
    assert second["x"].chunk(0).buffers()[1].address == table["x"].chunk(0).buffers()[1].address


def test_a_column_that_comes_twice_is_refused(tmp_path):
    table = tables.empty(tables.FRAMES)
    twice = pa.Table.from_arrays([*table.columns, table["path"]], names=[*table.column_names, "path"])
    with pytest.raises(ValueError, match=r"b\.parquet: columns are"):
        tables.write(twice, tmp_path / "b.parquet", tables.FRAMES)
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: .*expected"):
        tables.read(tmp_path / "a.parquet", tables.FRAMES)


def test_text_that_is_no_utf8_is_refused(tmp_path):
    raw = pa.array([b"A\xff"]).view(pa.string())
    columns = {"split": ["val"], "sequence": raw, "frame": pa.array([1], pa.int32()), "path": ["a"]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: .*Invalid UTF8"):
        tables.read(tmp_path / "a.parquet", tables.FRAMES)


@pytest.mark.parametrize("text", ["", "[]", "3", "[" * 100_000])
def test_a_card_that_is_no_object_is_refused(tmp_path, text):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(ValueError, match=r"card\.json: .*expected"):
        tables.read_card(tmp_path / "card.json")


def test_a_table_of_frames_keeps_each_sequence_in_a_row_group_of_its_own(tmp_path):
    keys = [("val", "a", 1), ("val", "a", 2), ("val", "b", 1)]
    rows = [{"split": s, "sequence": n, "frame": f, "row": 0, "embedding": [1.0, 0.0]} for s, n, f in keys]
    schema = tables.embeddings_schema(2)
    tables.write(pa.Table.from_pylist(rows, schema=schema), tmp_path / "x.parquet", schema)
    file = pq.ParquetFile(tmp_path / "x.parquet")
    groups = [file.read_row_group(i)["sequence"].to_pylist() for i in range(file.num_row_groups)]
    assert groups == [["a", "a"], ["b"]]
    tables.write(tables.empty(schema), tmp_path / "x.parquet", schema)
    assert tables.read(tmp_path / "x.parquet", schema).num_rows == 0
