from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import tables
from pipeline.inference.targets import SequenceTargets, detection_targets, ground_truth_targets, sequences_of


def frames(*sequences: tuple[str, str, int]) -> pa.Table:
    """A row for each frame of (split, sequence, length)."""
    rows = [
        {"split": split, "sequence": name, "frame": number, "path": f"{split}/{name}/{number}.jpg"}
        for split, name, length in sequences
        for number in range(1, length + 1)
    ]
    return pa.Table.from_pylist(rows, schema=tables.FRAMES)


def box(split: str, name: str, frame: int, number: int, **more: Any) -> dict[str, Any]:
    corners = {"x1": float(number), "y1": 0.0, "x2": number + 5.0, "y2": 9.0}
    return {"split": split, "sequence": name, "frame": frame, **corners, **more}


def person(split: str, name: str, frame: int, number: int, *, considered: bool = True, category: int = 1) -> dict:
    more = {"considered": considered, "category": category, "visibility": 0.0}
    return box(split, name, frame, number, identity=100 + number, **more)


def ground_truth(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=tables.GROUND_TRUTH)


def detections(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=tables.DETECTIONS)


def key(one: SequenceTargets) -> tuple[str, str]:
    return one.frames.split, one.frames.sequence


def test_sequences_keep_the_tables_order_and_their_paths() -> None:
    found = sequences_of(frames(("train", "b", 2), ("val", "a", 1)))
    assert [(one.split, one.sequence) for one in found] == [("train", "b"), ("val", "a")]
    assert found[0].paths == (Path("train/b/1.jpg"), Path("train/b/2.jpg"))


def test_no_frames_are_no_sequences() -> None:
    assert sequences_of(tables.empty(tables.FRAMES)) == []
    assert ground_truth_targets(tables.empty(tables.FRAMES), ground_truth(person("val", "a", 1, 1))) == []


def test_people_that_count_are_targets_with_their_row_in_the_frame() -> None:
    (found,) = ground_truth_targets(
        frames(("val", "a", 3)),
        ground_truth(
            person("val", "a", 1, 0, category=7),
            person("val", "a", 1, 1),
            person("val", "a", 1, 2, considered=False),
            person("val", "a", 1, 3),
            person("val", "a", 3, 4),
        ),
    )
    assert [rows.tolist() for rows in found.rows] == [[1, 3], [], [0]]
    assert [identities.tolist() for identities in found.identities] == [[101, 103], [], [104]]
    assert [boxes[:, 0].tolist() for boxes in found.boxes] == [[1, 3], [], [4]]
    assert [boxes.shape for boxes in found.boxes] == [(2, 4), (0, 4), (1, 4)]


def test_invisible_people_are_targets_too() -> None:
    (found,) = ground_truth_targets(frames(("val", "a", 1)), ground_truth(person("val", "a", 1, 1)))
    assert len(found.rows[0]) == 1


def test_detections_above_the_score_are_targets_without_identity() -> None:
    scores = [0.05, 0.1, 0.100001, 0.9]
    table = detections(*(box("val", "a", 1, i, score=score) for i, score in enumerate(scores)))
    (found,) = detection_targets(frames(("val", "a", 1)), table, minimum_score=0.1)
    assert found.rows[0].tolist() == [2, 3]
    assert found.identities[0].tolist() == [0, 0]


def test_sequences_without_images_or_without_boxes_are_left_out() -> None:
    truth = ground_truth(person("train", "a", 1, 1), person("train", "b", 1, 2), person("val", "a", 2, 3))
    found = ground_truth_targets(frames(("train", "a", 1), ("train", "c", 1), ("val", "a", 2)), truth)
    assert [key(one) for one in found] == [("train", "a"), ("val", "a")]
    assert [one.identities[-1].tolist() for one in found] == [[101], [103]], "the halves of a sequence stay apart"


def test_a_sequence_of_which_no_box_counts_has_frames_without_targets() -> None:
    (found,) = detection_targets(
        frames(("val", "a", 2)), detections(box("val", "a", 1, 1, score=0.05)), minimum_score=0.1
    )
    assert [len(rows) for rows in found.rows] == [0, 0]


cells = st.tuples(st.sampled_from("ab"), st.integers(1, 4), st.booleans(), st.sampled_from([1, 1, 7]))


@settings(deadline=None)
@given(st.lists(cells, max_size=25))
def test_every_target_is_the_box_that_its_row_names(drawn: list[tuple[str, int, bool, int]]) -> None:
    rows = [
        person("val", name, frame, number, considered=considered, category=category)
        for number, (name, frame, considered, category) in enumerate(sorted(drawn, key=lambda one: one[:2]))
    ]
    table = ground_truth(*rows)
    of_frame = tables.groups(table, "sequence", "frame")
    described = set()
    for one in ground_truth_targets(frames(("val", "a", 4), ("val", "b", 4)), table):
        assert len(one.boxes) == len(one.rows) == len(one.identities) == 4
        for frame in range(1, 5):
            for corners, row, identity in zip(
                one.boxes[frame - 1], one.rows[frame - 1], one.identities[frame - 1], strict=True
            ):
                part = of_frame[one.frames.sequence, frame]
                assert np.array_equal(corners, tables.boxes(part)[row])
                assert identity == part["identity"][int(row)].as_py()
                described.add(identity)
    assert described == {row["identity"] for row in rows if row["considered"] and row["category"] == 1}
