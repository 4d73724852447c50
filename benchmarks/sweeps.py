"""Trials an hour of a sweep, beside the same trials as full runs of the experiment.

    OMP_NUM_THREADS=1 python -m benchmarks.sweeps reid [--trials 8] [--full 2] [--out benchmarks/results/...parquet]
    OMP_NUM_THREADS=1 python -m benchmarks.sweeps association --trials 32

Works in a copy of the repository and its finished experiment (`make repro` first), so that nothing here is touched.
Rows: the sweep at 1 and at 2 trials at a time; trials of nothing, which is what Tune and Ray cost; full runs of the
first `--full` configurations on one worker, stage by stage without DVC: (a) all stages of one variant from the
detector's training on, (b) with the detector and its detections kept, the backbone in the loop. A ratio is trials an
hour over those of as many full runs side by side, which are taken to disturb each other not at all. Wall time, so run
it on a quiet machine; memory is the largest sum of proportional set sizes of all processes.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import yaml

from pipeline.sources import ROOT
from pipeline.sweeps.declaration import declared
from tests import small

COPIED = ("pipeline", "stages", "sweeps", "data/synthetic", "dvc.yaml", "cluster.yaml", "runs/synthetic", ".dvc")
FULL = ("train_detector", "detect", "features", "train_reid", "embed", "track", "score")
KEPT = ("features", "train_reid", "embed", "track", "score")
MADE = {"train_detector": "detector", "detect": "detections", "train_reid": "reid", "sweep": "sweeps"}
MADE |= {"features": "features", "embed": "embeddings", "track": "tracks"}
GOALS = {"reid": 8.0, "association": 100.0}  # times (a)


def main() -> None:
    """Measure one sweep, write the table and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep", choices=sorted(GOALS))
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--full", type=int, default=2)
    parser.add_argument("--repository", type=Path, default=ROOT)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("OMP_NUM_THREADS is not 1; concurrent processes would share the cores' time. Set it.")

    with tempfile.TemporaryDirectory() as folder:
        copy = copied(arguments.repository, Path(folder))
        rows = [swept(copy, arguments.sweep, arguments.trials, concurrency) for concurrency in (1, 2)]
        rows += [overhead(copy, arguments.trials, concurrency) for concurrency in (1, 2)]
        small.use_workers(copy, 1)  # as a trial does
        rows += full_runs(copy, arguments.sweep, arguments.full)
    table = with_ratios(pd.DataFrame(rows), GOALS[arguments.sweep])
    out = arguments.out or Path(f"benchmarks/results/sweeps-{arguments.sweep}.parquet")
    out.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(out, index=False)
    print(table.to_string(index=False, float_format="{:.2f}".format))


def copied(repository: Path, folder: Path) -> Path:
    """The repository with its finished experiment, elsewhere."""
    for name in COPIED:
        source, target = repository / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    everything = yaml.safe_load((repository / "params.yaml").read_text())
    variant = everything["synthetic"]["reid"]["variants"]["finetrack"]
    everything["synthetic"]["reid"]["variants"] = {"finetrack": variant}  # full runs are of one variant too
    (folder / "params.yaml").write_text(yaml.safe_dump(everything, sort_keys=False))
    return folder


def swept(copy: Path, sweep: str, trials: int, concurrency: int) -> dict[str, Any]:
    """A whole sweep from nothing but the experiment, Ray's start included."""
    everything = yaml.safe_load((copy / "params.yaml").read_text())
    everything["sweeps"][sweep] |= {"trials": trials, "concurrency": concurrency, "seed": concurrency}
    (copy / "params.yaml").write_text(yaml.safe_dump(everything, sort_keys=False))
    seconds, memory = timed(copy, "stages.sweep", sweep_options(sweep))
    made = pd.read_parquet(copy / "reports/sweeps" / sweep / "trials.parquet")
    if (made["status"] != "finished").any():
        raise ValueError(f"{sweep}: trials failed: {made['error'].unique()}, expected none. Run `make repro` first.")
    return row("sweep", concurrency, len(made), seconds, memory)


def overhead(copy: Path, trials: int, concurrency: int) -> dict[str, Any]:
    """As many trials that do nothing: what Tune and Ray cost, start included."""
    code = (
        "from pipeline.cluster import tune\n"
        "from pipeline.sweeps.declaration import declared\n"
        "import dataclasses\n"
        "from benchmarks.sweeps import nothing\n"
        f"sweep = dataclasses.replace(declared('association')[0], concurrency={concurrency})\n"
        f"ended = tune.try_all(tune.Search(nothing, sweep, 1, what='nothing'), [{{}}] * {trials})\n"
        "assert all(one.report for one in ended)\n"
    )
    seconds, memory = watched([sys.executable, "-c", code], copy)
    return row("trials of nothing", concurrency, trials, seconds, memory)


