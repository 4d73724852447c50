"""What watches over the kills sees what it should: half-written files, and processes that outlive their parent."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import faults

ORPHAN = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


@pytest.mark.parametrize("name", ["runs/a/work/detections/x.parquet", "reports/tracking.parquet"])
def test_a_table_that_was_cut_short_is_found(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"frame": [1, 2]}), path)
    assert faults.half_written(tmp_path) == ""
    cut(path)
    assert name in faults.half_written(tmp_path)


def test_hidden_files_are_leftovers_and_no_outputs(tmp_path):
    for name in (".a.parquet.abcdefgh", "work/reid/.epoch-00002.12345678/new/model.safetensors"):
        (path := tmp_path / "runs" / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    assert faults.half_written(tmp_path) == ""
    assert {path.name for path in faults.leftovers(tmp_path)} == {".a.parquet.abcdefgh", ".epoch-00002.12345678"}


def test_an_orphan_is_found_by_its_session():
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN], start_new_session=True)
    assert parent.wait(60) == 0
    orphans = faults.family(parent.pid)
    try:
        assert [os.getppid() == one.ppid() for one in orphans] == [False]
        assert "time.sleep(60)" in faults.command_of(orphans[0])
        assert faults.names(orphans) == [f"{Path(sys.executable).name} -c import time; time.sleep(60)"]
    finally:
        faults.end(orphans)
    orphans[0].wait(30)
    assert faults.left_running([parent.pid]) == ""
