"""Training through Ray Train is the same as in this process, and outlives the death of a worker."""

import dataclasses
import os
import signal
from functools import partial
from pathlib import Path

import pytest
import torch

from pipeline.cluster import train as door
from pipeline.cluster.session import Cluster
from pipeline.models.folder import load_card, load_model
from pipeline.training.detector import DetectorTraining, TrainingImages, train_detector
from pipeline.training.worker import Worker

pytestmark = pytest.mark.slow


@pytest.fixture
def run_on(monkeypatch):
    """Runs a loop on so many Ray workers."""

    def run(loop, workers: int) -> None:
        cluster = Cluster(address=None, workers=workers, cpus_per_worker=1.0, gpus_per_worker=0.0)
        monkeypatch.setattr(door, "settings", lambda: cluster)
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # workers import this module's functions
        door.train(loop, what="test", total=1, reads=(), makes=())

    return run


def detector_loop(images: TrainingImages, settings: DetectorTraining, folder: Path):
    return partial(train_detector, images=images, settings=settings, initial=None, folder=folder)


def dying_loop(worker: Worker, *, loop, marker: Path) -> None:
    def tell(run: str, done: int, total: int, note: str) -> None:
        if done == 2 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    loop(dataclasses.replace(worker, tell=tell))


def refusing_loop(worker: Worker) -> None:
    if worker.rank == worker.world - 1:
        raise ValueError("data: found nothing, expected something. Add it.")


def test_one_ray_worker_gives_the_weights_of_this_process_to_the_bit(run_on, pictures, detector_settings, tmp_path):
    train_detector(Worker(), images=pictures, settings=detector_settings, initial=None, folder=tmp_path / "here")
    run_on(detector_loop(pictures, detector_settings, tmp_path / "ray"), workers=1)
    here, there = load_model(tmp_path / "here" / "model"), load_model(tmp_path / "ray" / "model")
    assert here[1] == there[1]
    assert all(torch.equal(here[0][name], there[0][name]) for name in here[0])


def test_two_workers_on_half_a_batch_each_lose_what_one_does(run_on, pictures, detector_settings, tmp_path):
    """BatchNorm keeps its statistics and foregrounds are summed over ranks: only summation order differs."""
    settings = dataclasses.replace(detector_settings, freeze_statistics=True, epochs=10)
    train_detector(Worker(), images=pictures, settings=settings, initial=None, folder=tmp_path / "one")
    run_on(detector_loop(pictures, settings, tmp_path / "two"), workers=2)
    one, two = (load_card(tmp_path / name / "model")["curve"] for name in ("one", "two"))
    assert len(one) == 10  # of two steps each
    assert [row["total"] for row in two] == pytest.approx([row["total"] for row in one], rel=1e-4)


def test_a_group_in_which_a_worker_is_killed_ends_with_the_same_weights(run_on, pictures, detector_settings, tmp_path):
    train_detector(Worker(), images=pictures, settings=detector_settings, initial=None, folder=tmp_path / "whole")
    loop = detector_loop(pictures, detector_settings, tmp_path / "cut")
    run_on(partial(dying_loop, loop=loop, marker=tmp_path / "died"), workers=1)
    assert (tmp_path / "died").exists()
    whole, cut = load_model(tmp_path / "whole" / "model"), load_model(tmp_path / "cut" / "model")
    assert all(torch.equal(whole[0][name], cut[0][name]) for name in whole[0])


def test_what_a_person_can_fix_ends_the_run_with_its_one_line(run_on):
    with pytest.raises(ValueError, match=r"^data: found nothing, expected something\. Add it\.$"):
        run_on(refusing_loop, workers=2)
