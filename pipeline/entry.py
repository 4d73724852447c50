"""How a stage starts: arguments from its signature, one line for what a person can fix, death with its parent."""

import argparse
import ctypes
import inspect
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.tables import write_text

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def run(main: Callable[..., None]) -> None:
    """Call `main` with the command line's arguments, one option for each of its parameters.

    The process ends with its parent, so that killing `dvc repro` never leaves a stage behind; a `ValueError` is printed
    as its one line, without a traceback, and exits 1.
    """
    _die_with_parent()
    arguments = _parse(main)
    started = time.monotonic()
    name = Path(sys.argv[0]).stem
    try:
        main(**arguments)
    except ValueError as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted; what was finished is kept and `dvc repro` goes on from there")
    seconds = time.monotonic() - started
    if isinstance(work := arguments.get("work"), Path):
        write_text(json.dumps({"seconds": round(seconds, 1)}) + "\n", work / "seconds" / f"{name}.json")
    print(f"{name} {arguments.get('experiment', '')}: {seconds:.1f} s", flush=True)


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
