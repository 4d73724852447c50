"""MOT17 from its folder to the server's zip, on a few real frames of each of its training sequences.

A small detector, started from weights trained on COCO, and training cut to a few steps: what is checked is that nothing
stands in the way, not the figures.
"""

import configparser
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import small
import torch
import yaml

from pipeline import choose, cli
from pipeline.commands.submit import wanted
from pipeline.data.motchallenge import read_results
from pipeline.sources import ROOT

pytestmark = pytest.mark.slow

VARIANTS = ("baseline", "finetrack")
TESTED = ("01", "03", "06", "07", "08", "12", "14")  # whose places the training sequences take, in order
AUGMENTATION = {"mosaic_probability": 0.0, "mixup_probability": 0.0, "affine_probability": 0.0}
DETECTOR = {
    "size": "nano",
    "convention": "yolox011",
    "input_size": [384, 672],
    "random_size": None,
    "epochs": 1,
    "warmup_epochs": 0,
    "plain_epochs": 1,
    "batch": 4,
    "freeze_statistics": True,
}
REID = {"channels": 16, "mask_per_head": 4, "parts": 2, "epochs": 2, "milestone": 1}


def cut_down(*names: str) -> dict[str, Any]:
    """params.yaml with these experiments alone, small and short, and without sets of single images."""
    everything = yaml.safe_load((ROOT / "params.yaml").read_text())
    chosen = {name: everything[name] for name in names}
    for section in chosen.values():
        section["data"]["crowds"] = {}
        section["detector"] |= DETECTOR | {"augmentation": section["detector"]["augmentation"] | AUGMENTATION}
        section["features"]["roi"] = [16, 8]
        section["reid"] |= REID | {"variants": {name: section["reid"]["variants"][name] for name in VARIANTS}}
    return {"experiments": list(names), **chosen}


