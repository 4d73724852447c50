"""A sweep comes home whole or not at all, and nothing of one's own is lost to it."""

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import swept
from s3_server import s3_server

from pipeline.cli import main
from pipeline.storage import Storage
from pipeline.sweeps import stored
from stages import sweep_job

OUT = Path("reports/sweeps/association")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A repository with an experiment, and beside it `shared`, a storage of which a job ran a sweep."""
    place = tmp_path_factory.mktemp("collected")
    home, job, shared = place / "home", place / "job", place / "shared"
    for folder in (home, job, shared):
        folder.mkdir()
    swept.make(home)
    before = Path.cwd()
    try:
        os.chdir(home)
        assert main(["send", "association", "--to", str(shared)]) == 0
        for name in ("params.yaml", "cluster.yaml"):
            shutil.copy(name, job)
        os.chdir(job)
        sweep_job.main("association", str(shared))
    finally:
        os.chdir(before)
    return place


@pytest.fixture
def home(finished, tmp_path, monkeypatch) -> Path:
    """A copy of it, in the repository."""
    shutil.copytree(finished, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place/home")
    return tmp_path / "place/home"


@pytest.fixture
def url(home) -> str:
    return str(home.parent / "shared")


def collect(url: str, *more: str, into: Path = OUT) -> int:
    return main(["collect", url, "--into", str(into), *more])


def put(url: str, change, home: Path) -> None:
    """Store a changed outcome, as something else than a job of this sweep would."""
    folder = home.parent / "job" / OUT
    change(folder)
    before = Path.cwd()
    os.chdir(home.parent / "job")
    Storage(url).put(OUT)
    os.chdir(before)


def test_the_table_and_the_page_come_home(url, home, capsys):
    assert collect(url) == 0
    made = home.parent / "job" / OUT
    for name in ("trials.parquet", "index.html"):
        assert (OUT / name).read_bytes() == (made / name).read_bytes()
    assert capsys.readouterr().out == f"{OUT}: 5 trials\n"


def test_they_come_from_s3_too(home):
    with s3_server() as url:
        os.chdir(home.parent / "job")
        Storage(url).put(OUT)
        os.chdir(home)
        assert collect(url) == 0
    assert pq.read_table(OUT / "trials.parquet").num_rows == 5


def test_what_is_here_already_stays_as_it_is(url, capsys):
    assert collect(url) == 0
    before = (OUT / "trials.parquet").stat()
    assert collect(url) == 0
    assert (OUT / "trials.parquet").stat() == before
    assert capsys.readouterr().out.endswith("here already\n")


def test_another_sweep_here_is_replaced_only_when_asked(url, capsys):
    OUT.mkdir(parents=True)
    (OUT / "index.html").write_text("mine")
    (OUT / "notes.txt").write_text("mine")
    assert collect(url) == 2
    assert "holds another sweep, expected nothing or the same" in capsys.readouterr().err
    assert (OUT / "index.html").read_text() == "mine"
    assert collect(url, "--replace") == 0
    assert {path.name for path in OUT.iterdir()} == {"trials.parquet", "index.html"}


def test_a_sweep_that_has_not_ended_tells_how_far_it_is(url, home, capsys):
    shutil.rmtree(Path(url) / OUT)
    assert collect(url) == 2
    assert "there are its inputs and 5 finished trials. Its job still runs" in capsys.readouterr().err
    shutil.rmtree(Path(url) / "runs/tiny/work")
    assert collect(url) == 2
    assert "its inputs and 0 finished trials" in capsys.readouterr().err
    assert not OUT.exists()


def test_a_sweep_that_was_never_sent_says_so(tmp_path, home, capsys):
    (tmp_path / "empty").mkdir()
    assert collect(str(tmp_path / "empty")) == 2
    assert "its inputs are not there either. `finetrack send association`" in capsys.readouterr().err
    assert collect(str(tmp_path / "empty"), into=Path("reports/sweeps/unheard")) == 2
    assert "unheard" in capsys.readouterr().err


@pytest.mark.parametrize("into", ["elsewhere", "reports/sweeps", "/tmp/reports/sweeps/association"])
def test_a_sweep_goes_to_its_own_folder_only(url, into, capsys):
    assert collect(url, into=Path(into)) == 2
    assert "--into: found" in capsys.readouterr().err


def without_page(folder: Path) -> None:
    (folder / "index.html").unlink()


def half_a_page(folder: Path) -> None:
    (folder / "index.html").write_text((folder / "index.html").read_text()[:2000])


def half_a_table(folder: Path) -> None:
    (folder / "trials.parquet").write_bytes((folder / "trials.parquet").read_bytes()[:2000])


def changed(folder: Path, change) -> None:
    table = pq.read_table(folder / "trials.parquet")
    pq.write_table(change(table), folder / "trials.parquet")


def of_another(folder: Path) -> None:
    def rename(table: pa.Table) -> pa.Table:
        return table.set_column(0, "sweep", pa.array(["reid"] * table.num_rows))

    changed(folder, rename)


def rows_twice(folder: Path) -> None:
    changed(folder, lambda table: pa.concat_tables([table, table]))


def without_status(folder: Path) -> None:
    changed(folder, lambda table: table.drop_columns(["status"]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_page, r"holds \['trials.parquet'\], expected \['index.html', 'trials.parquet'\]"),
        (half_a_page, "index.html: ends before </html>"),
        (half_a_table, "expected a Parquet table"),
        (of_another, r"rows are of \['reid'\], expected of 'association' alone"),
        (rows_twice, "10 rows are 5 trials and seeds"),
        (without_status, "expected first"),
    ],
)
def test_what_is_no_whole_sweep_is_refused_and_nothing_changes(url, home, change, reason):
    put(url, change, home)
    OUT.mkdir(parents=True)
    from pipeline.commands import collect as command

    with pytest.raises(ValueError, match=reason):
        command.run(url, OUT, replace=True)
    assert list(OUT.iterdir()) == []


def test_a_damaged_storage_is_refused(url):
    (table,) = (Path(url) / OUT).rglob("trials.parquet")
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    from pipeline.commands import collect as command

    with pytest.raises(ValueError, match="is damaged"):
        command.run(url, OUT)
    assert not OUT.exists()


def test_an_outcome_is_where_dvc_has_it(root):
    assert f"--out {stored.outcome('${key}')}" in (root / "sweeps/dvc.yaml").read_text()
