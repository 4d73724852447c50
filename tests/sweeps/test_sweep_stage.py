"""The stage as DVC calls it: killed at any moment it goes on, interrupted it is no success."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import small
import swept

ROOT = Path(__file__).resolve().parents[2]
OUT = "reports/sweeps/association"


def start(root: Path) -> subprocess.Popen:
    options = ["sequences", "ground_truth", "detections"]
    paths = {name.replace("_", "-"): f"runs/tiny/{name}.parquet" for name in options}
    paths |= {"features": "runs/tiny/features.json", "embeddings": "runs/tiny/embeddings", "kept": "runs/tiny/work"}
    given = [f"--{name}={path}" for name, path in paths.items()]
    return subprocess.Popen(
        [sys.executable, "-m", "stages.sweep", "--sweep", "association", *given, "--out", OUT],
        cwd=root,
        env=small.environment(ROOT),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a group of its own, as a terminal gives its commands
    )


def wait_for_records(root: Path, count: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 300
    while len(records(root)) < count:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)


def records(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.glob("runs/tiny/work/sweeps/*/*.json")}


def rows(root: Path) -> list[dict]:
    table = pq.read_table(root / OUT / "trials.parquet").drop_columns(["seconds"])
    return table.to_pylist()


def test_the_stage_writes_the_table_and_the_page(tiny):
    swept.change("association", trials=9)
    process = start(tiny)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert {path.name for path in (tiny / OUT).iterdir()} == {"trials.parquet", "index.html"}
    assert len(rows(tiny)) == 10
    assert "sweep association: 10 of 10" in output


def test_a_bad_sweep_is_one_line_and_leaves_what_was_made(tiny):
    (tiny / OUT).mkdir(parents=True)
    (tiny / OUT / "index.html").write_text("before")
    swept.change("association", objectives={"HOTTA": "max"})
    process = start(tiny)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert output.startswith("sweep: params.yaml:sweeps.association.objectives.HOTTA")
    assert output.count("\n") == 1
    assert (tiny / OUT / "index.html").read_text() == "before"


@pytest.mark.slow
@pytest.mark.parametrize("fatal", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_sweep_that_was_ended_goes_on_and_ends_with_the_table_of_an_unbroken_one(tiny, fatal):
    swept.change("association", trials=60)
    whole = start(tiny)
    whole.communicate(timeout=300)
    expected = rows(tiny)
    for path in tiny.glob("runs/tiny/work/sweeps/*/*.json"):
        path.unlink()

    swept.cluster(tiny, workers=2)
    broken = start(tiny)
    wait_for_records(tiny, 10, broken)
    os.killpg(broken.pid, fatal)
    broken.communicate(timeout=120)
    assert broken.returncode != 0
    time.sleep(3)  # what Ray still runs ends by itself
    finished = records(tiny)
    assert len(finished) < 61, "it was ended too late to show anything"

    again = start(tiny)
    output, _ = again.communicate(timeout=500)
    assert again.returncode == 0, output
    assert rows(tiny) == expected
    assert {name: text for name, text in records(tiny).items() if name in finished} == finished
