"""Result rows written as they come."""

import numpy as np
import pytest

from pipeline import tables
from pipeline.commands import rows
from pipeline.data.motchallenge import read_results


def frame(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    identities = np.arange(1, count + 1)
    boxes = np.stack([identities, identities, identities + 10, identities + 20], axis=1).astype(float)
    return identities, boxes, np.full(count, 0.5)


@pytest.mark.parametrize("counts", [[], [0, 0], [3, 0, 2], [4], [5, 4, 13, 1]])
def test_rows_are_the_same_wherever_row_groups_end(tmp_path, monkeypatch, counts):
    monkeypatch.setattr(rows, "_ROW_GROUP", 4)
    with rows.written_rows(tmp_path, "walk") as writer:
        for number, count in enumerate(counts, start=1):
            writer.add(number, *frame(count))
        assert writer.written == sum(counts)
    table = tables.read(tmp_path / "tracks.parquet", tables.TRACKS)
    expected = [(number, identity) for number, count in enumerate(counts, 1) for identity in range(1, count + 1)]
    assert list(zip(table["frame"].to_pylist(), table["identity"].to_pylist(), strict=True)) == expected
    found = read_results(tmp_path / "tracks.txt")
    np.testing.assert_array_equal(found.boxes, tables.boxes(table))
    assert set(table["sequence"].to_pylist()) == ({"walk"} if expected else set())


def test_nothing_is_kept_of_a_frame_once_it_is_written(tmp_path):
    with rows.written_rows(tmp_path, "walk") as writer:
        boxes = frame(3)[1]
        writer.add(1, *frame(3)[:1], boxes, frame(3)[2])
        boxes[:] = 0
    assert tables.boxes(tables.read(tmp_path / "tracks.parquet", tables.TRACKS)).all()
