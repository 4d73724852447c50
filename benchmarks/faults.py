"""Random kills over a small experiment: what survives, what is lost, what is left running.

    OMP_NUM_THREADS=1 python -m benchmarks.faults [--kills 50] [--seed 0] [--out FILE]

A cut-down `synthetic` runs undisturbed once; its tables are the reference. Then it runs from nothing, and again and
again something of it is killed: `dvc repro`, the stage, all of a terminal at once (Ctrl-C), a worker that trains, one
that does a task, Ray's own servers. After a kill that ended `dvc repro` nothing of it may still run and nothing may be
half written; `dvc repro` is started again and the next kill drawn. When the DAG is done its tables must equal the
reference to the byte, and all begins anew until there were enough kills. Exits 1 if anything was lost or left running.
"""

import argparse
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from safetensors import safe_open

from tests import small

KILL, CTRL_C, END = signal.SIGKILL, signal.SIGINT, signal.SIGTERM
# What is killed: the word by which its command line is known (none: the whole group), and the signals it may get.
VICTIMS: dict[str, tuple[str, tuple[signal.Signals, ...]]] = {
    "terminal": ("", (CTRL_C,)),
    "dvc repro": ("dvc repro", (KILL, CTRL_C, END)),
    "stage": ("-m stages.", (KILL, CTRL_C, END)),
    "training worker": ("ray::RayTrainWorker", (KILL,)),
    "task worker": ("ray::_apply", (KILL,)),
    "raylet": ("/raylet/raylet ", (KILL,)),
    "gcs": ("/gcs_server ", (KILL,)),
}
# Ray's agents notice within a second that their node died, then tell a server that is gone too, for a minute.
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
AGENTS_S, OTHERS_S = 180.0, 60.0
LONGEST = 10  # a run that takes so many times as long as an undisturbed one hangs
READERS: dict[str, Callable[[Path], Any]] = {
    ".parquet": pq.read_table,
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".safetensors": lambda path: safe_open(path, "np").__enter__().keys(),
    ".arrow": lambda path: pa.ipc.open_file(path).read_all(),
    ".jpg": lambda path: Image.open(path).load(),
    ".png": lambda path: Image.open(path).load(),
}


def main() -> None:
    """Kill until there were enough, write the table of kills, print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/faults.parquet"))
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="finetrack-faults-") as temporary:
        started = time.monotonic()
        reference = finished(Path(temporary, "reference"))
        seconds = time.monotonic() - started
        print(f"undisturbed: {seconds:.0f} s, {len(reference)} tables", flush=True)
        rng = np.random.default_rng(arguments.seed)
        rows: list[dict[str, Any]] = []
        while len(rows) < arguments.kills:
            folder = made(Path(temporary, f"run-{len(rows)}"))
            rows += disturbed(folder, rng, arguments.kills - len(rows), seconds, reference)
    table = pd.DataFrame(rows)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(arguments.out, index=False)
    report(table)
    sys.exit(int((table["lost"] != "").any()))


def made(folder: Path) -> Path:
    """A copy of the repository with the cut-down experiment, of which nothing has run.

    Its detector hardly learns: every score stays near 1e-4, its start. Thresholds below that make tracks to compare.
    """
    everything = small.small_params()
    experiment = everything["synthetic"]
    experiment["detect"]["postprocess"] = {"confidence": 5e-5, "nms": 0.1}
    experiment["embed"]["min_score"] = 5e-5
    experiment["track"] |= {"low_threshold": 5e-5, "track_threshold": 6e-5, "new_track_threshold": 6e-5}
    folder.mkdir(exist_ok=True)
    return small.copy_of_repository(folder, everything)


def finished(folder: Path) -> dict[str, str]:
    """Digests of the tables of a run that nothing disturbs."""
    done = small.repro(made(folder), timeout=3600)
    if done.returncode:
        raise ValueError(f"{folder}: `dvc repro` failed undisturbed, expected success: {done.stderr[-500:]}")
    return digests(folder)


def disturbed(
    folder: Path, rng: np.random.Generator, most: int, seconds: float, reference: dict[str, str]
) -> list[dict[str, Any]]:
    """Run the DAG of a copy until it is done, killing at most so often; a row a kill, `lost` says what was lost.

    A kill follows the last after at most a quarter of an undisturbed run, so that the run comes on between them.
    """
    rows: list[dict[str, Any]] = []
    sessions: list[int] = []
    while True:
        with (folder / "repro.log").open("w") as output:
            dvc, before = start(folder, stdout=output), len(rows)
        sessions.append(dvc.pid)
        while len(rows) < most and not has_ended(dvc, float(rng.uniform(0, seconds / 4))):
            rows += strike(dvc, rng)
        is_over = has_ended(dvc, LONGEST * seconds)
        lost = "" if is_over else "it hung: " + ", ".join(names(family(dvc.pid)))
        lost = lost or left_running([dvc.pid]) or half_written(folder)
        if dvc.returncode == 0:
            lost = lost or ("" if digests(folder) == reference else "other tables") or left_running(sessions, AGENTS_S)
        elif len(rows) == before:
            said = (folder / "repro.log").read_text()[-1500:]
            lost = lost or f"`dvc repro` failed though nothing was killed: ...{said}"
        if lost or dvc.returncode == 0:
            end(family(dvc.pid))
            print(f"{folder.name}: {lost or 'the same tables'} after {len(rows)} kills", flush=True)
            return [{**row, "lost": lost, "leftovers": len(leftovers(folder))} for row in rows]


def strike(dvc: subprocess.Popen, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Kill one of what runs now, each kind as likely; none where it ended just now."""
    running = [(one, command) for one in family(dvc.pid) if (command := command_of(one))]
    alive = {name: [one for one, command in running if word in command] for name, (word, _) in VICTIMS.items()}
    name = str(rng.choice([name for name, found in alive.items() if found] or [""]))
    if not name:
        return []
    fatal = signal.Signals(int(rng.choice(VICTIMS[name][1])))
    victim = alive[name][int(rng.integers(len(alive[name])))]
    stages = [command.split("-m stages.")[1].split()[0] for _, command in running if "-m stages." in command]
    try:
        age = time.time() - psutil.Process(dvc.pid).create_time()
        os.killpg(dvc.pid, fatal) if name == "terminal" else victim.send_signal(fatal)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return []
    row = {"victim": name, "signal": fatal.name, "stage": stages[0] if stages else "", "moment_s": round(age, 1)}
    print("  killed {victim} by {signal} in {stage} at {moment_s} s".format(**row), flush=True)
    return [row]


