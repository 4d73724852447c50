"""`finetrack compare`."""

import math
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import tables
from pipeline.cli import main
from pipeline.commands import aligned
from pipeline.reports import revisions
from pipeline.reports.published import published

KEY = {"experiment": "mot17-half", "split": "val", "variant": "finetrack", "seed": 0}


def tracking(**changes: object) -> list[dict]:
    """A sequence's row and the one for all."""
    row = {**KEY, "evaluator": "trackeval", "HOTA": 60.0, "MOTA": 70.0, "IDSW": 100, "frames": 300, **changes}
    whole = [] if "sequence" in changes else [{**row, "sequence": "COMBINED"}]
    return [{**row, "sequence": changes.get("sequence", "MOT17-02")}, *whole]


def write(path: Path, rows: list[dict]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    tables.write(table, path, table.schema)
    return str(path)


def compare(*arguments: object) -> int:
    return main(["compare", *map(str, arguments)])


def compared(tmp_path: Path, *sources: object) -> list[dict]:
    out = tmp_path / "compared.parquet"
    assert compare(*sources, "--format", "parquet", "--out", out) == 0
    return tables.read(out, aligned.SCHEMA).to_pylist()


def only(rows: list[dict], **values: object) -> dict:
    (found,) = [row for row in rows if all(row[name] == value for name, value in values.items())]
    return found


def test_the_same_rows_are_subtracted(tmp_path):
    first = write(tmp_path / "a.parquet", tracking())
    second = write(tmp_path / "b.parquet", tracking(HOTA=61.5, IDSW=90))
    rows = compared(tmp_path, first, second)
    assert only(rows, source=second, sequence="COMBINED", metric="HOTA")["difference"] == 1.5
    assert only(rows, source=second, sequence="MOT17-02", metric="IDSW")["difference"] == -10
    assert only(rows, source=first, sequence="COMBINED", metric="HOTA")["difference"] is None


@pytest.mark.parametrize("column", ["experiment", "split", "variant", "evaluator", "sequence"])
def test_rows_of_another_kind_stand_alone(tmp_path, column):
    first = write(tmp_path / "a.parquet", tracking(sequence="MOT17-04"))
    second = write(tmp_path / "b.parquet", tracking(**{"sequence": "MOT17-04", column: "another"}))
    rows = compared(tmp_path, first, second)
    assert {row["source"] for row in rows} == {first, second}
    assert all(row["difference"] is None for row in rows)


def test_rows_of_another_protocol_stand_alone(tmp_path):
    row = {**KEY, "protocol": "loo", "rank1": 90.0, "mAP": 60.0, "queries": 10, "gallery": 9}
    first = write(tmp_path / "a.parquet", [row])
    second = write(tmp_path / "b.parquet", [{**row, "protocol": "gap"}])
    assert all(one["difference"] is None for one in compared(tmp_path, first, second))
    third = write(tmp_path / "c.parquet", [{**row, "rank1": 91.0}])
    assert only(compared(tmp_path, first, third), source=third, metric="rank1")["difference"] == 1.0


@pytest.mark.parametrize(
    "others", [tracking(sequence="MOT17-02") + tracking(sequence="MOT17-04") + tracking()[1:], tracking(frames=299)]
)
def test_totals_over_other_sequences_or_frames_are_not_subtracted(tmp_path, others):
    first, second = write(tmp_path / "a.parquet", tracking()), write(tmp_path / "b.parquet", others)
    row = only(compared(tmp_path, first, second), source=second, sequence="COMBINED", metric="HOTA")
    assert row["difference"] is None
    assert "other sequences, frames" in row["note"]


@pytest.mark.parametrize(("shift", "is_beyond"), [(0.5, False), (1.9, False), (2.1, True), (-2.1, True)])
def test_a_difference_of_means_says_whether_it_exceeds_the_spread_over_seeds(tmp_path, shift, is_beyond):
    def rows(start: float) -> list[dict]:
        return [row for seed in (0, 1, 2) for row in tracking(seed=seed, HOTA=start + seed)]

    first, second = write(tmp_path / "a.parquet", rows(60)), write(tmp_path / "b.parquet", rows(60 + shift))
    found = compared(tmp_path, first, second)
    mean = only(found, source=second, sequence="COMBINED", metric="HOTA", seed=None)
    assert mean["value"] == pytest.approx(61 + shift)
    assert (mean["spread"], mean["difference"]) == (pytest.approx(1.0), pytest.approx(shift))
    assert mean["beyond_spread"] is is_beyond
    assert only(found, source=second, sequence="COMBINED", metric="HOTA", seed=1)["beyond_spread"] is None


def test_the_paper_stands_beside_but_is_never_subtracted(tmp_path):
    ours = write(tmp_path / "a.parquet", tracking(MOTA=76.0))
    rows = compared(tmp_path, ours, "paper")
    theirs = only(rows, source="paper", variant="finetrack", metric="MOTA", experiment="mot17-half")
    assert (theirs["value"], theirs["difference"]) == (77.0, None)
    assert theirs["evaluator"] == "trackeval"
    assert "states no evaluator" in theirs["note"]


def test_every_published_score_of_a_known_metric_is_there():
    metrics = {name for names in aligned.METRICS.values() for name in names}
    cells = [cell for cell in published().to_pylist() if cell["metric"] in metrics]
    expected = {(cell["dataset"], cell["split"], cell["method"], cell["metric"]) for cell in cells}
    rows = aligned.paper_rows(published(), [])
    assert sum(len(row.figures) for row in rows.values()) == len(expected)


@settings(max_examples=25)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=4), st.floats(-5, 5))
def test_what_is_subtracted_is_the_mean(figures, shift):
    def rows(values: list[float]) -> aligned.Rows:
        some = [row for seed, value in enumerate(values) for row in tracking(seed=seed, HOTA=value)]
        return aligned.rows_of("x", [("tracking", pa.Table.from_pylist(some))])

    lines = aligned.align({"a": rows(figures), "b": rows([one + shift for one in figures])})
    shown = [line for line in lines if line.key.sequence == "COMBINED" and not line.is_in_mean]
    (line,) = shown
    assert math.isclose(line.sources["b"].values["HOTA"].difference, shift, abs_tol=1e-9)


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    folder = tmp_path / "reports"
    write(folder / "tracking.parquet", [row for seed in (0, 1) for row in tracking(seed=seed, HOTA=60.0 + seed)])
    row = {**KEY, "protocol": "loo", "rank1": 90.0, "rank5": 95.0, "mAP": 60.0, "queries": 10, "gallery": 9}
    write(folder / "reid.parquet", [row])
    figures = {"AP50": 80.0, "AP": None, "recall": 70.0, "precision": 75.0, "images": 5}
    write(folder / "detection.parquet", [{"experiment": "mot17-half", "split": "val", **figures}])
    return folder


