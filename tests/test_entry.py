import errno
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from small import environment

from pipeline import entry
from pipeline.sources import ROOT

STAGE = '''"""A stage for tests.

Reads   nothing
"""
import time
from pathlib import Path
from pipeline.entry import run


def main(experiment: str, times: int, work: Path) -> None:
    if experiment == "wrong":
        raise ValueError("data/wrong: found nothing, expected something. Add it.")
    if experiment == "bug":
        raise KeyError("a bug")
    if experiment == "long":
        work.mkdir()
        print("ready", flush=True)
        time.sleep(60)


if __name__ == "__main__":
    run(main)
'''


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A stage in a file of its own; call it with its experiment and further arguments."""
    (tmp_path / "stage.py").write_text(STAGE)

    def call(experiment: str, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, tmp_path / "stage.py", "--experiment", experiment, "--work", tmp_path / "work", *more],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=environment(ROOT),
        )

    return call


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts arguments on the command line of this process, which does not ask to die with its parent."""
    monkeypatch.setattr(entry, "_die_with_parent", lambda: None)
    return lambda *given: monkeypatch.setattr(sys, "argv", ["stages/toy.py", *map(str, given)])


def test_arguments_come_from_the_signature(arguments: Callable[..., None]) -> None:
    seen = []

    def main(experiment: str, ground_truth: Path, count: int, share: float) -> None:
        seen.append((experiment, ground_truth, count, share))

    arguments("--experiment", "a", "--ground-truth", "b/c", "--count", "3", "--share", "0.5")
    entry.run(main)
    assert seen == [("a", Path("b/c"), 3, 0.5)]


@pytest.mark.parametrize("given", [[], ["--experiment", "a", "--speed", "1"]])
def test_missing_and_unknown_arguments_are_bad_usage(
    arguments: Callable[..., None], capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    def main(experiment: str) -> None: ...

    arguments(*given)
    with pytest.raises(SystemExit) as error:
        entry.run(main)
    assert error.value.code == 2
    assert "--experiment" in capsys.readouterr().err


def test_help_is_the_stages_docstring(stage: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = stage("a", "--help")
    assert done.returncode == 0
    assert "A stage for tests." in done.stdout


def test_what_a_person_can_fix_is_one_line_and_no_traceback(
    stage: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = stage("wrong", "--times", "1")
    assert done.returncode == 1
    assert done.stderr == "stage: data/wrong: found nothing, expected something. Add it.\n"
    assert not (tmp_path / "work").exists(), "a stage that failed leaves no note"


def test_a_bug_keeps_its_traceback(stage: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = stage("bug", "--times", "1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "KeyError: 'a bug'" in done.stderr


def test_a_stage_notes_its_seconds(stage: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    done = stage("right", "--times", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"stage right: 0\.\d s\n", done.stdout)
    assert set(entry.seconds_of_stages(tmp_path / "work")) == {"stage"}
    assert 0 <= entry.seconds_of_stages(tmp_path / "work")["stage"] < 5


def test_a_stage_without_a_work_folder_notes_nothing(
    arguments: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def main(out: Path) -> None: ...

    monkeypatch.chdir(tmp_path)
    arguments("--out", "out")
    entry.run(main)
    assert list(tmp_path.iterdir()) == []
    assert entry.seconds_of_stages(tmp_path / "work") == {}


def test_an_interrupted_stage_says_that_it_goes_on(arguments: Callable[..., None]) -> None:
    def main(experiment: str) -> None:
        raise KeyboardInterrupt

    arguments("--experiment", "a")
    with pytest.raises(SystemExit, match="toy: interrupted; what was finished is kept"):
        entry.run(main)


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for a signal")
@pytest.mark.parametrize("is_background", [False, True], ids=["foreground", "started with SIGINT ignored"])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_stage_dies_with_its_parent(tmp_path: Path, is_background: bool, end: signal.Signals) -> None:
    (tmp_path / "stage.py").write_text(STAGE)
    options = ["--experiment", "long", "--times", "1", "--work", str(tmp_path / "work")]
    command = [sys.executable, str(tmp_path / "stage.py"), *options]
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); " if is_background else ""
    parent = subprocess.Popen(
        [sys.executable, "-c", f"{ignore}import subprocess; subprocess.run({command})"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(ROOT),
    )
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        (child,) = psutil.Process(parent.pid).children()
        os.kill(parent.pid, end)
        parent.wait()
        deadline = time.monotonic() + 10
        while not is_gone(child) and time.monotonic() < deadline:
            time.sleep(0.02)
        is_dead = is_gone(child)
        if not is_dead:
            child.kill()
        assert is_dead
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "no"), "work: found no space left on device, .* Make room on its disk and run again"),
        (OSError(errno.EROFS, "no", "a/b.txt"), "a/b.txt: found read-only file system, .* Mount it for writing"),
        (PermissionError(errno.EACCES, "no", "a/.b.txt.abcd_123"), "a: found permission denied, .* Change its perm"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "work: found no space left on device"),
    ],
    ids=["no path known", "path known", "temporary file", "told in a text"],
)
def test_what_the_system_refuses_is_one_line_with_path_and_remedy(
    arguments: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    def main(work: Path) -> None:
        raise error

    monkeypatch.chdir(tmp_path)
    arguments("--work", "work")
    with pytest.raises(SystemExit, match=f"^toy: {line}") as refused:
        entry.run(main)
    assert "\n" not in str(refused.value)


def test_another_error_of_the_system_is_a_bug_and_keeps_its_kind(arguments: Callable[..., None]) -> None:
    def main(experiment: str) -> None:
        Path("no such folder/a").read_text()

    arguments("--experiment", "a")
    with pytest.raises(FileNotFoundError):
        entry.run(main)


def test_what_killed_writes_left_is_removed_once_nothing_touched_it_for_an_hour(
    arguments: Callable[..., None], tmp_path: Path
) -> None:
    work = tmp_path / "runs" / "work"
    kept = [work / "detector" / "epoch-00001" / "card.json", work / ".hidden", work / "a.b.abcdefgh"]
    old = [work / "detector" / ".epoch-00002.abcd_123" / "new" / "card.json", work.parent / ".a.parquet.12345678"]
    young = [work / "features" / ".a.arrow.abcdefgh", work / "reid" / ".model.abcdefgh" / "new" / "card.json"]
    for path in (*kept, *old, *young):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    for path in (*(one for top in work.parent.iterdir() for one in (top, *top.rglob("*"))),):
        if path not in young:
            os.utime(path, (0, 0))

    def main(work: Path) -> None: ...

    arguments("--work", work)
    entry.run(main)
    assert all(path.exists() for path in (*kept, *young))
    assert not any(path.exists() for path in old)
    assert list((work / "detector").iterdir()) == [work / "detector" / "epoch-00001"]