def of_person(model: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """COCO's first class alone: a few steps of training would not learn a class anew."""
    return {name: value[:1] if "cls_preds" in name else value for name, value in model.items()}


def add(folder: Path, names: Sequence[str], wholes: Sequence[Path], *, annotated: bool) -> None:
    """Put sequences below `folder` under other names: links to their images and, where wanted, their ground truth."""
    for name, whole in zip(names, wholes, strict=False):
        (folder / name).mkdir(parents=True)
        for part in ("img1", "gt") if annotated else ("img1",):
            (folder / name / part).symlink_to(whole / part)
        info = (whole / "seqinfo.ini").read_text()
        (folder / name / "seqinfo.ini").write_text(info.replace(f"name={whole.name}", f"name={name}"))


@pytest.fixture(scope="module")
def wholes(shared) -> list[Path]:
    """The sequences at hand, of a few frames each."""
    return sorted((shared / "data/mot17-mini/train").glob("*-FRCNN"))


@pytest.fixture(scope="module")
def dataset(wholes, tmp_path_factory) -> Path:
    """The sequences as train, and once more in the places of MOT17's test sequences."""
    folder = tmp_path_factory.mktemp("MOT17")
    (folder / "train").symlink_to(wholes[0].parent)
    add(folder / "test", [f"MOT17-{number}-FRCNN" for number in TESTED], wholes, annotated=False)
    return folder


@pytest.fixture(scope="module")
def finished(shared, dataset, tmp_path_factory) -> Path:
    """A copy of the repository in which `mot17-half` and `mot17` ran on it, from links to reports."""
    folder = small.copy_of_repository(tmp_path_factory.mktemp("repository"), cut_down("mot17-half", "mot17"), workers=0)
    weights = tmp_path_factory.mktemp("weights") / "person.pth"
    known = torch.load(shared / "weights/yolox_nano_coco.pth", weights_only=True)["model"]
    torch.save({"model": of_person(known)}, weights)
    for name in ("mot17-half", "mot17"):
        choose.link_data(folder / "data" / name, source=dataset, weights=weights)
    done = small.repro(folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


@pytest.fixture
def finetrack(finished, monkeypatch) -> Callable[..., int]:
    monkeypatch.chdir(finished)
    return lambda *arguments: cli.main([str(one) for one in arguments])


def lengths(folder: Path) -> dict[str, int]:
    """Frames of each sequence folder, by its own seqinfo.ini."""
    found = {}
    for path in folder.glob("*/seqinfo.ini"):
        info = configparser.ConfigParser()
        info.read(path)
        found[path.parent.name] = info.getint("Sequence", "seqLength")
    return found


def test_the_plan_of_what_is_there_misses_nothing(finetrack, dataset, capsys):
    for name in ("mot17-half", "mot17"):
        assert finetrack("plan", name, "--source", dataset) == 0, capsys.readouterr().out


def test_a_data_set_that_lacks_crowdhuman_is_planned_with_the_remedy(dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("params.yaml", "cluster.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    assert cli.main(["plan", "mot17-half", "--source", str(dataset)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if "missing: " in line]
    assert len(lines) == 2
    assert all("finetrack fetch" in line and "`crowds`" in line for line in lines)


def test_every_row_of_both_experiments_is_scored(finished):
    rows = pq.read_table(finished / "reports/tracking.parquet").to_pylist()
    for name, split in (("mot17-half", "val"), ("mot17", "train")):
        own = [row for row in rows if row["experiment"] == name and row["split"] == split]
        assert {row["variant"] for row in own} == {*VARIANTS, "bytetrack", "sort"}
        assert len({row["sequence"] for row in own}) == 8
        assert max(row["MOTA"] for row in own if row["sequence"] == "COMBINED") > 5.0
    assert not [row for row in rows if row["split"] == "test"]
    assert {row["experiment"] for row in pq.read_table(finished / "reports/reid.parquet").to_pylist()} >= {"mot17-half"}


def test_the_zip_is_what_the_server_takes(finetrack, finished, dataset):
    assert finetrack("submit", "--run", "runs/mot17", "--variant", "finetrack") == 0
    frames = {
        name.removesuffix("-FRCNN"): count
        for part in ("train", "test")
        for name, count in lengths(dataset / part).items()
    }
    expected = {file: one.name for one in wanted(finished, list(frames)) for file in one.files}
    assert len(expected) == 42
    with zipfile.ZipFile(finished / "runs/mot17/submission/finetrack-seed0.zip") as archive:
        assert set(archive.namelist()) == set(expected)
        archive.extractall(finished / "unpacked")
    for file, name in expected.items():
        rows = read_results(finished / "unpacked" / file)
        assert len(rows.frames) >= 1
        assert rows.frames.max() <= frames[name]


def test_halves_are_refused_before_the_server_does(finetrack, capsys):
    assert finetrack("submit", "--run", "runs/mot17-half") == 2
    assert "second halves" in capsys.readouterr().err


def test_one_sequence_is_tracked_by_the_trained_models(finetrack, dataset, tmp_path):
    source = dataset / "train/MOT17-09-FRCNN"
    assert finetrack("track", source, "--run", "runs/mot17-half", "--out", tmp_path / "tracked") == 0
    assert len(read_results(tmp_path / "tracked/tracks.txt").frames)


def test_results_stand_beside_the_paper(finetrack, capsys):
    assert finetrack("compare", "reports", "paper") == 0
    first = capsys.readouterr().out.split("\n\n")[0]
    assert first.startswith("tracking mot17")


def test_verify_names_what_a_part_of_the_data_set_lacks(shared, tmp_path, capsys):
    (tmp_path / "MOT17").symlink_to(shared / "data/mot17-mini")
    assert cli.main(["fetch", "mot17", "--verify", "--into", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "test: no such folder" in lines[0]
    assert lines[1:] == [f"{tmp_path / 'MOT17'}: 1 fault"]


@pytest.mark.parametrize(
    ("experiment", "splits"),
    [
        ("mot20", {"train": ["MOT20-01", "MOT20-02"], "test": ["MOT20-04", "MOT20-06"]}),
        ("dancetrack", {"train": ["dancetrack0001"], "val": ["dancetrack0004"], "test": ["dancetrack0003"]}),
    ],
)
def test_other_benchmarks_are_planned_and_prepared(experiment, splits, wholes, tmp_path, monkeypatch, capsys):
    for split, names in splits.items():
        add(tmp_path / "source" / split, names, wholes, annotated=split != "test")
    folder = small.copy_of_repository(tmp_path / "repository", cut_down(experiment), workers=0)
    monkeypatch.chdir(folder)
    assert cli.main(["plan", experiment, "--source", str(tmp_path / "source")]) == 0, capsys.readouterr().out
    choose.link_data(folder / "data" / experiment, source=tmp_path / "source")
    done = small.repro(folder, f"prepare@{experiment}")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rows = pq.read_table(folder / "runs" / experiment / "sequences.parquet").to_pylist()
    assert {(row["split"], row["sequence"], row["has_ground_truth"]) for row in rows} == {
        (split, name, split != "test") for split, names in splits.items() for name in names
    }
