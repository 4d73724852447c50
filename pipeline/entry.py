"""How a stage starts: arguments from its signature, one line for what a person can fix, death with its parent."""

import argparse
import ctypes
import errno
import inspect
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.tables import write_text

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LEFTOVER = re.compile(r"\..+\.[a-z0-9_]{8}")  # as `tables.replacing` and `folders.replacing_folder` name them
_ABANDONED_S = 3600.0
_REMEDIES = {
    errno.ENOSPC: "Make room on its disk",
    errno.EDQUOT: "Make room in your quota",
    errno.EFBIG: "Raise the limit on the size of files",
    errno.EROFS: "Mount it for writing",
    errno.EACCES: "Change its permissions",
    errno.EPERM: "Change its permissions",
}


def run(main: Callable[..., None]) -> None:
    """Call `main` with the command line's arguments, one option for each of its parameters.

    The process ends with its parent, so that killing `dvc repro` never leaves a stage behind; a `ValueError`, and what
    the operating system refuses, is printed as its one line, without a traceback, and exits 1.
    """
    _die_with_parent()
    arguments = _parse(main)
    name = Path(sys.argv[0]).stem
    try:
        with refusals_in_a_line(Path(str(arguments.get("work") or arguments.get("out", "")))):
            seconds = _timed(main, arguments, name)
    except ValueError as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted; what was finished is kept and `dvc repro` goes on from there")
    print(f"{name} {arguments.get('experiment', '')}: {seconds:.1f} s", flush=True)


@contextmanager
def refusals_in_a_line(where: Path) -> Iterator[None]:
    """Turn what a full, read-only or forbidden disk answers into a line that a person can act on.

    The line names the path of the error, or `where` for the errors that know none.

    Raises:
        ValueError: the operating system refused to read or write.
    """
    try:
        yield
    except Exception as error:
        cause = getattr(error, "cause", error)  # a Ray task's error is wrapped
        remedy = _REMEDIES.get(number := _errno_of(cause))
        if remedy is None:
            raise
        path = Path(getattr(cause, "filename", None) or where)
        place = path.parent if _LEFTOVER.fullmatch(path.name) else path
        raise ValueError(
            f"{place}: found {os.strerror(number).lower()}, expected to read and write there. {remedy} and run "
            "again: what was finished is kept."
        ) from error


def _errno_of(error: Exception) -> int:
    """The number of the system's refusal, 0 where it was none; safetensors, written in Rust, has it in its text."""
    if isinstance(error, OSError):
        return error.errno or 0
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else 0


def _timed(main: Callable[..., None], arguments: dict[str, object], name: str) -> float:
    """Call `main` in a tidy work folder and note its wall seconds there."""
    work = arguments.get("work")
    if isinstance(work, Path):
        _remove_leftovers(work.parent)
    started = time.monotonic()
    main(**arguments)
    seconds = time.monotonic() - started
    if isinstance(work, Path):
        write_text(json.dumps({"seconds": round(seconds, 1)}) + "\n", work / "seconds" / f"{name}.json")
    return seconds


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed writes left below `folder`: hidden files and folders that nothing touched for an hour.

    No younger ones, because workers of a run that has just died, or of a sweep beside this one, may still write them.
    """
    for place, folders, files in os.walk(folder):
        for name in filter(_LEFTOVER.fullmatch, [*folders, *files]):
            with suppress(FileNotFoundError):  # its writer may be alive, and done with it now
                _remove_abandoned(Path(place, name))
        folders[:] = [name for name in folders if not name.startswith(".")]


def _remove_abandoned(path: Path) -> None:
    newest = max(one.lstat().st_mtime for one in (path, *path.rglob("*")))
    if time.time() - newest < _ABANDONED_S:
        return
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def seconds_of_stages(work: Path) -> dict[str, float]:
    """Wall seconds of each stage of an experiment when it last ran, as noted in its work folder."""
    notes = sorted((work / "seconds").glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8"))["seconds"] for path in notes}


def _parse(main: Callable[..., None]) -> dict[str, object]:
    parser = argparse.ArgumentParser(description=inspect.getdoc(inspect.getmodule(main)))
    for name, parameter in inspect.signature(main).parameters.items():
        kind = parameter.annotation if parameter.annotation in (Path, str, int, float) else str
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, type=kind, required=True)
    return vars(parser.parse_args())


def _die_with_parent() -> None:
    """Ask Linux for SIGINT when the parent dies, so that even SIGKILL to `dvc` leaves nothing running."""
    if sys.platform != "linux":
        return
    # A background job of a shell script starts with SIGINT ignored, and would outlive its parent.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != parent:  # it died before the request was made
        os.kill(os.getpid(), signal.SIGINT)
