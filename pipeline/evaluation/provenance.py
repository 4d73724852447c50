"""Where a score comes from: resolved settings, revision, versions, machine, times. All that differs from run to run."""

import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from pipeline import params
from pipeline.entry import seconds_of_stages
from pipeline.fingerprint import content, fingerprint

PACKAGES = ("torch", "numpy", "opencv-python", "lap", "ray", "trackeval", "pyarrow", "dvc", "finetrack-pipeline")
Row = dict[str, Any]
_SECTIONS = ("data", "detector", "detect", "features", "reid", "embed", "track", "score")


class Provenance:
    """Gives each results row of an experiment its fingerprint, and remembers what that stands for.

    `inputs` are the tables that all rows depend on; `work` is where stages noted how long they took, `workers` how many
    worked side by side, and `frames` how many were detected.
    """

    def __init__(
        self, experiment: str, *, inputs: tuple[Path, ...], work: Path, workers: int = 0, frames: int = 0
    ) -> None:
        self.experiment = experiment
        self._inputs = {path.name: content(path) for path in inputs}
        seconds = seconds_of_stages(work)
        self._circumstances = {
            "revision": git_revision(),
            "packages": json.dumps(versions(), sort_keys=True),
            "workers": workers,
            "host": host(),
            "seconds": json.dumps(seconds, sort_keys=True),
            "frames_per_second": frames / seconds["detect"] if seconds.get("detect") else None,
        }
        self._rows: dict[str, Row] = {}

    def key(self, variant: str, seed: int) -> str:
        """The fingerprint of the rows of a variant and seed: of the settings and inputs they depend on."""
        settings = resolved(self.experiment, variant, seed)
        key = fingerprint(settings=settings, inputs=self._inputs)
        if key not in self._rows:
            named = {name: settings[name] for name in ("experiment", "variant", "seed")}
            written = json.dumps(settings, sort_keys=True)
            self._rows[key] = {"fingerprint": key, **named, "params": written, **self._circumstances}
        return key

    def rows(self) -> list[Row]:
        """A row of schemas.PROVENANCE for each fingerprint given, in their order."""
        return list(self._rows.values())


def resolved(experiment: str, variant: str, seed: int) -> dict[str, Any]:
    """The settings that a row depends on: all sections, but of the variants and seeds only its own.

    `variant` may also be an association without appearance, or `detector`; these do not depend on the Re-ID sections,
    the detector on how is tracked neither.
    """
    sections = {name: params.raw_section(experiment, name) for name in _SECTIONS}
    reid = dict(sections["reid"])
    variants = reid.pop("variants")
    if variant in variants:
        sections["reid"] = {**reid, "variant": variants[variant], "seeds": [seed]}
    else:
        del sections["reid"], sections["features"], sections["embed"]
    if variant == "detector":
        del sections["track"]
    return {"experiment": experiment, "variant": variant, "seed": seed, **sections}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def git_revision() -> str:
    """The commit that is checked out, with a `+` where files differ from it; empty without Git."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def host() -> str:
    """Kind of machine, without its name."""
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {', '.join(gpus) or 'no GPU'}"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=20).stdout.strip()
