"""Trials on Ray Tune: what fails or dies ends nothing else, Optuna suggests, ASHA stops, nothing goes unseen."""

import dataclasses
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import swept

from pipeline import params
from pipeline.cluster import tune
from pipeline.cluster.session import Cluster, session
from pipeline.sweeps.declaration import Sweep

SPACE = {"track.ema": {"uniform": [0.0, 1.0]}}
SWEEP: Sweep = params.parse(swept.declaration(space=SPACE), Sweep, where="test")
EPOCHS = 9


@pytest.fixture(scope="module")
def two_workers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, [Path(__file__).parent, Path(__file__).parents[1]])))
        cluster = Cluster(address=None, workers=2, cpus_per_worker=1.0, gpus_per_worker=0.0)
        patch.setattr(tune, "settings", lambda: cluster)
        with session(cluster):
            yield


@pytest.fixture
def no_ray(monkeypatch):
    monkeypatch.setattr(tune, "settings", lambda: Cluster(None, 0, 1.0, 0.0))


def reported(value: float, epoch: int = 0) -> dict:
    return {"HOTA": value, "epoch": epoch, "records": [{"asked": {}, "seed": 0, "status": "finished"}]}


def parabola(asked, tell) -> dict:
    return reported(1 - (asked["track.ema"] - 0.7) ** 2)


def failing(asked, tell) -> dict:
    return reported(float("nan") if asked["track.ema"] > 0.5 else 1.0)


def dying(asked, tell) -> dict:
    if asked["track.ema"] == 0.2:
        os.kill(os.getpid(), signal.SIGKILL)
    if asked["track.ema"] == 0.3 and not Path("died").exists():
        Path("died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return parabola(asked, tell)


def training(asked, tell) -> dict:
    for epoch in range(1, EPOCHS):
        time.sleep(0.05)
        tell(reported(asked["track.ema"] * epoch, epoch))
    return reported(asked["track.ema"] * EPOCHS, EPOCHS)


def sleeping(asked, tell) -> dict:
    time.sleep(0 if asked["track.ema"] == 0.0 else 200)
    return reported(1.0)


def search(evaluate, **changed) -> tune.Search:
    return tune.Search(evaluate, dataclasses.replace(SWEEP, **changed), EPOCHS, what="test")


def at(*values: float) -> list[dict]:
    return [{"track.ema": value} for value in values]


def test_trials_end_in_the_order_of_their_configurations(two_workers):
    ended = tune.try_all(search(parabola), at(0.9, 0.1, 0.7))
    assert [one.asked for one in ended] == at(0.9, 0.1, 0.7)
    assert [one.report["HOTA"] for one in ended] == pytest.approx([0.96, 0.64, 1.0])


@pytest.mark.slow
def test_a_process_that_dies_is_replaced_and_one_that_keeps_dying_is_told(two_workers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second, third = tune.try_all(search(dying), at(0.1, 0.2, 0.3))
    assert (tmp_path / "died").exists()
    assert first.report["HOTA"] == pytest.approx(0.64)
    assert third.report["HOTA"] == pytest.approx(0.84)
    assert second.report is None
    assert second.error


@pytest.mark.slow
def test_suggestions_close_in_on_the_best(two_workers):
    known = [(asked, [parabola(asked, None)["HOTA"]]) for asked in at(*(i / 20 for i in range(20)))]
    ended = tune.try_suggested(search(parabola), known, 6)
    assert len(ended) == 6
    assert sorted(abs(one.asked["track.ema"] - 0.7) for one in ended)[3] < 0.15


@pytest.mark.slow
def test_suggestions_go_on_where_trials_fail_and_for_two_objectives(two_workers):
    assert len(tune.try_suggested(search(failing), [], 6)) == 6
    known = [(asked, [asked["track.ema"], 1.0]) for asked in at(0.2, 0.4)]
    both = search(with_switches, objectives={"HOTA": "max", "IDSW": "min"})
    assert len(tune.try_suggested(both, known, 4)) == 4


def with_switches(asked, tell) -> dict:
    return {**parabola(asked, tell), "IDSW": asked["track.ema"]}


@pytest.mark.slow
def test_asha_stops_trials_that_are_behind_and_keeps_their_last_epoch(two_workers):
    trained = {"reid.rate": {"uniform": [0.0, 1.0]}}
    values = [0.9, 0.8, 0.1, 0.2, 0.3, 0.05]
    ended = tune.try_all(search(training, space=trained, scheduler="asha"), at(*values))
    epochs = [one.report["epoch"] for one in ended]
    assert epochs[0] == EPOCHS
    assert min(epochs) < EPOCHS
    assert all(one.report["HOTA"] == pytest.approx(one.asked["track.ema"] * one.report["epoch"]) for one in ended)


@pytest.mark.slow
def test_no_trial_goes_on_when_time_is_up(two_workers):
    started = time.monotonic()
    ended = tune.try_all(search(sleeping, seconds=30.0, concurrency=1), at(0.0, 0.5, 0.6))
    assert time.monotonic() - started < 150
    assert [one.report is not None for one in ended] == [True, False, False]


@pytest.mark.slow
def test_a_sweep_whose_nodes_stay_away_is_given_up(two_workers, monkeypatch):
    def look(watch: tune.Watch) -> None:
        if (looked := getattr(watch, "looked", 0)) > 5:
            raise ValueError("room for 0 of 1 workers is left")
        watch.looked = looked + 1

    monkeypatch.setattr(tune.Watch, "look", look)
    with pytest.raises(ValueError, match=r"^room for 0 of 1 workers is left$"):
        tune.try_all(search(sleeping), at(0.5, 0.6))


def test_trials_that_tune_left_out_are_no_success():
    done = SimpleNamespace(error=None, metrics=reported(1.0))
    cut = SimpleNamespace(error=None, metrics={})
    tune._refuse_incomplete([done, done], 2, SWEEP)
    for results in ([done], [done, cut]):
        with pytest.raises(ValueError, match="1 of 2 trials ended, expected all"):
            tune._refuse_incomplete(results, 2, SWEEP)
    tune._refuse_incomplete([done, cut], 2, dataclasses.replace(SWEEP, seconds=1.0))


def test_without_workers_trials_are_a_plain_loop(no_ray):
    ended = tune.try_all(search(parabola), at(0.9, 0.7))
    assert [one.report["HOTA"] for one in ended] == pytest.approx([0.96, 1.0])
    late = tune.try_all(search(parabola, seconds=1e-9), at(0.9))
    assert late[0].report is None


def test_what_needs_ray_is_refused_without_it(no_ray):
    with pytest.raises(ValueError, match=r"cluster.yaml:workers: found 0, .* searcher: tpe runs on Ray"):
        tune.try_suggested(search(parabola, searcher="tpe"), [], 1)
    trained = {"reid.rate": {"uniform": [0.0, 1.0]}}
    with pytest.raises(ValueError, match=r"cluster.yaml:workers: found 0, .* scheduler: asha runs on Ray"):
        tune.try_all(search(training, space=trained, scheduler="asha"), at(0.5))
