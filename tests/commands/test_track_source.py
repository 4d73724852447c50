"""`finetrack track SOURCE`."""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from pipeline import tables
from pipeline.cli import main
from pipeline.data.motchallenge import Results, read_results, write_results
from pipeline.inference.online import Detector
from pipeline.models.folder import load_model
from pipeline.models.yolox import YOLOX
from pipeline.tracking.sequence import Tracking

FRAMES, SIZE = 8, (192, 128)


def frames_of(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    found = []
    while (read := capture.read())[0]:
        found.append(read[1])
    return found


def track(source: Path, out: Path, *options: object) -> int:
    return main(["track", str(source), "--out", str(out), *map(str, options)])


def test_a_video_becomes_text_table_and_pictures_of_the_same_tracks(detector, reid, video, tmp_path):
    out = tmp_path / "out"
    assert track(video, out, "--detector", detector, "--reid", reid, "--render") == 0
    found, table = read_results(out / "tracks.txt"), tables.read(out / "tracks.parquet", tables.TRACKS)
    assert set(found.frames) == set(range(1, FRAMES + 1))
    assert table["frame"].to_pylist() == found.frames.tolist()
    assert table["identity"].to_pylist() == found.identities.tolist()
    assert np.abs(tables.boxes(table) - found.boxes).max() <= 0.11
    assert set(table["split"].to_pylist()) == {"test"}
    assert set(table["sequence"].to_pylist()) == {"clip"}
    pictures = frames_of(out / "tracks.mp4")
    assert len(pictures) == FRAMES
    assert pictures[0].shape == (SIZE[1], SIZE[0], 3)
    assert sorted(path.name for path in out.iterdir()) == ["tracks.mp4", "tracks.parquet", "tracks.txt"]


def test_the_text_is_what_the_pipeline_writes(detector, images, tmp_path):
    assert track(images, tmp_path / "out", "--detector", detector) == 0
    table = tables.read(tmp_path / "out" / "tracks.parquet", tables.TRACKS)
    columns = (table[name].to_numpy() for name in ("frame", "identity"))
    write_results(tmp_path / "same.txt", Results(*columns, tables.boxes(table), table["score"].to_numpy()))
    assert (tmp_path / "out" / "tracks.txt").read_bytes() == (tmp_path / "same.txt").read_bytes()
    assert table.num_rows > 0


def test_a_sequence_folder_gives_what_its_images_give(detector, reid, images, tmp_path):
    folder = tmp_path / "STREET-01"
    shutil.copytree(images, folder / "img1")
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname=STREET-01\nimDir=img1\nframeRate=30\nseqLength={FRAMES}\n"
        f"imWidth={SIZE[0]}\nimHeight={SIZE[1]}\nimExt=.png\n"
    )
    for source, name in ((folder, "sequence"), (images, "images")):
        assert track(source, tmp_path / name, "--detector", detector, "--reid", reid) == 0
    first, second = ((tmp_path / name / "tracks.txt").read_text() for name in ("sequence", "images"))
    assert first == second
    table = tables.read(tmp_path / "sequence" / "tracks.parquet", tables.TRACKS)
    assert set(table["sequence"].to_pylist()) == {"STREET-01"}


def test_a_reid_model_is_left_alone_where_the_association_uses_no_appearance(detector, images, tmp_path):
    options = ("--detector", detector, "--reid", tmp_path / "nowhere")
    assert track(images, tmp_path / "out", *options) == 2
    assert track(images, tmp_path / "out", *options, "--association", "sort") == 0


def test_the_filter_is_that_of_result_files(detector, images, tmp_path):
    assert track(images, tmp_path / "all", "--detector", detector, "--no-filter") == 0
    assert track(images, tmp_path / "some", "--detector", detector, "--set", "min_area=300") == 0
    everything, some = (read_results(tmp_path / name / "tracks.txt") for name in ("all", "some"))
    width, height = (everything.boxes[:, 2:] - everything.boxes[:, :2]).T
    kept = (width * height > 301) & (width <= 1.59 * height)
    assert 0 < kept.sum() <= len(some.frames) < len(everything.frames)


@pytest.fixture
def checkpoint(detector, tmp_path) -> Path:
    """The detector's weights as ByteTrack's repository keeps them."""
    path = tmp_path / "yolox_nano.pth.tar"
    torch.save({"model": load_model(detector)[0], "start_epoch": 3}, path)
    return path


HOW = ("--size", "nano", "--convention", "bytetrack", "--input-size", 64, 96)


def test_a_checkpoint_file_gives_what_the_model_folder_of_its_weights_gives(
    detector, reid, checkpoint, images, tmp_path
):
    for name, options in (("folder", (detector,)), ("file", (checkpoint, *HOW))):
        assert track(images, tmp_path / name, "--detector", *options, "--reid", reid) == 0
    folder, file = ((tmp_path / name / "tracks.txt").read_text() for name in ("folder", "file"))
    assert folder == file != ""


def test_of_a_checkpoint_of_coco_people_are_followed(images, tmp_path):
    torch.manual_seed(0)
    model = YOLOX.build("nano", 80)
    torch.save({"model": model.state_dict()}, tmp_path / "coco.pth")
    assert (
        Detector.of_checkpoint(
            tmp_path / "coco.pth", size="nano", convention="yolox011", input_size=(64, 96)
        ).person_class
        == 0
    )
    assert track(images, tmp_path / "out", "--detector", tmp_path / "coco.pth", *HOW) == 0


