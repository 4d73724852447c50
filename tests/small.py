"""A copy of the repository with an experiment cut down to seconds a stage, for tests that run the whole DAG."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from pipeline.sources import ROOT

VARIANTS = ("baseline", "finetrack", "untrained")


def small_params() -> dict[str, Any]:
    """params.yaml with `synthetic` cut down: two short sequences, a few steps of training, three variants."""
    everything = yaml.safe_load((ROOT / "params.yaml").read_text())
    experiment = everything["synthetic"]
    world = {"sequences": 2, "dances": 1, "frames": 16, "width": 192, "height": 128, "people": 5}
    experiment["data"]["world"] |= world
    experiment["detector"] |= {"input_size": [128, 192], "epochs": 2, "plain_epochs": 1, "batch": 4}
    reid = experiment["reid"]
    reid |= {"channels": 16, "mask_per_head": 4, "parts": 2, "epochs": 2, "milestone": 1}
    reid["variants"] = {name: reid["variants"][name] for name in VARIANTS}
    return {"experiments": ["synthetic"], "synthetic": experiment}


def copy_of_repository(folder: Path, params: dict[str, Any], *, workers: int = 2, storage: str | None = None) -> Path:
    """The tracked sources in `folder`, a Git repository of its own, with these parameters and a fresh DVC cache."""
    shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    for name in ("pipeline", "stages", "data/synthetic"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "cluster.yaml", ".dvcignore", ".gitignore", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    cluster = yaml.safe_load((ROOT / "cluster.yaml").read_text()) | {"workers": workers, "storage": storage}
    (folder / "cluster.yaml").write_text(yaml.safe_dump(cluster))
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        subprocess.run([*git, *command], cwd=folder, check=True, capture_output=True)
    return folder


def use_workers(folder: Path, workers: int) -> None:
    """So many workers in a copy from now on."""
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "workers": workers}))


def repro(folder: Path, *targets: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run `dvc repro` in a copy of the repository; output is captured."""
    return subprocess.run(
        [sys.executable, "-m", "dvc", "repro", *targets],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def environment(folder: Path) -> dict[str, str]:
    """The environment in which a copy runs its own code with this interpreter."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
