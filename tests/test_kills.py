"""What a kill leaves behind: no process, no half output, and a next run that ends with the same tables."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import small

pytestmark = pytest.mark.slow

TABLES = [f"reports/{name}.parquet" for name in ("tracking", "reid", "detection", "curves")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, str]:
    """Digests of the tables of a run that nothing disturbed."""
    folder = small.copy_of_repository(tmp_path_factory.mktemp("undisturbed"), small.small_params())
    done = small.repro(folder)
    assert done.returncode == 0, done.stderr
    return digests(folder)


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in TABLES}


def start(folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=folder,
        env=small.environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a group of its own, as a terminal gives its commands
    )


def wait_for(folder: Path, pattern: str, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not list(folder.glob(pattern)):
        assert time.monotonic() < deadline, f"{pattern} did not appear"
        time.sleep(0.05)


def wait_until_gone(processes: list[psutil.Process], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while alive := [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < deadline, [one.name() for one in alive]
        time.sleep(0.2)


def kill(folder: Path, moment: str, fatal: signal.Signals, *, whole_group: bool = False) -> None:
    """Start `dvc repro`, end it at a moment (a file that appears), and see that nothing of it stays."""
    dvc = start(folder)
    wait_for(folder, moment)
    family = psutil.Process(dvc.pid).children(recursive=True)
    if whole_group:
        os.killpg(dvc.pid, fatal)
    else:
        dvc.send_signal(fatal)
    assert dvc.wait(60) != 0
    wait_until_gone(family)


def test_dvc_killed_at_one_moment_after_another_leaves_nothing_and_ends_with_the_same_tables(tmp_path, undisturbed):
    work = "runs/synthetic/work"
    folder = small.copy_of_repository(tmp_path, small.small_params())
    kill(folder, f"{work}/frames/*/train/*", signal.SIGKILL)
    kill(folder, f"{work}/detector/*/epoch-00001", signal.SIGKILL)
    kill(folder, f"{work}/detections/*/*", signal.SIGINT, whole_group=True)  # as Ctrl-C in a terminal
    kill(folder, f"{work}/reid/*/epoch-00001", signal.SIGINT, whole_group=True)
    kill(folder, f"{work}/reid/*/epoch-00002", signal.SIGTERM)
    kill(folder, f"{work}/tracks/*/*", signal.SIGKILL)
    done = small.repro(folder)
    assert done.returncode == 0, done.stderr
    assert digests(folder) == undisturbed


def test_training_workers_that_are_killed_are_replaced_and_the_tables_are_the_same(tmp_path, undisturbed):
    folder = small.copy_of_repository(tmp_path, small.small_params())
    dvc = start(folder)
    for moment in ("detector", "reid"):
        wait_for(folder, f"runs/synthetic/work/{moment}/*/epoch-00001")
        family = psutil.Process(dvc.pid).children(recursive=True)
        workers = [one for one in family if "RayTrainWorker" in " ".join(one.cmdline())]
        assert workers
        workers[0].kill()
    assert dvc.wait(400) == 0
    assert digests(folder) == undisturbed
