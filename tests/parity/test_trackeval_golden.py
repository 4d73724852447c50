"""Every figure that TrackEval printed and tabulated for a real tracker on the MOT17 second halves."""

import csv
from pathlib import Path

import pytest

from pipeline.data import motchallenge
from pipeline.data.split import half_range, take_half
from pipeline.evaluation import metrics, trackeval


@pytest.fixture(scope="module")
def sequences(shared: Path) -> tuple[dict[str, trackeval.PreparedGroundTruth], dict[str, motchallenge.Results]]:
    ground_truth = {}
    for folder in motchallenge.sequence_folders(shared / "data/mot17/train"):
        info = motchallenge.read_seqinfo(folder / "seqinfo.ini")
        whole = motchallenge.read_ground_truth(folder / "gt/gt.txt", frames=info.frames)
        half = take_half(whole, info.frames, "val")
        ground_truth[info.name] = trackeval.prepare(half, len(half_range(info.frames, "val")), "MOT17")
    files = (shared / "golden/trackeval/tracks").glob("*.txt")
    return ground_truth, {path.stem: motchallenge.read_results(path) for path in files}


@pytest.fixture(scope="module")
def rows(sequences: tuple[dict, dict]) -> list[trackeval.Row]:
    return trackeval.score(*sequences)


def test_the_summary_comes_out_as_printed(shared: Path, rows: list[trackeval.Row]) -> None:
    names, values = (shared / "golden/trackeval/pedestrian_summary.txt").read_text().splitlines()
    printed = dict(zip(names.split(), values.split(), strict=True))
    ours = {
        **{name: f"{rows[-1][name]:1.5g}" for name in trackeval.PERCENTS},
        **{name: str(rows[-1][name]) for name in trackeval.COUNTS if name != "frames"},
        "HOTA(0)": f"{rows[-1]['HOTA_alpha'][0]:1.5g}",
    }
    assert ours == {name: printed[name] for name in ours}


def test_every_sequence_agrees_with_the_detailed_table(shared: Path, rows: list[trackeval.Row]) -> None:
    with (shared / "golden/trackeval/pedestrian_detailed.csv").open() as file:
        table = {line["seq"]: line for line in csv.DictReader(file)}
    assert [row["sequence"] for row in rows] == list(table)
    for row in rows:
        line = table[row["sequence"]]
        for name in trackeval.PERCENTS:
            expected = 100 * float(line.get(f"{name}___AUC") or line[name])
            assert row[name] == pytest.approx(expected, abs=1e-9), (row["sequence"], name)
        for name in trackeval.COUNTS:
            column = "CLR_Frames" if name == "frames" else name
            assert row[name] == int(float(line[column])), (row["sequence"], name)
        alphas = [100 * float(line[f"HOTA___{alpha}"]) for alpha in range(5, 100, 5)]
        assert row["HOTA_alpha"] == pytest.approx(alphas, abs=1e-9)


def test_our_own_metrics_give_the_same_rows_to_the_bit(sequences: tuple[dict, dict], rows: list[trackeval.Row]) -> None:
    assert metrics.score(*sequences) == rows
