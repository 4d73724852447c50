"""`finetrack track --detections` and `finetrack score`, on files made here and on ByteTrack's own detections."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline import tables
from pipeline.cli import main
from pipeline.commands import score
from pipeline.data.motchallenge import read_results

FRAMES = 20  # whose second half is frames 12 to 20


def seqinfo(name: str, frames: int = FRAMES, rate: int = 30) -> str:
    return (
        f"[Sequence]\nname={name}\nimDir=img1\nframeRate={rate}\nseqLength={frames}\n"
        "imWidth=640\nimHeight=480\nimExt=.jpg\n"
    )


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two annotated sequences in which two people walk past each other, and one without annotations."""
    for name in ("WALK-01", "WALK-02", "TEST-03"):
        folder = tmp_path / "train" / name
        folder.mkdir(parents=True)
        (folder / "seqinfo.ini").write_text(seqinfo(name))
        if name != "TEST-03":
            (folder / "gt").mkdir()
            (folder / "gt" / "gt.txt").write_text("".join(f"{row},1,1,1\n" for row in walk()))
    return tmp_path / "train"


@pytest.fixture
def detections(tmp_path: Path) -> Path:
    folder = tmp_path / "detections"
    folder.mkdir()
    for name in ("WALK-01", "WALK-02"):
        lines = [row.split(",") for row in walk()]
        text = "".join(f"{row[0]},-1,{','.join(row[2:])},0.9,-1,-1,-1\n" for row in lines)
        (folder / f"{name}.txt").write_text(text)
    return folder


def walk() -> list[str]:
    rows = []
    for frame in range(1, FRAMES + 1):
        rows += [f"{frame},1,{10 + 4 * frame},50,40,100", f"{frame},2,{400 - 4 * frame},200,40,100"]
    return rows


def track(detections: Path, out: Path, *options: object) -> int:
    return main(["track", "--detections", str(detections), "--out", str(out), *map(str, options)])


def run_score(gt: Path, tracks: Path, *options: object) -> int:
    return main(["score", "--gt", str(gt), "--tracks", str(tracks), *map(str, options)])


def test_tracks_of_perfect_detections_score_perfectly(dataset, detections, tmp_path, capsys):
    assert track(detections, tmp_path / "tracks", "--seqinfo", dataset) == 0
    assert run_score(dataset, tmp_path / "tracks", "--out", tmp_path / "rows.parquet") == 0
    printed = capsys.readouterr().out
    assert f"{dataset / 'TEST-03'}: no gt/gt.txt, left out" in printed
    rows = tables.read(tmp_path / "rows.parquet", score.SCHEMA).to_pylist()
    assert [row["sequence"] for row in rows] == ["WALK-01", "WALK-02", "COMBINED"]
    assert [row["MOTA"] for row in rows] == [100.0] * 3
    assert {(row["split"], row["evaluator"]) for row in rows} == {("train", "trackeval")}