@pytest.mark.parametrize(
    ("left_out", "word"),
    [(slice(0, 2), "--size"), (slice(2, 4), "--convention"), (slice(4, 7), "--input-size")],
)
def test_what_a_checkpoint_does_not_say_is_never_guessed(checkpoint, images, tmp_path, capsys, left_out, word):
    given = list(HOW)
    del given[left_out]
    assert track(images, tmp_path / "out", "--detector", checkpoint, *given) == 2
    assert f"found no {word}," in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--size", "s", "--convention", "bytetrack", "--input-size", 64, 96), "YOLOX s"),
        (("--size", "nano", "--convention", "bytetrack", "--input-size", 60, 96), "multiples of 32"),
    ],
)
def test_a_checkpoint_described_wrongly_is_refused(checkpoint, images, tmp_path, capsys, options, word):
    assert track(images, tmp_path / "out", "--detector", checkpoint, *options) == 2
    assert word in capsys.readouterr().err


def test_a_head_trained_on_another_detectors_maps_is_refused(reid, images, tmp_path, capsys):
    torch.save({"model": YOLOX.build("tiny").state_dict()}, tmp_path / "tiny.pth")
    options = ("--detector", tmp_path / "tiny.pth", "--size", "tiny", *HOW[2:], "--reid", reid)
    assert track(images, tmp_path / "out", *options) == 2
    assert "Give the detector that it was trained with" in capsys.readouterr().err


@pytest.fixture
def run_folder(detector, reid, tmp_path) -> Path:
    folder = tmp_path / "runs" / "tiny"
    folder.mkdir(parents=True)
    shutil.copytree(detector, folder / "detector")
    shutil.copytree(reid, folder / "reid" / "finetrack" / "seed1")
    settings = dataclasses.asdict(Tracking(track_threshold=0.5))
    settings["baselines"] = list(settings["baselines"])
    section = {"track": settings, "detect": {"batch": 8, "postprocess": {"confidence": 0.01, "nms": 0.7}}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"experiments": ["tiny"], "tiny": section}))
    return folder


@pytest.mark.parametrize("row", [("finetrack", 1), ("bytetrack", 0)])
def test_a_run_brings_its_models_and_settings(run_folder, images, tmp_path, row):
    variant, seed = row
    assert track(images, tmp_path / "out", "--run", run_folder, "--variant", variant, "--seed", seed) == 0
    assert len(read_results(tmp_path / "out" / "tracks.txt").frames) > 0


def test_a_row_that_was_not_trained_is_refused_by_the_names_of_those_that_were(run_folder, images, tmp_path, capsys):
    assert track(images, tmp_path / "out", "--run", run_folder, "--variant", "mpmg") == 2
    assert "finetrack/seed1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ((), "--detector"),
        (("--detector", "DETECTOR", "--association", "finetrack"), "--reid"),
        (("--detector", "DETECTOR", "--interpolate"), "interpolate"),
        (("--detector", "DETECTOR", "--half", "val"), "--half"),
        (("--detector", "DETECTOR", "--set", "speed=1"), "speed=1"),
        (("--detector", "nowhere"), "nowhere"),
        (("--detector", "DETECTOR", "--size", "nano"), "--size"),
        (("--detector", "DETECTOR", "--seed", "1"), "--seed"),
        (("--run", "nowhere", "--input-size", "64", "96"), "--input-size"),
        (("--detector", "DETECTOR", "--reid", "DETECTOR"), "expected 'reid'"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(detector, images, tmp_path, capsys, options, word):
    given = [detector if one == "DETECTOR" else one for one in options]
    assert track(images, tmp_path / "out", *given) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert word in lines[0]
    assert not (tmp_path / "out" / "tracks.txt").exists()


def test_a_failure_halfway_leaves_no_files(detector, images, tmp_path, capsys):
    (images / f"{FRAMES:06d}.png").write_bytes(b"no image")
    assert track(images, tmp_path / "out", "--detector", detector, "--render") == 2
    assert f"{FRAMES:06d}.png" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_ctrl_c_leaves_whole_files_of_what_was_seen(detector, images, tmp_path):
    long = tmp_path / "long.avi"
    writer = cv2.VideoWriter(str(long), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, SIZE)
    pictures = [cv2.imread(str(image)) for image in sorted(images.iterdir())]
    for _ in range(100):
        for picture in pictures:
            writer.write(picture)
    writer.release()
    out = tmp_path / "out"
    command = [sys.executable, "-m", "pipeline.cli", "track", str(long), "--out", str(out), "--render"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--detector", str(detector)], stderr=subprocess.PIPE, env=environment, text=True
    )
    _wait_until(lambda: out.is_dir() and any(path.stat().st_size > 2000 for path in out.iterdir()), process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    assert stderr.splitlines()[-1] == "finetrack: interrupted"
    found = read_results(out / "tracks.txt")
    assert 0 < found.frames.max() < 100 * FRAMES
    assert len(frames_of(out / "tracks.mp4")) == found.frames.max()
    assert tables.read(out / "tracks.parquet", tables.TRACKS).num_rows == len(found.frames)


def _wait_until(is_met, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            if is_met():
                return
        time.sleep(0.05)
    pytest.fail(f"ended with {process.poll()} before it wrote anything")
