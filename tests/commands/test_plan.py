"""`finetrack plan`."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from pipeline import params
from pipeline.cli import main
from pipeline.commands import plan
from pipeline.commands.estimates import Amounts, amounts_of, amounts_of_world, bytes_of_target, estimates
from pipeline.data.layout import Data, read_layout
from pipeline.inference.features import Features
from pipeline.models.yolox import YOLOX
from pipeline.training.detector import DetectorTraining
from pipeline.training.reid import ReIDTraining

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def place(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shipped settings, chosen experiment mot15-mini, and two whole sequences for it."""
    everything = yaml.safe_load((root / "params.yaml").read_text())
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**everything, "experiments": ["mot15-mini"]}))
    (tmp_path / "cluster.yaml").write_text(
        "{address: null, storage: null, workers: 1, cpus_per_worker: 1, gpus_per_worker: 0}"
    )
    for name in ("A", "B"):
        put_sequence(tmp_path / "data" / "mot15-mini" / "train" / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return tmp_path


def put_sequence(folder: Path, frames: int = 10, people: int = 3) -> None:
    (folder / "img1").mkdir(parents=True)
    (folder / "gt").mkdir()
    info = {"name": folder.name, "imDir": "img1", "frameRate": 25, "seqLength": frames}
    info |= {"imWidth": 32, "imHeight": 24, "imExt": ".jpg"}
    (folder / "seqinfo.ini").write_text("[Sequence]\n" + "".join(f"{k}={v}\n" for k, v in info.items()))
    for number in range(1, frames + 1):
        cv2.imwrite(str(folder / "img1" / f"{number:06d}.jpg"), np.zeros((24, 32, 3), np.uint8))
    rows = [f"{n},{p},1,2,3,4,1,1,1\n" for p in range(1, people + 1) for n in range(1, frames + 1)]
    (folder / "gt" / "gt.txt").write_text("".join(rows))


def edit(name: str, change: Change) -> None:
    everything = yaml.safe_load(Path("params.yaml").read_text())
    change(everything[name])
    Path("params.yaml").write_text(yaml.safe_dump(everything))


def everything_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.usefixtures("place")
def test_whole_data_lacks_nothing_and_nothing_is_written(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = everything_in(place)
    assert main(["plan"]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("nothing is missing\n")
    assert all(stage in printed for stage in ("train_detector", "detect", "features", "train_reid", "embed"))
    assert "no weights: the detector starts from random ones" in printed
    assert everything_in(place) == before


def test_everything_that_is_missing_is_said_at_once(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = place / "data" / "mot15-mini" / "train"
    (train / "A" / "img1" / "000004.jpg").unlink()
    (train / "B" / "gt" / "gt.txt").unlink()
    edit("mot15-mini", lambda one: one["score"].update(evaluators=["trackeval", "motmetrics"]))
    edit("mot15-mini", lambda one: one["track"].pop("buffer"))
    monkeypatch.setattr(plan, "_is_installed", lambda name: name != "motmetrics")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    Path("cluster.yaml").write_text(
        "{address: null, storage: null, workers: 960, cpus_per_worker: 1, gpus_per_worker: 1}"
    )
    assert main(["plan", "mot15-mini"]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if "missing" in line]
    expected = [
        "960 CPUs",
        "960 GPUs, found 1",
        "buffer",
        "motmetrics: not installed",
        "A/img1/000004.jpg",
        "B/gt/gt.txt",
    ]
    assert [any(one in line for line in lines) for one in expected] == [True] * len(expected)
    assert lines[-1] == "7 missing", "and that 960 workers cannot share a step of four"


@pytest.mark.usefixtures("place")
def test_settings_that_the_last_stages_would_refuse_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    edit("mot15-mini", lambda one: one["embed"].update(min_score=0.4))
    assert main(["plan"]) == 1
    assert "missing: track.low_threshold: 0.1, expected at least embed.min_score (0.4)" in capsys.readouterr().out


@pytest.mark.usefixtures("place")
def test_workers_that_cannot_share_a_step_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    edit("mot15-mini", lambda one: one["detector"].update(batch=5))
    Path("cluster.yaml").write_text(
        "{address: null, storage: null, workers: 2, cpus_per_worker: 0.5, gpus_per_worker: 0}"
    )
    assert main(["plan"]) == 1
    assert "found 2, expected a divisor of detector.batch = 5" in capsys.readouterr().out


@pytest.mark.usefixtures("place")
def test_absent_data_names_each_folder_and_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "mot17"]) == 1
    printed = capsys.readouterr().out
    wanted = [
        "mot17/train: no such folder",
        "mot17/test: no such folder",
        "annotation_train.odgt",
        "annotation_val.odgt",
    ]
    assert [one in printed for one in [*wanted, "citypersons.train", "eth.train"]] == [True] * 6


def test_data_elsewhere_is_planned_without_being_linked(place: Path) -> None:
    (place / "data" / "mot15-mini").rename(place / "elsewhere")
    assert main(["plan", "mot15-mini"]) == 1
    assert main(["plan", "mot15-mini", "--source", str(place / "elsewhere")]) == 0
    assert not (place / "data" / "mot15-mini").exists()


@pytest.mark.parametrize("size", ["nano", "tiny"])
@pytest.mark.usefixtures("place")
def test_weights_of_another_size_are_found(tmp_path: Path, size: Any, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": YOLOX.build(size).state_dict()}, tmp_path / "w.pth")
    assert main(["plan", "mot15-mini", "--weights", str(tmp_path / "w.pth")]) == (0 if size == "nano" else 1)
    assert ("missing: " in capsys.readouterr().out) == (size != "nano")


@pytest.mark.usefixtures("place")
def test_a_disk_too_small_is_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert main(["plan"]) == 1
    assert "0.0 GB free, the experiments write about 0.0 GB. Make room" in capsys.readouterr().out


def test_what_a_stage_last_took_stands_before_formulas(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes = place / "runs" / "mot15-mini" / "work" / "seconds"
    notes.mkdir(parents=True)
    (notes / "detect.json").write_text('{"seconds": 7200.0}')
    (notes / "score.json").write_text('{"seconds": 61.0}')
    main(["plan"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["detect", "2", "hours", "0.0", "last", "run", "here"] in rows
    assert ["score", "61", "seconds", "0.0", "last", "run", "here"] in rows


@pytest.mark.usefixtures("place")
def test_times_on_a_gpu_are_not_invented(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    main(["plan"])
    assert capsys.readouterr().out.count("not measured") >= 5


@pytest.mark.usefixtures("place")
def test_several_experiments_have_no_one_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "mot15-mini", "mot17", "--source", "data"]) == 2
    assert "expected one for SOURCE, DETECTIONS, EMBEDDINGS or WEIGHTS" in capsys.readouterr().err


def sections(root: Path, name: str) -> tuple[DetectorTraining, Features, ReIDTraining]:
    path = root / "params.yaml"
    return (
        params.section(name, "detector", DetectorTraining, path=path),
        params.section(name, "features", Features, path=path),
        params.section(name, "reid", ReIDTraining, path=path),
    )


def test_amounts_are_what_the_layout_holds(place: Path) -> None:
    data = params.section("mot15-mini", "data", Data)
    amounts = amounts_of(read_layout(place / "data" / "mot15-mini", data), data)
    assert amounts == Amounts(
        training_images=12,
        video_images=20,
        evaluated_images=8,
        training_people=36,
        people=60,
        evaluated_people=24,
        detections=28,  # 1.16 a person
        is_detected=True,
    )


def test_the_store_of_the_paper_is_as_large_as_its_formula_says(root: Path) -> None:
    half = Amounts(22_034, 5316, 2652, 58_407, 112_297, 53_890, 62_513, True)
    by_stage = {one.stage: one for one in estimates(half, *sections(root, "mot17-half"))}
    assert bytes_of_target(Features(), "x") * half.training_people == pytest.approx(16.7e9, rel=0.01)
    assert by_stage["features"].bytes == (112_297 + 62_513) * 286_720
    assert (by_stage["train_detector"].seconds or 0) > 7 * 86_400, "not on two CPU cores"


def test_given_detections_need_no_detector(root: Path) -> None:
    given = Amounts(0, 0, 0, 0, 0, 0, 0, False)
    assert [(one.seconds, one.bytes) for one in estimates(given, *sections(root, "mot17-half"))] == [(0.0, 0)] * 5


def test_the_synthetic_world_is_counted_without_being_rendered(root: Path) -> None:
    data = params.section("synthetic", "data", Data, path=root / "params.yaml")
    amounts = amounts_of_world(data)
    assert (amounts.video_images, amounts.evaluated_images) == (720, 360)
    seconds = sum(one.seconds or 0 for one in estimates(amounts, *sections(root, "synthetic")))
    assert 120 < seconds < 1800, "it is said to take ten minutes"


def test_images_of_ones_own_are_planned_and_what_is_assumed_is_said(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "data" / "mot15-mini" / "train" / "A" / "seqinfo.ini").unlink()
    assert main(["plan"]) == 0
    assert "note: data/mot15-mini/train/A: 30 frames/s are taken" in capsys.readouterr().out


def test_given_embeddings_are_checked_with_their_detections(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = place / "theirs"
    (theirs / "detections").mkdir(parents=True)
    (theirs / "embeddings" / "finetrack").mkdir(parents=True)
    for name in ("A", "B"):
        np.save(theirs / "detections" / f"{name}.npy", [[7, 1, 2, 3, 4, 0.5]])
        np.save(theirs / "embeddings" / "finetrack" / f"{name}.npy", np.ones((1, 4)))
    given = ["--embeddings", str(theirs / "embeddings")]
    assert main(["plan", "mot15-mini", *given]) == 1
    assert "embeddings without detections" in capsys.readouterr().out
    given += ["--detections", str(theirs / "detections")]
    assert main(["plan", "mot15-mini", *given]) == 1
    assert "['finetrack'] are variants of reid too, expected other names" in capsys.readouterr().out
    (theirs / "embeddings" / "finetrack").rename(theirs / "embeddings" / "osnet")
    assert main(["plan", "mot15-mini", *given]) == 0
    np.save(theirs / "embeddings" / "osnet" / "B.npy", np.ones((2, 4)))
    assert main(["plan", "mot15-mini", *given]) == 1
    assert "B.npy: 2 rows, expected 1, one for each of B" in capsys.readouterr().out