def nothing(asked: dict, tell: Any) -> dict[str, Any]:
    """A trial that takes no time."""
    return {"HOTA": 0.0, "epoch": 0, "records": []}


def full_runs(copy: Path, sweep: str, count: int) -> list[dict[str, Any]]:
    """The first drawn configurations as full runs; seconds of their stages, each made anew."""
    declaration, _ = declared(sweep, path=copy / "params.yaml")
    seconds: list[dict[str, float]] = []
    for asked in declaration.configurations()[1 : count + 1]:
        text = (copy / "params.yaml").read_text()
        everything = yaml.safe_load(text)
        for name, value in asked.items():
            *path, last = ["synthetic", *name.split(".")]
            section = everything
            for key in path:
                section = section[key]
            section[last] = value
        (copy / "params.yaml").write_text(yaml.safe_dump(everything, sort_keys=False))
        seconds.append({stage: timed(copy, f"stages.{stage}", stage_options(stage))[0] for stage in FULL})
        (copy / "params.yaml").write_text(text)
    totals = {"(a) full run, detector included": FULL, "(b) full run, detector kept": KEPT}
    return [
        row(what, 1, count, sum(one[stage] for one in seconds for stage in stages)) for what, stages in totals.items()
    ]


def timed(copy: Path, module: str, options: dict[str, str]) -> tuple[float, float]:
    """Wall seconds and peak memory of a stage, none of whose work is finished."""
    if (made := MADE.get(module.split(".")[1])) is not None:
        shutil.rmtree(copy / "runs/synthetic/work" / made, ignore_errors=True)
    given = [word for name, value in options.items() for word in (f"--{name}", value)]
    return watched([sys.executable, "-m", module, *given], copy)


def watched(command: list[str], copy: Path) -> tuple[float, float]:
    """Wall seconds of a command, and the most memory that it and its children held at once, GiB."""
    paths = os.pathsep.join([str(copy), str(ROOT)])
    started, peak = time.monotonic(), 0.0
    process = subprocess.Popen(command, cwd=copy, env={**os.environ, "PYTHONPATH": paths})
    while process.poll() is None:
        peak = max(peak, held(process.pid))
        time.sleep(0.5)
    if process.returncode:
        raise ValueError(f"{' '.join(command[:4])}: exit {process.returncode}, expected 0. See its line above.")
    return time.monotonic() - started, peak


def held(pid: int) -> float:
    """Memory of a process and its children, shared pages divided among them, GiB."""
    total = 0
    try:
        for one in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            total += one.memory_full_info().pss
    except psutil.Error:
        pass  # one ended while it was asked
    return total / 2**30


def row(what: str, concurrency: int, trials: int, seconds: float, memory: float = float("nan")) -> dict[str, Any]:
    """A row of the table."""
    return {
        "what": what,
        "concurrency": concurrency,
        "trials": trials,
        "seconds": seconds,
        "seconds_a_trial": seconds / trials,
        "trials_an_hour": 3600 * trials / seconds,
        "peak_gib": memory,
    }


def with_ratios(table: pd.DataFrame, goal: float) -> pd.DataFrame:
    """How many times as many trials an hour as full runs (a) and (b) at equal concurrency."""
    hourly = table.set_index("what")["trials_an_hour"]
    for name in ("(a)", "(b)"):
        full = hourly[hourly.index.str.startswith(name)].iloc[0]
        table[f"times {name}"] = table["trials_an_hour"] / (table["concurrency"] * full)
    return table.assign(goal_a=goal)


def sweep_options(sweep: str) -> dict[str, str]:
    """The command line of the stage `sweep`."""
    runs = "runs/synthetic"
    paths = {name: f"{runs}/{name.replace('-', '_')}.parquet" for name in ("sequences", "ground-truth", "detections")}
    paths |= {"features": f"{runs}/features.json", "embeddings": f"{runs}/embeddings", "kept": f"{runs}/work"}
    return {"sweep": sweep, **paths, "out": f"reports/sweeps/{sweep}"}


def stage_options(stage: str) -> dict[str, str]:
    """The command line of a stage, as dvc.yaml gives it."""
    command = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]["cmd"]
    words = command.replace("${item.experiment}", "synthetic").split()[3:]
    return {name[2:]: value for name, value in zip(words[::2], words[1::2], strict=True)}


if __name__ == "__main__":
    main()
