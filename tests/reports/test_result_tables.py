import math
import statistics
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.reports.results import (
    UNKNOWN,
    Measure,
    ResultsTable,
    detection_table,
    of,
    over_seeds,
    reid_tables,
    tracking_tables,
)
from pipeline.reports.tables import join_scores

percents = st.floats(0, 100)


@pytest.fixture
def synthetic(runs: Path) -> dict[str, pa.Table]:
    return {name: of(table, experiment="synthetic") for name, table in join_scores(runs, ["synthetic"]).items()}


def column(table: ResultsTable, name: str) -> dict[str, str]:
    place = [one.name for one in table.columns].index(name)
    return {row[0].text: row[place].text for row in table.rows}


@settings(deadline=None)
@given(st.lists(percents, min_size=2, max_size=6))
def test_mean_and_spread_are_those_of_the_seeds(values: list[float]) -> None:
    table = pa.table({"variant": ["a"] * len(values), "seed": list(range(len(values))), "mAP": values})
    (row,) = over_seeds(table, ["variant"], ["mAP"])
    assert row["seeds"] == len(values)
    assert row["mAP"].mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert row["mAP"].spread == pytest.approx(statistics.stdev(values), abs=1e-6)


def test_one_seed_has_no_spread_and_an_undefined_figure_is_a_dash() -> None:
    table = pa.table(
        {"variant": ["a"], "seed": [0], "mAP": [51.25], "rank1": pa.array([None], pa.float64()), "IDSW": [7]}
    )
    (row,) = over_seeds(table, ["variant"], ["mAP", "rank1", "IDSW"])
    assert [str(row[name]) for name in ("mAP", "rank1", "IDSW")] == ["51.2", UNKNOWN, "7"]
    assert str(Measure(math.nan, math.nan, digits=1)) == UNKNOWN


def test_no_rows_give_no_tables(synthetic: dict[str, pa.Table]) -> None:
    assert over_seeds(synthetic["reid"].slice(0, 0), ["variant"], ["mAP"]) == []
    assert tracking_tables(synthetic["tracking"].slice(0, 0)) == []
    assert reid_tables(synthetic["reid"].slice(0, 0)) == []


def test_variants_stand_best_first_with_means_over_seeds(synthetic: dict[str, pa.Table]) -> None:
    table, _ = tracking_tables(synthetic["tracking"])
    hota = column(table, "HOTA")
    assert [name for n, name in enumerate(hota) if n in (0, len(hota) - 1)] == ["finetrack", "sort"]
    assert hota["finetrack"] == "65.0 ± 1.0"
    assert column(table, "seeds")["finetrack"] == "3"
    assert "standard deviation" in table.caption


def test_the_best_is_the_lowest_where_less_is_better(synthetic: dict[str, pa.Table]) -> None:
    table, _ = tracking_tables(synthetic["tracking"])
    places = {one.name: place for place, one in enumerate(table.columns)}
    best = {name: [row[0].text for row in table.rows if row[places[name]].is_best] for name in ("HOTA", "IDSW", "MT")}
    assert best == {"HOTA": ["finetrack"], "IDSW": ["finetrack"], "MT": []}  # of MT all have the same


def test_each_evaluator_has_a_table_without_the_columns_it_does_not_know(synthetic: dict[str, pa.Table]) -> None:
    ours, other = tracking_tables(synthetic["tracking"])
    assert "motmetrics" not in ours.title
    assert "motmetrics" in other.title
    assert "HOTA" in [one.name for one in ours.columns]
    assert "HOTA" not in [one.name for one in other.columns]


def test_each_protocol_has_a_table(synthetic: dict[str, pa.Table]) -> None:
    found = {table.title: column(table, "rank1")["baseline"] for table in reid_tables(synthetic["reid"])}
    assert found == {
        "Re-ID on val, protocol loo": "86.0 ± 1.0",
        "Re-ID on val, protocol gap": "66.0 ± 1.0",
        "Re-ID on val, protocol first": "78.0 ± 1.0",
    }


def test_headings_say_what_the_schema_says(synthetic: dict[str, pa.Table]) -> None:
    table = detection_table(synthetic["detection"])
    assert [one.doc for one in table.columns if one.name == "AP50"] == ["average precision at IoU 0.5, percent"]
    assert [cell.text for cell in table.rows[0]] == ["val", "82.3", "51.0", "78.0", "91.0", "354"]