def start(folder: Path, *targets: str, stdout: Any = subprocess.DEVNULL) -> subprocess.Popen:
    """`dvc repro` in a session of its own, by which all that it starts is known, and a group, as a terminal gives."""
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", *targets],
        cwd=folder,
        env=small.environment(folder),
        stdout=stdout,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def has_ended(process: subprocess.Popen, seconds: float) -> bool:
    """Whether a process ends within so many seconds."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def family(session: int) -> list[psutil.Process]:
    """All living processes of a session, whoever their parent is by now."""
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(one.pid) == session and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
    return found


def command_of(process: psutil.Process) -> str:
    """Its command line, or the title that Ray gave it; empty where it ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def names(processes: list[psutil.Process]) -> list[str]:
    """What runs, in a few words each: the program without its folder, and what it was given."""
    commands = [command_of(one).partition(" ") for one in processes]
    return [f"{program.rpartition('/')[2]} {given}"[:60].strip() for program, _, given in commands]


def left_running(sessions: list[int], agents_s: float = 0.0) -> str:
    """What of ended runs still runs after a while; Ray's agents count only if they are waited for."""
    deadline = time.monotonic() + max(OTHERS_S, agents_s)
    while True:
        running = [name for session in sessions for name in names(family(session)) if name]
        running = [name for name in running if agents_s or not name.startswith(AGENTS)]
        if not running or time.monotonic() > deadline:
            return f"left running: {running}" if running else ""
        time.sleep(0.5)


def end(processes: list[psutil.Process]) -> None:
    """Kill what should not run any more."""
    for one in processes:
        with contextlib.suppress(psutil.Error):
            one.kill()


def half_written(folder: Path) -> str:
    """The files of outputs, and of finished work, that cannot be read to their end."""
    broken = []
    for path in visible(folder):
        try:
            READERS.get(path.suffix, Path.read_bytes)(path)
        except Exception as error:  # whatever a reader says of it
            broken.append(f"{path.relative_to(folder)}: {error}")
    return f"half written: {broken}" if broken else ""


def visible(folder: Path) -> list[Path]:
    """The files below runs/ and reports/ that bear their final name."""
    files = [path for top in ("runs", "reports") for path in (folder / top).rglob("*") if path.is_file()]
    return [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def leftovers(folder: Path) -> list[Path]:
    """What killed writes left under hidden names; a later run removes it once it is an hour old."""
    return [path for top in ("runs", "reports") for path in (folder / top).rglob(".*.????????")]


def digests(folder: Path) -> dict[str, str]:
    """Digests of the tables of a run, but of provenance, which differs from run to run."""
    tables = sorted((folder / "reports").glob("*.parquet"))
    return {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in tables if one.stem != "provenance"}


def report(table: pd.DataFrame) -> None:
    """Print how many kills of each kind were survived, and what was lost."""
    survived = (table["lost"] == "").groupby([table["victim"], table["signal"]]).agg(["sum", "count"])
    print("\n" + survived.rename(columns={"sum": "survived", "count": "kills"}).to_string())
    print(f"\nsurvived {(table['lost'] == '').sum()} of {len(table)}; lost {(table['lost'] != '').sum()}")
    for lost in table.loc[table["lost"] != "", "lost"].unique():
        print(f"  {lost}")


if __name__ == "__main__":
    main()
