"""What the page says of identities kept and lost."""

from pathlib import Path

import pytest

from pipeline.reports import results
from pipeline.reports.moments import caption, moments_tables
from pipeline.reports.tables import join_scores


@pytest.fixture
def scores(runs: Path) -> dict:
    return join_scores(runs, ["synthetic"])


def test_both_ways_round_are_counted_for_every_sequence_and_for_all(scores: dict) -> None:
    (table,) = moments_tables(scores["moments"], scores["tracking"])
    assert [column.name for column in table.columns][2:] == ["only finetrack keeps", "only bytetrack keeps"]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["val", "dance-02", "0", "0"],
        ["val", "street-01", "2", "1"],
        ["all", "", "2", "1"],
    ]


def test_nothing_is_said_where_only_one_of_the_two_was_scored(scores: dict) -> None:
    assert moments_tables(scores["moments"], results.of(scores["tracking"], variant="finetrack")) == []


def test_a_caption_names_identities_and_frames(scores: dict) -> None:
    assert caption(scores["moments"].to_pylist()[-1]) == (
        "street-01, person 2 in brackets. Left: bytetrack takes identity 3 for 4 (frames 9 to 12). "
        "Right: finetrack keeps 5, in 41 frames in all."
    )
