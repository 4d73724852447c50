"""An undisturbed run, copies of it in which a stage is to be done anew, and a watch over what they start."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import small
import yaml

from benchmarks import faults
from pipeline.fingerprint import content

RUN = "runs/synthetic"
MADE = {"train_detector": "detector", "train_reid": "reid", "track": "tracks"}


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Path:
    """A finished copy: two workers trained its detector; all else, which comes out the same, needed no Ray."""
    folder = faults.made(tmp_path_factory.mktemp("undisturbed"))
    for workers, targets in ((2, ["train_detector@synthetic"]), (0, [])):
        small.use_workers(folder, workers)
        done = small.repro(folder, *targets)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert any(path.stat().st_size for path in (folder / RUN / "tracks").rglob("*.txt")), "nothing to compare"
    return folder


@pytest.fixture
def without(undisturbed, tmp_path) -> Callable[..., Path]:
    """Copies the finished run without what one stage made, in DVC's cache neither, so that it has to run again."""

    def make(stage: str, workers: int = 2) -> Path:
        folder = tmp_path / "repository"
        shutil.copytree(undisturbed, folder, ignore=shutil.ignore_patterns("__pycache__"))
        made = MADE[stage]
        for gone in (f"{RUN}/{made}", f"{RUN}/work/{made}", ".dvc/cache/runs"):
            shutil.rmtree(folder / gone, ignore_errors=True)
        [out] = yaml.safe_load((folder / "dvc.lock").read_text())["stages"][f"{stage}@synthetic"]["outs"]
        (folder / ".dvc/cache/files/md5" / out["md5"][:2] / out["md5"][2:]).unlink()
        small.use_workers(folder, workers)
        return folder

    return make


@pytest.fixture
def ends_as_undisturbed(undisturbed) -> Callable[[Path], None]:
    """Checks that nothing is half written, and that `dvc repro` ends with the same results and tables."""

    def check(folder: Path) -> None:
        assert faults.half_written(folder) == ""
        small.use_workers(folder, 0)
        done = small.repro(folder)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert faults.digests(folder) == faults.digests(undisturbed)
        for name in MADE.values():
            assert content(folder / RUN / name) == content(undisturbed / RUN / name)

    return check


@pytest.fixture(scope="session")
def sessions() -> Iterator[list[int]]:
    """The sessions of all runs that were killed; when all tests are over, nothing of them may run, agents included."""
    started: list[int] = []
    yield started
    assert faults.left_running(started, faults.AGENTS_S) == ""


@pytest.fixture
def start(sessions) -> Iterator[Callable]:
    """Starts `dvc repro`, of which nothing but Ray's agents may run when the test is over."""
    own: list[int] = []

    def begin(folder: Path, *targets: str, **options):
        process = faults.start(folder, *targets, **options)
        own.append(process.pid)
        sessions.append(process.pid)
        return process

    yield begin
    try:
        assert faults.left_running(own) == ""
    finally:
        for session in own:
            faults.end([one for one in faults.family(session) if not faults.names([one])[0].startswith(faults.AGENTS)])
