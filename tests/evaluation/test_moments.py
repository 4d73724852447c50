"""Where one tracker keeps an identity that another loses."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import tables
from pipeline.data.motchallenge import Results, write_results
from pipeline.evaluation.experiment import prepared_ground_truth
from pipeline.evaluation.moments import CLIPS, NOBODY, best, clip_name, first_seed, followed, jobs, moments
from pipeline.evaluation.schemas import MOMENTS

RATE = 10.0  # so that an identity is held for 5 frames, and 15 may lie between
WALK = 40  # frames


def column(*spans: tuple[int, int]) -> np.ndarray:
    """One person followed by (identity, frames), one after the other."""
    return np.concatenate([np.full(frames, identity) for identity, frames in spans])[:, None]


KEPT = column((7, WALK))


def found(loser: np.ndarray, keeper: np.ndarray = KEPT) -> list[tuple[int, int, int, int, int]]:
    return [(one.last, one.first, one.before, one.after, one.kept) for one in moments(keeper, loser, RATE)]


def test_a_change_of_identity_is_found_at_its_frames():
    assert found(column((1, 20), (2, 20))) == [(20, 21, 1, 2, 7)]


def test_who_keeps_everybody_loses_nobody():
    assert found(KEPT, column((1, 20), (2, 20))) == []


def test_both_losing_a_person_is_no_moment():
    assert found(column((1, 20), (2, 20)), column((7, 22), (8, 18))) == []


def test_a_flicker_is_no_moment():
    assert found(column((1, 20), (2, 2), (1, 18))) == []


@pytest.mark.parametrize(("away", "count"), [(14, 1), (15, 0)])
def test_a_person_may_be_out_of_sight_between_for_one_and_a_half_seconds(away, count):
    assert len(found(column((1, 13), (NOBODY, away), (2, 27 - away)))) == count


def test_a_keeper_that_does_not_see_the_person_keeps_nothing():
    assert found(column((1, 20), (2, 20)), column((7, 20), (NOBODY, 20))) == []


def test_a_keeper_may_miss_frames_but_have_no_other_identity_between():
    lost = column((1, 16), (NOBODY, 8), (2, 16))
    assert len(found(lost, column((7, 17), (NOBODY, 6), (7, 17)))) == 1
    assert found(lost, column((7, 17), (8, 6), (7, 17))) == []


def test_what_is_kept_is_counted_up_to_the_next_other_identity():
    keeper = column((3, 5), (7, 20), (NOBODY, 5), (7, 6), (4, 4))
    (one,) = moments(keeper, column((1, 20), (2, 20)), RATE)
    assert one.span == 26


@given(st.permutations(range(1, 5)), st.permutations(range(1, 5)))
def test_what_identities_are_called_changes_nothing(names, others):
    rng = np.random.default_rng(0)
    keeper, loser = (np.repeat(rng.integers(1, 5, (4, 6)), 10, axis=0) for _ in range(2))
    plain = [(one.person, one.last, one.span) for one in moments(keeper, loser, RATE)]
    renamed = moments(np.array([0, *names])[keeper], np.array([0, *others])[loser], RATE)
    assert [(one.person, one.last, one.span) for one in renamed] == plain


def box(frame: int) -> list[float]:
    return [100.0 + frame, 50.0, 140.0 + frame, 150.0]


def tracks(identities: list[int]) -> Results:
    frames = np.array([n for n, identity in enumerate(identities, start=1) if identity != NOBODY])
    kept = np.array([identity for identity in identities if identity != NOBODY])
    return Results(frames, kept, np.array([box(n) for n in frames]), np.ones(len(frames)))


@pytest.fixture
def ground_truth() -> pa.Table:
    """Person 11 walks; 12 stands far away; a distractor walks where person 11 does."""
    rows = []
    for n in range(1, WALK + 1):
        key = {"split": "val", "sequence": "street-01", "frame": n, "visibility": 1.0}
        for identity, corners, category in ((11, box(n), 1), (12, [500.0, 50.0, 540.0, 150.0], 1), (13, box(n), 8)):
            place = dict(zip(("x1", "y1", "x2", "y2"), corners, strict=True))
            rows.append({**key, "identity": identity, **place, "considered": category == 1, "category": category})
    return pa.Table.from_pylist(rows, schema=tables.GROUND_TRUTH)


@pytest.fixture
def sequences() -> pa.Table:
    size = {"frames": WALK, "width": 640, "height": 200, "first": 1, "frame_rate": RATE}
    row = {"split": "val", "sequence": "street-01", **size, "has_ground_truth": True, "has_images": True}
    return pa.Table.from_pylist([row], schema=tables.SEQUENCES)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """FineTrack's first seed keeps person 11, its second and ByteTrack do not."""
    written = {
        "finetrack/seed2": [7] * WALK,
        "finetrack/seed10": [7] * 20 + [8] * 20,
        "bytetrack/seed0": [1] * 20 + [2] * 20,
    }
    for name, identities in written.items():
        write_results(tmp_path / name / "street-01.txt", tracks(identities))
    return tmp_path


