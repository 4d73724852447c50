"""A sweep runs from what a storage holds, and what it finishes is there when its job is gone."""

import os
import shutil
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import swept

from pipeline.cluster import tune
from pipeline.storage import Storage
from pipeline.sweeps import stored
from pipeline.sweeps import study as studies
from stages import sweep_job


@pytest.fixture
def copy(tiny, tmp_path):
    """Goes to a copy of the repository as a job has it: sources and settings, nothing that was made."""

    def go(name: str = "job") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for settings in ("params.yaml", "cluster.yaml"):
            shutil.copy(tiny / settings, folder)
        os.chdir(folder)
        return folder

    return go


def rows(folder: Path, name: str) -> list[dict]:
    return pq.read_table(folder / stored.outcome(name) / "trials.parquet").drop_columns(["seconds"]).to_pylist()


def run_here(name: str) -> list[dict]:
    """The rows of a sweep as the stage makes them, where the experiment lies."""
    from stages import sweep

    files = swept.files()
    sweep.main(name, files.sequences, files.ground_truth, files.detections, files.features, files.embeddings,
               files.work, stored.outcome(name))  # fmt: skip
    return rows(Path(), name)


@pytest.mark.parametrize("name", ["association", "reid"])
def test_a_job_gives_the_trials_of_the_stage(tiny, copy, storage, name):
    stored.send(name, storage)
    job = copy()
    sweep_job.main(name, storage.url)
    os.chdir(tiny)
    assert rows(job, name) == run_here(name)
    assert storage.has(stored.outcome(name))


def test_a_job_that_was_killed_goes_on_with_what_is_missing(tiny, copy, storage, monkeypatch):
    stored.send("association", storage)
    copy("first")
    real, asked = studies.evaluate, []

    def third_dies(one, tell, *, study):
        asked.append(one)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(one, tell, study=study)

    with monkeypatch.context() as patch:
        patch.setattr(studies, "evaluate", third_dies)
        patch.setattr(stored, "_PATIENCE", 0.0)
        with pytest.raises(KeyboardInterrupt):
            sweep_job.main("association", storage.url)
    os.chdir(tiny)
    assert stored.kept("association", storage) == 2

    second = copy("second")
    monkeypatch.setattr(
        studies, "evaluate", lambda one, tell, *, study: (asked.append(one), real(one, tell, study=study))[1]
    )
    sweep_job.main("association", storage.url)
    assert len(asked) == 3 + 3
    os.chdir(tiny)
    assert rows(second, "association") == run_here("association")


def test_only_what_trials_read_is_sent_and_it_is_sent_once(tiny, storage):
    association, trained = stored.send("association", storage), stored.send("reid", storage)
    assert Path("runs/tiny/embeddings/finetrack/seed0/detections.parquet") in association
    assert not any(path.suffix == ".arrow" for path in association)
    assert len([path for path in trained if path.suffix == ".arrow"]) == 3  # people of train, people and boxes of val
    assert all(storage.has(path) for path in {*association, *trained})


def test_what_is_finished_at_home_is_sent_too(tiny, copy, storage, monkeypatch):
    expected = run_here("association")
    stored.send("association", storage)
    job = copy()
    monkeypatch.setattr(studies, "evaluate", lambda *given, **named: pytest.fail("all trials are finished"))
    sweep_job.main("association", storage.url)
    assert rows(job, "association") == expected


def test_a_job_without_inputs_says_so_before_its_first_trial(copy, storage):
    copy()
    with pytest.raises(ValueError, match=r"holds no runs/tiny/sequences\.parquet"):
        sweep_job.main("association", storage.url)


def test_an_experiment_that_is_not_finished_is_not_sent(tiny, storage):
    Path("runs/tiny/embeddings/finetrack/seed0/detections.parquet").unlink()
    with pytest.raises(ValueError, match=r"detections\.parquet: no such file"):
        stored.send("association", storage)
    assert not storage.has(Path("runs/tiny/sequences.parquet"))


def test_a_trial_from_another_disk_is_kept_here(tiny):
    here = swept.study("association")
    search = tune.Search(partial(studies.evaluate, study=here), here.sweep, here.epochs, what="test")
    (ended, *_) = tune.try_all(search, [{}])
    (record,) = here.folder.glob("*.json")
    text = record.read_text()
    record.unlink()
    assert studies.settle(here, [ended]) == []
    assert record.read_text() == text


def test_a_storage_that_does_not_answer_for_a_while_ends_no_sweep(tiny, copy, storage, monkeypatch, capsys):
    stored.send("association", storage)
    job = copy()
    real, failed = Storage.put, []

    def put(self, path):
        if not failed:
            failed.append(path)
            raise ValueError("storage: cannot put: timeout")
        real(self, path)

    monkeypatch.setattr(Storage, "put", put)
    sweep_job.main("association", storage.url)
    assert failed
    assert "trials are not stored yet: storage: cannot put" in capsys.readouterr().out
    assert len(rows(job, "association")) == 5
