from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.reports.ablations import ablation_tables
from pipeline.reports.results import UNKNOWN, Cell, ResultsTable, of
from pipeline.reports.tables import join_scores


def ablations(runs: Path, experiment: str) -> dict[int, ResultsTable]:
    scores = join_scores(runs, [experiment])
    found = ablation_tables(experiment, scores["tracking"], scores["reid"])
    return {int(table.title.split()[1].rstrip(":")): table for table in found}


def row(table: ResultsTable, variant: str) -> list[Cell]:
    (found,) = (list(cells) for cells in table.rows if cells[0].text == variant)
    return found


def test_the_papers_four_ablations_stand_beside_ours(runs: Path) -> None:
    found = ablations(runs, "synthetic")
    assert sorted(found) == [3, 4, 5, 6]
    assert [cell.text for cell in row(found[4], "finetrack")] == [
        "finetrack",
        "90.0 ± 1.0",
        "92.3",
        "60.0 ± 1.0",
        "61.8",
    ]


def test_gains_are_over_the_first_row_on_both_sides(runs: Path) -> None:
    table = ablations(runs, "synthetic")[4]
    assert [cell.gain for cell in row(table, "baseline")] == ["", "", "", "", ""]
    assert [cell.gain for cell in row(table, "finetrack")] == ["", "+4.0", "+4.0", "+4.0", "+11.4"]


def test_other_data_are_never_subtracted(runs: Path) -> None:
    for table in ablations(runs, "synthetic").values():
        assert "difference" not in [column.name for column in table.columns]
        assert "absolute values do not compare" in table.caption


def test_the_same_data_and_split_are_subtracted(runs: Path) -> None:
    table = ablations(runs, "mot17-half")[6]
    assert [column.name for column in table.columns][1:4] == ["MOTA", "paper (MOT17)", "difference"]
    assert [cell.text for cell in row(table, "finetrack")][1:4] == ["69.0", "77.0", "\N{MINUS SIGN}8.0"]
    assert "Same data and split" in table.caption


def test_another_split_of_the_same_data_is_not_subtracted(runs: Path) -> None:
    tracking = join_scores(runs, ["mot17-half"])["tracking"]
    place = tracking.column_names.index("split")
    tracking = tracking.set_column(place, tracking.schema.field("split"), pa.array(["test"] * tracking.num_rows))
    (table,) = ablation_tables("mot17-half", tracking, join_scores(runs, ["mot17-half"])["reid"].slice(0, 0))
    assert "difference" not in [column.name for column in table.columns]


def test_a_row_that_was_not_run_is_a_dash_without_gain(runs: Path) -> None:
    cells = row(ablations(runs, "mot17-half")[5], "finetrack-nofam")
    assert [cell.text for cell in cells][1:4] == [UNKNOWN, "92.0", UNKNOWN]
    assert cells[1].gain == ""


def test_a_table_none_of_whose_rows_was_run_is_left_out(runs: Path) -> None:
    scores = join_scores(runs, ["synthetic"])
    without = of(scores["tracking"], variant="sort")
    assert ablation_tables("synthetic", without, scores["reid"].slice(0, 0)) == []


@pytest.mark.parametrize(("variant", "place"), [("baseline", 2), ("fafpn", 6), ("mpmg", 6)])
def test_what_the_paper_contradicts_itself_in_is_noted(runs: Path, variant: str, place: int) -> None:
    cells = row(ablations(runs, "synthetic")[6], variant)
    assert [n for n, cell in enumerate(cells) if cell.note] == [place]
