"""What a kill leaves behind: no process, no half output, and a next run that ends with the same tables."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from benchmarks import faults

pytestmark = pytest.mark.slow

STAGE, TRAINING, TASK = "-m stages.", "ray::RayTrainWorker", "ray::_apply"
EPOCH = "runs/synthetic/work/{}/*/epoch-00001"


def wait_until(is_so: Callable[[], object], dvc: subprocess.Popen, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert dvc.poll() is None, "it ended before the moment to kill it"
        assert time.monotonic() < deadline, "the moment to kill it did not come"
        time.sleep(0.05)


def find(dvc: subprocess.Popen, word: str) -> list[psutil.Process]:
    return [one for one in faults.family(dvc.pid) if word in faults.command_of(one)]


def has_epoch(folder: Path, what: str) -> bool:
    return any(folder.glob(EPOCH.format(what)))


@pytest.mark.parametrize(("stage", "what"), [("train_detector", "detector"), ("train_reid", "reid")])
def test_a_training_worker_that_is_killed_is_replaced(without, start, ends_as_undisturbed, stage, what):
    folder = without(stage)
    dvc = start(folder)
    wait_until(lambda: has_epoch(folder, what), dvc)
    find(dvc, TRAINING)[0].kill()
    assert dvc.wait(400) == 0
    ends_as_undisturbed(folder)


def test_a_task_whose_worker_is_killed_is_done_again(without, start, ends_as_undisturbed, tmp_path):
    folder = without("track")
    with (tmp_path / "output").open("w") as output:
        dvc = start(folder, stdout=output)
    wait_until(lambda: find(dvc, TASK), dvc)
    find(dvc, TASK)[0].kill()
    assert dvc.wait(200) == 0
    assert "ray: on this machine, logs in /" in (text := (tmp_path / "output").read_text())
    assert "Traceback" not in text
    ends_as_undisturbed(folder)


@pytest.mark.parametrize("stage", ["train_reid", "track"])
@pytest.mark.parametrize("end", ["the stage by SIGKILL", "the stage by SIGTERM", "all by Ctrl-C", "dvc by SIGKILL"])
def test_a_run_that_is_ended_leaves_nothing_and_goes_on_to_the_same_tables(
    without, start, ends_as_undisturbed, stage, end
):
    folder = without(stage)
    dvc = start(folder)
    wait_until(lambda: has_epoch(folder, "reid") if stage == "train_reid" else find(dvc, TASK), dvc)
    if end == "all by Ctrl-C":
        os.killpg(dvc.pid, signal.SIGINT)
    elif end == "dvc by SIGKILL":
        dvc.kill()
    else:
        find(dvc, STAGE)[0].send_signal(signal.Signals[end.split()[-1]])
    assert dvc.wait(100) != 0
    assert faults.left_running([dvc.pid]) == ""
    ends_as_undisturbed(folder)


def test_a_second_run_beside_the_first_is_refused_in_words_and_harms_nothing(
    without, start, ends_as_undisturbed, tmp_path
):
    folder = without("train_reid")
    first = start(folder)
    wait_until(lambda: has_epoch(folder, "reid"), first)
    with (tmp_path / "output").open("w") as output:
        second = start(folder, stdout=output)
    assert second.wait(200) != 0
    assert first.poll() is None, "the first run was to be still at work"
    assert first.wait(400) == 0
    text = (tmp_path / "output").read_text()
    assert "busy" in text
    assert "Traceback" not in text
    ends_as_undisturbed(folder)
