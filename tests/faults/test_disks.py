"""A disk that is full or read-only ends a stage in a line, and nothing is half written."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import small

pytestmark = pytest.mark.slow

WORK = "runs/synthetic/work"
REPRO = f"{sys.executable} -m dvc repro 2>&1 || true"


@pytest.fixture(autouse=True)
def may_mount() -> None:
    """A file system of its own for one command needs a mount namespace of its own."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("this user may not mount anything: `unshare -m true` fails")


def with_mounts(folder: Path, *commands: str) -> str:
    """The output of shell commands that see mounts which nobody else sees."""
    done = subprocess.run(
        ["unshare", "-m", "sh", "-ec", "\n".join(commands)],
        cwd=folder,
        env=small.environment(folder),
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("stage", "what", "workers", "kilobytes"),
    [("track", "tracks", 0, 20), ("track", "tracks", 2, 20), ("train_reid", "reid", 0, 96)],
)
def test_a_full_disk_is_told_in_a_line_and_the_run_goes_on_once_there_is_room(
    without, ends_as_undisturbed, tmp_path, stage, what, workers, kilobytes
):
    folder = without(stage, workers)
    (folder / WORK / what).mkdir()
    text = with_mounts(
        folder,
        f"mount -t tmpfs -o size={kilobytes}k none {WORK}/{what}",
        REPRO,
        f"cp -a {WORK}/{what} {tmp_path}/kept",  # the mount goes with these commands
    )
    assert f"\n{stage}: {WORK}" in text
    assert "found no space left on device, expected to read and write there. Make room on its disk" in text
    assert "Traceback" not in text
    assert list((tmp_path / "kept").rglob(".*")) == []
    shutil.copytree(tmp_path / "kept", folder / WORK / what, dirs_exist_ok=True)
    ends_as_undisturbed(folder)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_read_only_disk_is_told_in_a_line_and_the_run_goes_on_once_it_is_not(without, ends_as_undisturbed, workers):
    folder = without("track", workers)
    text = with_mounts(folder, "mount --bind runs runs", "mount -o remount,ro,bind runs", REPRO)
    assert "\ntrack: runs/synthetic/work" in text
    assert "found read-only file system, expected to read and write there. Mount it for writing" in text
    assert "Traceback" not in text
    ends_as_undisturbed(folder)
