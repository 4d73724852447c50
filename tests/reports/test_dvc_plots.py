"""`dvc metrics` and `dvc plots` as a user without network runs them, on the stage `report` alone."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pytest
import yaml

from pipeline import tables
from pipeline.evaluation.schemas import SCHEMAS
from pipeline.sources import ROOT

OFFLINE = ("unshare", "--net", "--map-root-user")  # a network of its own, in which there is nothing


@pytest.fixture
def repository(runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stage `report` over scores made by hand, run and committed; then one HOTA rose, and it ran again."""
    folder = runs.parent
    monkeypatch.chdir(folder)
    for name, value in (("PYTHONPATH", str(ROOT)), ("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")):
        monkeypatch.setenv(name, value)
    for name in ("pipeline", "stages", ".dvcignore"):
        (folder / name).symlink_to(ROOT / name)
    report = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["report"] | {"deps": ["runs"]}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"report": report}}))
    (folder / "params.yaml").write_text("experiments: [synthetic]\n")
    (folder / ".gitignore").write_text("/runs\n/reports/*\n!/reports/metrics.json\n/pipeline\n/stages\n")
    run("git", "init", "--quiet")
    run("dvc", "init", "--quiet")
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    run("dvc", "repro")
    run("git", "add", "--all")
    run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "--message", "first")
    raise_hota(runs / "synthetic" / "scores" / "tracking.parquet", by=2.5)
    run("dvc", "repro")
    return folder


def raise_hota(path: Path, *, by: float) -> None:
    table = tables.read(path, SCHEMAS["tracking"])
    higher = pc.add(table["HOTA"], pc.if_else(pc.equal(table["variant"], "finetrack"), by, 0.0))
    place = table.schema.get_field_index("HOTA")
    tables.write(table.set_column(place, table.schema.field(place), higher), path, SCHEMAS["tracking"])


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def offline(*command: str) -> str:
    if subprocess.run([*OFFLINE, "true"], capture_output=True).returncode:
        pytest.skip("no network namespaces for this user; run as root to try without network")
    return run(*OFFLINE, *command)


@pytest.mark.slow
def test_metrics_and_plots_are_shown_and_compared_without_network(repository: Path) -> None:
    shown = json.loads(offline("dvc", "metrics", "show", "--json"))[""]["data"]["reports/metrics.json"]["data"]
    assert shown["synthetic"]["tracking"]["finetrack"]["HOTA"] == 67.5
    differs = json.loads(offline("dvc", "metrics", "diff", "--json"))["reports/metrics.json"]
    assert differs == {"synthetic.tracking.finetrack.HOTA": {"old": 65.0, "new": 67.5, "diff": 2.5}}

    offline("dvc", "plots", "show", "--out", "shown")
    offline("dvc", "plots", "diff", "HEAD", "--out", "compared")
    charts = sorted(path.name for path in (repository / "reports" / "plots").iterdir())
    for folder, revisions in (("shown", ["workspace"]), ("compared", ["workspace", "HEAD"])):
        page = (repository / folder / "index.html").read_text()
        assert "http" not in page
        images = re.findall(r'<img src="([^"]+)"', page)
        assert [Path(one).name for one in images] == [
            f"{rev}_reports_plots_{name}" for name in charts for rev in revisions
        ]
        assert all((repository / folder / image).stat().st_size > 1000 for image in images)
