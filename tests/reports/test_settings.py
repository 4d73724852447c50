from pathlib import Path

import pytest

from pipeline.reports.results import ResultsTable
from pipeline.reports.settings import settings_tables
from pipeline.reports.tables import join_scores


@pytest.fixture
def found(runs: Path) -> dict[str, ResultsTable]:
    return {table.title: table for table in settings_tables(join_scores(runs, ["synthetic"])["provenance"])}


def texts(table: ResultsTable) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_settings_that_rows_share_stand_once_by_section(found: dict[str, ResultsTable]) -> None:
    assert texts(found["Settings: track"]) == [["ema", "0.9"]]
    assert texts(found["Settings: reid"]) == [["epochs", "12"]]  # of the rows without appearance none has it


def test_settings_that_differ_stand_in_their_rows(found: dict[str, ResultsTable]) -> None:
    rows = found["Rows"]
    assert [column.name for column in rows.columns] == ["fingerprint", "variant", "seed", "reid.variant.neck"]
    assert ["synthetic-baseline-2", "baseline", "2", "fpn"] in texts(rows)
    assert ["synthetic-sort-0", "sort", "0", ""] in texts(rows)
    assert len(rows.rows) == 6 * 3 + 2


def test_where_it_was_computed_stands_once_where_rows_agree(found: dict[str, ResultsTable]) -> None:
    origin = texts(found["Origin"])
    assert [value for what, value in origin if what == "revision"] == ["0123456789abcdef"]
    assert ["seconds of detect", "12.5"] in origin