def test_a_report_folder_is_printed_as_means_of_totals(reports, capsys):
    assert compare(reports, "paper") == 0
    printed = capsys.readouterr().out
    assert "60.5 ± 0.7" in printed
    assert "MOT17-02" not in printed
    assert "detection mot17-half val" in printed
    assert "the paper states no protocol" in printed


def test_what_the_paper_alone_has_comes_last(reports, capsys):
    assert compare(reports, "paper") == 0
    printed = capsys.readouterr().out
    own = [printed.index(f"{kind} mot17-half val") for kind in ("tracking", "reid", "detection")]
    assert max(own) < printed.index("dancetrack test")


def test_full_shows_sequences_and_seeds(reports, capsys):
    assert compare(reports, "--full") == 0
    printed = capsys.readouterr().out
    assert "MOT17-02" in printed
    assert "mean" in printed


@pytest.mark.parametrize(("kind", "words"), [("markdown", ["| ---: |"]), ("latex", [r"\toprule", r"$\pm$", r"\\"])])
def test_a_table_for_a_paper_is_written(reports, tmp_path, kind, words):
    assert compare(reports, "--format", kind, "--out", tmp_path / "table") == 0
    text = (tmp_path / "table").read_text()
    assert all(word in text for word in words)
    assert "60.5" in text


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["REPORTS", "REPORTS"], "different sources"),
        (["REPORTS", "--format", "parquet"], "--out"),
        (["REPORTS", "nowhere.parquet"], "nowhere.parquet"),
        (["EMPTY"], "tracking.parquet"),
        (["ODD"], "odd.parquet"),
    ],
)
def test_what_cannot_be_compared_is_refused(reports, tmp_path, capsys, arguments, word):
    (tmp_path / "empty").mkdir()
    odd = write(tmp_path / "odd.parquet", [{"speed": 3}])
    known = {"REPORTS": reports, "EMPTY": tmp_path / "empty", "ODD": odd}
    assert compare(*(known.get(one, one) for one in arguments)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert word in lines[0]


def test_a_row_that_comes_twice_is_refused(tmp_path, capsys):
    assert compare(write(tmp_path / "a.parquet", tracking() + tracking())) == 2
    assert "twice" in capsys.readouterr().err


def test_a_revision_is_compared_with_the_reports_of_now(reports, tmp_path, monkeypatch):
    then = shutil.copytree(reports, tmp_path / "then")
    write(reports / "tracking.parquet", tracking(HOTA=64.0))
    monkeypatch.setattr(revisions, "read_table", lambda revision, path: tables.read_any(then / path.name))
    rows = compared(tmp_path, "HEAD~1", reports)
    row = only(rows, source=str(reports), seed=0, sequence="COMBINED", metric="HOTA")
    assert row["difference"] == 4.0
