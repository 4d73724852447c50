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


MOMENTS = {
    "rendering": "runs/synthetic/work/frames/*/train/*",
    "detector training": "runs/synthetic/work/detector/*/epoch-00001",
    "detection": "runs/synthetic/work/detections/*/*",
    "Re-ID training": "runs/synthetic/work/reid/*/epoch-00001",
    "tracking": "runs/synthetic/work/tracks/*/*",
}


@pytest.mark.parametrize(
    ("moment", "fatal"),
    [
        ("rendering", signal.SIGKILL),
        ("detector training", signal.SIGKILL),
        ("detector training", signal.SIGTERM),
        ("Re-ID training", signal.SIGKILL),
        ("tracking", signal.SIGKILL),
    ],
)
def test_dvc_killed_at_any_moment_leaves_no_process_and_the_next_run_ends_the_same(
    tmp_path, undisturbed, moment, fatal
):
    folder = small.copy_of_repository(tmp_path, small.small_params())
    dvc = start(folder)
    wait_for(folder, MOMENTS[moment])
    family = psutil.Process(dvc.pid).children(recursive=True)
    dvc.send_signal(fatal)
    dvc.wait(30)
    wait_until_gone(family)
    done = small.repro(folder)
    assert done.returncode == 0, done.stderr
    assert digests(folder) == undisturbed


@pytest.mark.parametrize("moment", ["detector training", "Re-ID training"])
def test_ctrl_c_is_a_failure_and_the_next_run_ends_the_same(tmp_path, undisturbed, moment):
    folder = small.copy_of_repository(tmp_path, small.small_params())
    dvc = start(folder)
    wait_for(folder, MOMENTS[moment])
    family = psutil.Process(dvc.pid).children(recursive=True)
    os.killpg(dvc.pid, signal.SIGINT)
    assert dvc.wait(60) != 0
    wait_until_gone(family)
    done = small.repro(folder)
    assert done.returncode == 0, done.stderr
    assert digests(folder) == undisturbed


@pytest.mark.parametrize("moment", ["detector training", "Re-ID training"])
def test_a_training_worker_that_is_killed_is_replaced_and_the_tables_are_the_same(tmp_path, undisturbed, moment):
    folder = small.copy_of_repository(tmp_path, small.small_params())
    dvc = start(folder)
    wait_for(folder, MOMENTS[moment])
    workers = [one for one in psutil.Process(dvc.pid).children(recursive=True) if "RayTrainWorker" in one.name()]
    for one in workers[:1]:
        one.kill()
    assert dvc.wait(400) == 0
    assert digests(folder) == undisturbed
