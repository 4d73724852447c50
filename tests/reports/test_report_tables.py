import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import tables
from pipeline.evaluation.schemas import REID, SCHEMAS
from pipeline.reports.tables import KEYS, headline, join_scores, write_tables

EXPERIMENTS = ["synthetic", "mot17-half"]


def written(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_every_row_of_every_experiment_is_kept(runs: Path) -> None:
    joined = join_scores(runs, EXPERIMENTS)
    for name in SCHEMAS:
        alone = sum(pq.read_table(runs / one / "scores" / f"{name}.parquet").num_rows for one in EXPERIMENTS)
        assert joined[name].num_rows == alone > 0, name


@pytest.mark.parametrize("name", SCHEMAS)
def test_rows_are_sorted_by_what_makes_them_one(runs: Path, name: str) -> None:
    rows = [tuple(row[key] for key in KEYS[name]) for row in join_scores(runs, EXPERIMENTS)[name].to_pylist()]
    assert rows == sorted(rows)
    assert len(set(rows)) == len(rows)


def test_the_order_of_experiments_and_of_rows_does_not_change_a_byte(runs: Path, tmp_path: Path) -> None:
    write_tables(join_scores(runs, EXPERIMENTS), tmp_path / "one")
    for name, schema in SCHEMAS.items():
        path = runs / "synthetic" / "scores" / f"{name}.parquet"
        table = tables.read(path, schema)
        tables.write(table.take(list(range(table.num_rows))[::-1]), path, schema)
    write_tables(join_scores(runs, EXPERIMENTS[::-1]), tmp_path / "other")
    assert written(tmp_path / "one") == written(tmp_path / "other")


def test_the_folder_holds_the_tables_with_their_schemas_and_the_papers_numbers(runs: Path, tmp_path: Path) -> None:
    write_tables(join_scores(runs, EXPERIMENTS), tmp_path)
    for name, schema in SCHEMAS.items():
        tables.read(tmp_path / f"{name}.parquet", schema)
    assert {path.name for path in tmp_path.glob("*.*")} == {
        *(f"{name}.parquet" for name in SCHEMAS),
        "published.parquet",
        "metrics.json",
    }


def test_a_listed_experiment_without_scores_names_the_stage_to_run(runs: Path) -> None:
    (runs / "synthetic" / "scores" / "reid.parquet").unlink()
    with pytest.raises(ValueError, match=r"reid\.parquet missing.*`dvc repro score@synthetic`"):
        join_scores(runs, EXPERIMENTS)


def test_headlines_are_means_over_seeds(runs: Path, tmp_path: Path) -> None:
    write_tables(join_scores(runs, EXPERIMENTS), tmp_path)
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["synthetic"]["detection"] == {"AP50": 82.346}
    assert found["synthetic"]["reid"]["finetrack"] == {"rank1": 90.0, "mAP": 60.0}
    assert found["synthetic"]["tracking"]["finetrack"] == {"HOTA": 65.0, "IDF1": 70.0, "MOTA": 70.0, "IDSW": 40.0}
    assert found["mot17-half"]["tracking"]["sort"]["HOTA"] == 50.0
    assert "detection" not in found["mot17-half"]


def test_splits_are_told_apart_where_there_are_several(runs: Path) -> None:
    scores = join_scores(runs, ["mot17-half"])
    on_test = scores["reid"].set_column(1, REID.field("split"), pa.array(["test"] * scores["reid"].num_rows))
    found = headline({**scores, "reid": pa.concat_tables([scores["reid"], on_test])})
    assert sorted(found["mot17-half"]) == ["test", "val"]
    assert found["mot17-half"]["test"]["reid"] == found["mot17-half"]["val"]["reid"]


def test_undefined_figures_are_left_out_of_the_headlines(runs: Path) -> None:
    scores = join_scores(runs, ["mot17-half"])
    reid = scores["reid"]
    nothing = reid.set_column(
        reid.column_names.index("mAP"), REID.field("mAP"), pa.array([float("nan")] * reid.num_rows)
    )
    assert headline({**scores, "reid": nothing})["mot17-half"]["reid"]["finetrack"] == {"rank1": 89.0}


def test_an_experiment_without_pixels_has_headlines_for_what_it_has(runs: Path) -> None:
    scores = {**join_scores(runs, ["mot17-half"]), "reid": tables.empty(REID)}
    assert list(headline(scores)["mot17-half"]) == ["tracking"]
