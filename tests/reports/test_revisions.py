"""Tables of other Git revisions."""

import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline import tables
from pipeline.reports.revisions import read_table

TABLE = Path("reports") / "tracking.parquet"


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose table was 1 at the tag `first` and is 2 now; an earlier one `zero` has none."""
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"):
        monkeypatch.setenv(name, "test")
    for name in ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "test@localhost")
    dvc = (sys.executable, "-m", "dvc")
    run("git", "init", "--quiet")
    run(*dvc, "init", "--quiet")
    run("git", "commit", "--quiet", "--all", "--message", "zero")
    run("git", "tag", "zero")
    for value, tag in ((1, "first"), (2, "second")):
        table = pa.table({"HOTA": [value]})
        tables.write(table, TABLE, table.schema)
        run(*dvc, "add", "--quiet", str(TABLE))
        run("git", "add", "--all")
        run("git", "commit", "--quiet", "--message", tag)
        run("git", "tag", tag)
    return tmp_path


def test_a_revisions_table_comes_out_of_the_cache(repository):
    assert read_table("first", TABLE)["HOTA"].to_pylist() == [1]
    assert read_table("HEAD", TABLE)["HOTA"].to_pylist() == [2]


def test_what_is_not_at_hand_is_refused_with_what_to_do(repository):
    with pytest.raises(ValueError, match=r"zero.*dvc pull"):
        read_table("zero", TABLE)
    with pytest.raises(ValueError, match="nobody: no such folder, file or Git revision"):
        read_table("nobody", TABLE)
    shutil.rmtree(repository / ".dvc" / "cache")
    with pytest.raises(ValueError, match=r"first.*dvc pull"):
        read_table("first", TABLE)
