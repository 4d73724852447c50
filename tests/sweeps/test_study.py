"""What is finished is kept and never tried again; what fails stands in its row."""

from functools import partial

import pytest
from swept import TRAINED, change, study

from pipeline.cluster import tune
from pipeline.sweeps import study as studies
from pipeline.sweeps import trial as trials
from pipeline.sweeps.records import Ended, Record
from pipeline.sweeps.results import schema
from pipeline.sweeps.results import trials as table


def run(name: str) -> list[dict]:
    """The rows of a sweep, run without Ray."""
    one = study(name)
    search = tune.Search(partial(studies.evaluate, study=one), one.sweep, one.epochs, what=name)
    lost = studies.settle(one, tune.try_all(search, studies.missing(one)))
    return table(name, one, lost).to_pylist()


def without_seconds(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.fixture
def counted(monkeypatch) -> list:
    """Configurations that were tracked, one entry each time."""
    calls: list = []
    real = trials._tracking

    def tracking(settings, material, embeddings):
        calls.append(settings)
        return real(settings, material, embeddings)

    monkeypatch.setattr(trials, "_tracking", tracking)
    return calls


def test_every_trial_has_a_row_with_what_it_ran_with_and_scored(tiny):
    rows = run("reid")
    assert [row["trial"] for row in rows] == [0, 1, 2]
    assert {row["status"] for row in rows} == {"finished"}
    assert (rows[0]["reid.loss.alpha"], rows[0]["reid.parts"], rows[0]["epochs"]) == (3.0, 2, 3)
    assert all(0 < row["mAP_gap"] <= 100 and row["HOTA"] > 0 for row in rows)
    assert all(field.metadata[b"doc"] for field in schema(study("reid")))


def test_a_second_run_tries_nothing_and_more_trials_only_what_is_new(tiny, counted):
    before = run("association")
    assert len(counted) == len(before) == 5
    assert run("association") == before
    assert len(counted) == 5
    change("association", trials=6)
    assert run("association")[:5] == before
    assert len(counted) == 7


def test_an_interrupted_sweep_ends_with_the_table_of_an_unbroken_one(tiny, counted, monkeypatch):
    whole = run("association")
    for path in (tiny / "runs/tiny/work/sweeps").rglob("*.json"):
        path.unlink()
    real = trials._tracking

    def interrupted(*given):
        if len(counted) == 8:
            raise KeyboardInterrupt
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(trials, "_tracking", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run("association")
    again = run("association")
    assert without_seconds(again) == without_seconds(whole)
    assert len(counted) == 10


def test_a_failing_trial_is_a_row_with_its_error_and_the_others_finish(tiny):
    """Thresholds are accepted one by one; two of them together may not be."""
    space = {"track.low_threshold": {"choice": [0.1, 0.55]}, "track.track_threshold": {"choice": [0.3, 0.6]}}
    change("association", space=space, searcher="grid", trials=None)
    rows = run("association")
    assert [row["status"] for row in rows] == ["finished", "finished", "failed", "finished"]  # params.yaml's is one
    assert "low_threshold: found 0.55, expected at most track_threshold (0.3)" in rows[2]["error"]
    assert (rows[2]["track.low_threshold"], rows[2]["HOTA"]) == (0.55, None)


def test_an_error_that_may_pass_is_a_row_and_is_tried_again(tiny, monkeypatch):
    real, broken = trials._tracking, []

    def full(settings, material, embeddings):
        if settings.track.match_threshold is None and not broken:
            broken.append(settings)
            raise OSError("no space left on device")
        return real(settings, material, embeddings)

    monkeypatch.setattr(trials, "_tracking", full)
    first, again = run("association"), run("association")
    assert (first[0]["status"], first[0]["error"]) == ("failed", "OSError: no space left on device")
    assert {row["status"] for row in first[1:]} == {"finished"} == {row["status"] for row in again}
    assert again[1:] == first[1:]


def test_a_sweep_of_which_every_trial_fails_is_no_result(tiny, monkeypatch):
    def full(*given):
        raise OSError("no space left on device")

    monkeypatch.setattr(trials, "_tracking", full)
    with pytest.raises(ValueError, match="all 5 trials failed, the first: OSError: no space left on device"):
        run("association")


def test_what_a_trial_depends_on_names_its_record(tiny):
    one = study("association")
    folder, point = one.folder, studies._path(one, {}, 0).name
    change("association", trials=9, concurrency=1)
    assert study("association").folder == folder
    text = (tiny / "params.yaml").read_text()
    (tiny / "params.yaml").write_text(text.replace("second_match_threshold: 0.5", "second_match_threshold: 0.4"))
    other = study("association")
    assert studies._path(other, {}, 0).name != point
    (tiny / "runs/tiny/detections.parquet").write_bytes((tiny / "runs/tiny/ground_truth.parquet").read_bytes())
    with pytest.raises(ValueError, match=r"detections.parquet: columns are"):
        study("association")


def test_a_configuration_that_is_the_point_of_params_is_tried_once(tiny):
    space = {"track.buffer": {"choice": [10, 30]}, "track.ema": {"choice": [0.9]}}
    change("association", space=space, searcher="grid", trials=None)
    one = study("association")
    assert studies.configurations(one) == [{}, {"track.buffer": 10, "track.ema": 0.9}]


def test_trials_of_seeds_are_rows_and_their_mean_is_the_objective(tiny):
    change("reid", seeds=[0, 1], trials=1)
    rows = run("reid")
    assert [(row["trial"], row["seed"]) for row in rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    one = study("reid")
    (_, (value, _)), _ = studies.scored(one)
    assert value == pytest.approx((rows[0]["mAP_gap"] + rows[1]["mAP_gap"]) / 2)


def test_a_trial_that_was_stopped_is_kept_and_one_whose_process_died_is_not(tiny):
    change("reid", objectives={"mAP_gap": "max"}, scheduler="asha", space=TRAINED)
    one = study("reid")
    asked = one.sweep.configurations()
    stopped = Record(asked[1], 0, "stopped", epochs=1, parameters=asked[1], metrics={"mAP_gap": 1.0})
    told = {"mAP_gap": 1.0, "epoch": 1, "records": [vars(stopped)]}
    ended = [Ended({}, None, "killed by the system"), Ended(asked[1], told), Ended(asked[2], None)]
    (lost,) = studies.settle(one, ended)
    assert (lost.asked, lost.status, lost.error) == ({}, "failed", "its process died: killed by the system")
    assert studies.missing(one) == [{}, asked[2]]
    statuses = {row["trial"]: row["status"] for row in table("reid", one, [lost]).to_pylist()}
    assert statuses == {0: "failed", 1: "stopped"}


def test_a_searcher_learns_from_finished_trials_inside_the_space(tiny):
    run("association")
    change(
        "association", space={"track.match_threshold": {"uniform": [0.5, 0.9]}, "track.buffer": {"integer": [1, 40]}}
    )
    run("association")
    known = studies.scored(study("association"))
    assert known
    assert all(0.5 <= asked["track.match_threshold"] <= 0.9 for asked, _ in known)


def test_an_objective_that_is_undefined_in_every_trial_is_no_result(tiny, monkeypatch):
    monkeypatch.setattr(trials, "_tracking", lambda *given: {"HOTA": float("nan")})
    with pytest.raises(ValueError, match="sweep association: HOTA is undefined in all 5 trials"):
        run("association")