@pytest.mark.parametrize("evaluator", ["trackeval", "motmetrics"])
def test_a_half_is_tracked_and_scored_from_frame_1(dataset, detections, tmp_path, capsys, evaluator):
    if evaluator == "motmetrics":
        pytest.importorskip("motmetrics")
    one = tmp_path / "tracks" / "WALK-02.txt"
    info = dataset / "WALK-02" / "seqinfo.ini"
    assert track(detections / "WALK-02.txt", one, "--half", "val", "--seqinfo", info) == 0
    assert sorted(set(read_results(one).frames)) == list(range(1, FRAMES // 2))
    options = ("--half", "val", "--sequences", "*-02", "--evaluator", evaluator, "--out", tmp_path / "rows.parquet")
    assert run_score(dataset, tmp_path / "tracks", *options) == 0
    rows = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [(row["split"], row["frames"], row["IDF1"]) for row in rows] == [("val", FRAMES // 2 - 1, 100.0)] * 2
    assert ("HOTA" in capsys.readouterr().out) == (evaluator == "trackeval")


def test_tracks_of_the_whole_are_refused_as_tracks_of_a_half(dataset, detections, tmp_path, capsys):
    track(detections, tmp_path / "tracks")
    assert run_score(dataset, tmp_path / "tracks", "--half", "val") == 2
    assert "half" in capsys.readouterr().err


def test_every_missing_result_file_is_named(dataset, tmp_path, capsys):
    assert run_score(dataset, tmp_path) == 2
    message = capsys.readouterr().err
    assert "WALK-01.txt, WALK-02.txt" in message
    assert "TEST-03" not in message


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("1,1,0,0,5\n", "WALK-01.txt:1: 5 columns, expected 6 to 10."),
        ("1,1,0,0,5,5\n1,2,0,nan,5,5\n", "WALK-01.txt:2: y nan, expected a finite number"),
        ("1,1,0,0,5,5\n1,1,9,9,5,5\n", "WALK-01.txt:2: identity 1, expected once in a frame"),
        (f"{FRAMES + 1},1,0,0,5,5\n", f"has frame {FRAMES + 1}, expected 1 to {FRAMES}."),
    ],
)
def test_a_result_file_at_fault_is_refused_in_one_line(dataset, detections, tmp_path, capsys, lines, message):
    track(detections, tmp_path / "tracks", "--seqinfo", dataset)
    (tmp_path / "tracks" / "WALK-01.txt").write_text(lines)
    capsys.readouterr()
    assert run_score(dataset, tmp_path / "tracks", "--out", tmp_path / "rows.parquet") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "rows.parquet").exists()


@pytest.mark.parametrize(("names", "wanted"), [("TEST-*", "TEST-*"), ("NO-*", "NO-*")])
def test_no_annotated_sequence_is_refused(dataset, tmp_path, capsys, names, wanted):
    assert run_score(dataset, tmp_path, "--sequences", names) == 2
    assert wanted in capsys.readouterr().err


def test_settings_reach_the_tracker_and_the_filter(dataset, detections, tmp_path):
    file = detections / "WALK-01.txt"
    assert track(file, tmp_path / "none.txt", "--set", "track_threshold=0.95", "--set", "low_threshold=0.92") == 0
    assert (tmp_path / "none.txt").read_text() == ""
    assert track(file, tmp_path / "small.txt", "--set", "min_area=5000", "--association", "sort") == 0
    assert (tmp_path / "small.txt").read_text() == ""
    assert track(file, tmp_path / "all.txt", "--set", "min_area=5000", "--set", "max_aspect=0.1", "--no-filter") == 0
    assert len(read_results(tmp_path / "all.txt").frames) == 0
    assert track(file, tmp_path / "all.txt", "--no-filter") == 0
    assert len(read_results(tmp_path / "all.txt").frames) == 2 * FRAMES


def test_a_gap_is_filled_on_request_only(detections, tmp_path):
    file = detections / "WALK-01.txt"
    kept = [line for line in file.read_text().splitlines() if line.split(",")[0] not in ("11", "12")]
    file.write_text("\n".join(kept) + "\n")
    for name, options in (("online", ()), ("filled", ("--interpolate",))):
        assert track(file, tmp_path / name, *options) == 0
    online, filled = (set(read_results(tmp_path / name).frames) for name in ("online", "filled"))
    assert filled - online == {11, 12}


def test_the_frame_rate_scales_how_long_a_track_waits(dataset, detections, tmp_path):
    file = detections / "WALK-01.txt"
    kept = [line for line in file.read_text().splitlines() if line.split(",")[0] not in map(str, range(8, 15))]
    file.write_text("\n".join(kept) + "\n")
    found = {}
    for rate in ("30", "3"):
        assert track(file, tmp_path / rate, "--frame-rate", rate) == 0
        found[rate] = len(np.unique(read_results(tmp_path / rate).identities))
    assert found == {"30": 2, "3": 4}
    (dataset / "WALK-01" / "seqinfo.ini").write_text(seqinfo("WALK-01", rate=3))
    options = ("--seqinfo", dataset / "WALK-01" / "seqinfo.ini", "--frame-rate", "seqinfo")
    assert track(file, tmp_path / "own", *options) == 0
    assert (tmp_path / "own").read_text() == (tmp_path / "3").read_text()


def test_no_detections_give_an_empty_result_file(tmp_path):
    (tmp_path / "none.txt").write_text("")
    assert track(tmp_path / "none.txt", tmp_path / "out.txt") == 0
    assert (tmp_path / "out.txt").read_text() == ""


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--half", "val"), "--seqinfo"),
        (("--frame-rate", "seqinfo"), "--seqinfo"),
        (("--frame-rate", "fast"), "frame_rate"),
        (("--association", "finetrack"), "embeddings"),
        (("--association", "deepsort"), "deepsort"),
        (("--set", "track_threshold"), "NAME=VALUE"),
        (("--set", "track_threshold=high"), "track_threshold"),
        (("--set", "baselines=[sort]"), "baselines"),
        (("--render",), "--render"),
        (("--seqinfo", "nowhere.ini"), "nowhere.ini"),
    ],
)
def test_what_cannot_be_done_with_detections_is_refused_in_one_line(detections, tmp_path, capsys, options, word):
    assert track(detections / "WALK-01.txt", tmp_path / "out.txt", *options) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert word in lines[0]
    assert not (tmp_path / "out.txt").exists()


def test_detections_beyond_the_sequence_are_refused_by_name(dataset, detections, tmp_path, capsys):
    info = dataset / "WALK-01" / "seqinfo.ini"
    info.write_text(seqinfo("WALK-01", frames=15))
    assert track(detections / "WALK-01.txt", tmp_path / "out.txt", "--half", "val", "--seqinfo", info) == 2
    assert "WALK-01.txt: frame 20, expected at most 15" in capsys.readouterr().err


def test_source_and_detections_exclude_each_other(detections, tmp_path, capsys):
    assert main(["track", "--out", str(tmp_path / "out")]) == 2
    assert main(["track", "video.mp4", "--detections", str(detections), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("SOURCE and --detections") == 2


# ByteTrack's own tracker on the same detections, scored by TrackEval (the README of the shared material).
BYTETRACK = {"HOTA": 67.80, "MOTA": 77.82, "IDF1": 79.91}


def test_bytetrack_on_mot17_second_halves_scores_as_the_original(shared, tmp_path):
    found = shared / "data" / "mot17" / "detections" / "yolox_x_ablation"
    gt = shared / "data" / "mot17" / "train"
    options = ("--association", "bytetrack", "--half", "val", "--seqinfo", gt, "--set", "iou_offset=1")
    assert track(found, tmp_path / "tracks", *options, "--set", "buffer=30") == 0
    assert run_score(gt, tmp_path / "tracks", "--half", "val", "--out", tmp_path / "rows.parquet") == 0
    row = pq.read_table(tmp_path / "rows.parquet").to_pylist()[-1]
    assert {name: round(row[name], 2) for name in BYTETRACK} == BYTETRACK
    assert row["IDSW"] == 167


def test_a_real_trackers_files_score_as_trackeval_says(shared, tmp_path):
    gt = shared / "data" / "mot17" / "train"
    tracks = shared / "golden" / "trackeval" / "tracks"
    assert run_score(gt, tracks, "--half", "val", "--out", tmp_path / "rows.parquet") == 0
    row = pq.read_table(tmp_path / "rows.parquet").to_pylist()[-1]
    assert [round(row[name], 3) for name in ("HOTA", "MOTA", "IDF1")] == [67.718, 77.875, 79.110]