def rows(results: Path, ground_truth: pa.Table, sequences: pa.Table) -> list[dict]:
    truth = prepared_ground_truth(sequences, ground_truth, ("val",), "MOT17")
    return [row for job in jobs(truth, ground_truth, sequences, results) for row in job()]


def test_identities_are_followed_where_boxes_overlap_enough(ground_truth, sequences):
    truth = prepared_ground_truth(sequences, ground_truth, ("val",), "MOT17")["val"]["street-01"]
    some = tracks([4, NOBODY, 5])
    away = Results(some.frames, some.identities, some.boxes + np.array([0, 0, 60.0, 0]), some.scores)
    assert followed(truth, some)[:4].tolist() == [[4, NOBODY], [NOBODY, NOBODY], [5, NOBODY], [NOBODY, NOBODY]]
    assert (followed(truth, away) == NOBODY).all()


def test_an_overlap_of_exactly_a_half_counts(ground_truth, sequences):
    truth = prepared_ground_truth(sequences, ground_truth, ("val",), "MOT17")["val"]["street-01"]
    some = tracks([4])
    wide = Results(some.frames, some.identities, some.boxes + np.array([0, 0, 40.0, 0]), some.scores)
    assert followed(truth, wide)[0].tolist() == [4, NOBODY]


def test_a_row_names_the_annotated_person_and_the_first_seeds(results, ground_truth, sequences):
    (row,) = rows(results, ground_truth, sequences)
    assert row == {
        "split": "val", "sequence": "street-01", "variant": "finetrack", "seed": 2, "loser": "bytetrack",
        "loser_seed": 0, "person": 11, "last": 20, "first": 21, "before": 1, "after": 2, "kept": 7, "span": WALK,
    }  # fmt: skip


def test_the_other_way_round_is_counted_too(results, ground_truth, sequences):
    write_results(results / "finetrack/seed2/street-01.txt", tracks([7] * 20 + [8] * 20))
    write_results(results / "bytetrack/seed0/street-01.txt", tracks([1] * WALK))
    assert [(row["variant"], row["loser"]) for row in rows(results, ground_truth, sequences)] == [
        ("bytetrack", "finetrack")
    ]


def test_there_is_nothing_to_compare_where_one_was_not_tracked(results, ground_truth, sequences):
    (results / "finetrack").rename(results / "mpmg")
    assert rows(results, ground_truth, sequences) == []


def test_the_first_seed_is_the_lowest_number(results):
    assert first_seed(results / "finetrack").name == "seed2"


def moment(person: int, span: int, first: int = 21, variant: str = "finetrack") -> dict:
    key = {"experiment": "toy", "split": "val", "sequence": "street-01", "variant": variant, "seed": 0}
    identities = {"loser": "other", "loser_seed": 0, "before": 1, "after": 2, "kept": 7}
    return {**key, **identities, "person": person, "last": first - 1, "first": first, "span": span, "fingerprint": "f"}


def chosen(*some: dict) -> list[tuple[int, int]]:
    return [(row["person"], row["first"]) for row in best(pa.Table.from_pylist(list(some), schema=MOMENTS))]


def test_the_best_are_those_kept_longest_one_a_person_and_never_the_other_trackers():
    some = [moment(1, 50, 30), moment(1, 50, 21), moment(2, 90), moment(3, 99, variant="bytetrack"), moment(4, 10)]
    assert chosen(*some) == chosen(*reversed(some)) == [(2, 21), (1, 21), (4, 21)]
    assert len(chosen(*(moment(person, 9) for person in range(9)))) == CLIPS
    assert chosen() == []


def test_clips_of_different_moments_have_different_names():
    assert len({clip_name(moment(person, 9, first)) for person in (1, 2) for first in (5, 6)}) == 4
