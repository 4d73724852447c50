"""The tutorials are typed: their commands run in order on the embedded experiment, cut down to seconds a stage."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import small

from pipeline import params
from pipeline.sources import ROOT

QUICKSTART = ROOT / "docs/quickstart.md"
TUTORIALS = sorted((ROOT / "docs/tutorials").glob("*.md"))
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# What readers have in params.yaml, and what stands there instead in a test: all else is as they see it.
SMALLER = {
    r"sequences: 6, dances: 2, frames: 120, width: 448, height: 256, people: 12":
        "sequences: 2, dances: 1, frames: 16, width: 192, height: 128, people: 5",
    r"input_size: \[192, 320\]": "input_size: [128, 192]",
    r"confidence: 0\.01, nms": "confidence: 0.00001, nms",  # so short a training is sure of nothing
    r"epochs: 16\n    plain_epochs: 4": "epochs: 2\n    plain_epochs: 1",
    r"channels: 48, mask_per_head: 8, group_size: 4, epochs: 10, milestone: 7":
        "channels: 16, mask_per_head: 4, parts: 2, group_size: 4, epochs: 2, milestone: 1",
    r"      mpmg: .*\n(      .*\n)*(?=      untrained: )":
        "      finetrack: {neck: fafpn, pool: mpmg, sampler: sgs}\n",
    r"trials: 31 ": "trials: 1 ",
    r"trials: 127\b": "trials: 2",
}  # fmt: skip


def cut_down(text: str) -> str:
    """params.yaml of `synthetic` in seconds, its comments and anchors kept."""
    for pattern, smaller in SMALLER.items():
        text, found = re.subn(pattern, smaller, text)
        assert found == 1, f"{found} times in params.yaml: {pattern}"
    return text


def commands(page: Path) -> str:
    return "\n".join(BLOCK.findall(page.read_text(encoding="utf-8")))


def typed(page: Path, folder: Path) -> str:
    """What the page's commands print, typed in `folder` one after the other; the environment is set up already."""
    environment = {**small.environment(folder), "MAKEFLAGS": "READY="}
    script = f"set -euo pipefail\n{commands(page)}"
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{page.name}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A clone in which the quickstart was followed, and what it printed."""
    folder = small.copy_of_repository(tmp_path_factory.mktemp("clone"), {}, workers=0)
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copytree(ROOT / "sweeps", folder / "sweeps", dirs_exist_ok=True)
    (folder / "params.yaml").write_text(cut_down((ROOT / "params.yaml").read_text(encoding="utf-8")), encoding="utf-8")
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["add", "-A"], ["commit", "-qm", "cut down"]):
        subprocess.run([*git, *command], cwd=folder, check=True, capture_output=True)
    return folder, typed(QUICKSTART, folder)


def test_the_experiment_of_the_tutorials_is_cut_down_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(cut_down((ROOT / "params.yaml").read_text(encoding="utf-8")), "utf-8")
    whole, cut = params.load(ROOT / "params.yaml"), params.load(tmp_path / "params.yaml")
    assert whole.keys() == cut.keys()
    assert list(cut["synthetic"]["reid"]["variants"]) == ["baseline", "finetrack", "untrained"]
    assert cut["synthetic"]["track"] == whole["synthetic"]["track"]


@pytest.mark.parametrize("page", [QUICKSTART, *TUTORIALS], ids=lambda page: page.stem)
def test_every_tutorial_has_commands_that_a_shell_can_read(page: Path) -> None:
    assert commands(page)
    subprocess.run(["bash", "-n", "-c", commands(page)], check=True)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # some forty seconds each where nothing else runs
def test_the_quickstart_prints_the_table_and_runs_nothing_twice(started: tuple[Path, str]) -> None:
    folder, printed = started
    first, _, second = printed.partition("Page reports/index.html")
    assert "synthetic Tracking on val" in first
    assert "Running stage 'train_reid@synthetic'" in first
    assert "synthetic Tracking on val" in second
    assert "Running stage" not in second
    assert (folder / "reports/index.html").is_file()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_the_commands_of_a_tutorial_work_as_typed(page: Path, started: tuple[Path, str], tmp_path: Path) -> None:
    folder = tmp_path / "clone"
    shutil.copytree(started[0], folder, symlinks=True)
    typed(page, folder)
