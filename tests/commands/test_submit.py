"""`finetrack submit`."""

import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline import tables
from pipeline.cli import main
from pipeline.commands.submit import wanted

FRAMES = 30
DANCES = [one.name for one in wanted(Path("x"), ["dancetrack0003"])]
MOT17 = [f"MOT17-{number:02d}-FRCNN" for number in range(1, 15)]
MOT20 = [f"MOT20-{number:02d}" for number in range(1, 9)]


def make_run(folder: Path, names: list[str], *, split: str = "test", first: int = 1) -> Path:
    rows = [
        {"split": split, "sequence": name, "frame_rate": 30.0, "frames": FRAMES, "width": 640, "height": 480}
        | {"first": first, "has_ground_truth": False, "has_images": True}
        for name in names
    ]
    run = folder / "runs" / "theirs"
    table = pa.Table.from_pylist(rows, schema=tables.SEQUENCES)
    tables.write(table, run / "sequences.parquet", tables.SEQUENCES)
    for number, name in enumerate(names, start=1):
        text = f"{number % FRAMES + 1},1,{number}.0,5.0,10.0,20.0,0.90,-1,-1,-1\n"
        tables.write_text(text, run / "tracks" / "finetrack" / "seed0" / f"{name}.txt")
    return run


def submit(run: Path, *options: object) -> int:
    return main(["submit", "--run", str(run), *map(str, options)])


def result(run: Path, name: str) -> Path:
    return run / "tracks" / "finetrack" / "seed0" / f"{name}.txt"


def test_mot17_becomes_42_files_at_the_root_one_result_under_three_names(tmp_path):
    run = make_run(tmp_path, MOT17)
    assert submit(run) == 0
    with zipfile.ZipFile(run / "submission" / "finetrack-seed0.zip") as archive:
        names = archive.namelist()
        assert len(names) == 42
        assert not any("/" in name for name in names)
        assert {name.split("-")[2] for name in names} == {"DPM.txt", "FRCNN.txt", "SDP.txt"}
        for detector in ("DPM", "FRCNN", "SDP"):
            assert archive.read(f"MOT17-03-{detector}.txt") == result(run, "MOT17-03-FRCNN").read_bytes()


def test_mot20_becomes_8_files(tmp_path):
    assert submit(make_run(tmp_path, MOT20), "--out", tmp_path / "mine.zip") == 0
    with zipfile.ZipFile(tmp_path / "mine.zip") as archive:
        assert archive.namelist() == [f"{name}.txt" for name in MOT20]


def test_dancetrack_becomes_a_folder_tracker_of_the_test_sequences(tmp_path):
    assert submit(make_run(tmp_path, [*DANCES, "dancetrack0001"]), "--out", tmp_path / "mine.zip") == 0
    with zipfile.ZipFile(tmp_path / "mine.zip") as archive:
        assert archive.namelist() == [f"tracker/{name}.txt" for name in DANCES]
        assert len(DANCES) == 35


def test_equal_results_give_equal_bytes(tmp_path):
    run = make_run(tmp_path, MOT20)
    for name in ("first.zip", "second.zip"):
        assert submit(run, "--out", tmp_path / name) == 0
        for path in sorted(run.rglob("*.txt"), reverse=True):
            path.write_bytes(path.read_bytes())
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


def test_everything_that_is_missing_is_named_and_nothing_is_written(tmp_path, capsys):
    run = make_run(tmp_path, [name for name in MOT17 if name[6:8] not in ("05", "14")])
    assert submit(run) == 2
    assert "no results of MOT17-05, MOT17-14" in capsys.readouterr().err
    assert not (run / "submission").exists()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "no row"),
        ("1,1,1,1,5,5,0.9\n", "7 columns"),
        (f"{FRAMES + 1},1,1,1,5,5,0.9,-1,-1,-1\n", f"at most {FRAMES}"),
        ("1,x,1,1,5,5,0.9,-1,-1,-1\n", "MOT20-06.txt:1"),
    ],
)
def test_a_file_that_the_server_would_refuse_is_refused_by_name(tmp_path, capsys, content, word):
    run = make_run(tmp_path, MOT20)
    result(run, "MOT20-06").write_text(content)
    assert submit(run) == 2
    message = capsys.readouterr().err
    assert "MOT20-06.txt" in message
    assert word in message


def test_second_halves_are_no_submission(tmp_path, capsys):
    assert submit(make_run(tmp_path, MOT17, split="val", first=16)) == 2
    assert "second halves" in capsys.readouterr().err


def test_an_experiment_of_no_benchmark_is_refused(tmp_path, capsys):
    assert submit(make_run(tmp_path, ["street-01"])) == 2
    assert "street-01" in capsys.readouterr().err


def test_a_row_that_was_not_tracked_is_refused_by_the_names_of_those_that_were(tmp_path, capsys):
    assert submit(make_run(tmp_path, MOT20), "--variant", "mpmg") == 2
    assert "finetrack/seed0" in capsys.readouterr().err
