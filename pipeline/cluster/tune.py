"""Trials side by side on Ray Tune, its only door: configurations known beforehand, or suggested by Optuna.

A trial is a plain function over what was computed before; ASHA may end it early, it may fail, its process may die: none
of that ends the others. Tune's run folder is temporary, what a trial leaves is its own affair.
"""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.cluster.place import Place, place
from pipeline.cluster.session import Cluster, Watch, scratch, session, settings
from pipeline.progress import Meter, meter
from pipeline.sweeps import optimizer
from pipeline.sweeps.declaration import Sweep
from pipeline.sweeps.records import Ended, Report
from pipeline.sweeps.space import Configuration

Tell = Callable[[Report], None]
Evaluate = Callable[[Configuration, Tell], Report]

_RESTARTS = 2  # of a trial whose process died; what the trial refuses is in its report, and is not tried again

# No three files a trial that nobody reads, and no frame of text around a progress that is shown by other means.
_ENVIRONMENT = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}
_LONGEST = 300  # characters of an error


def _silent(report: Report) -> None:
    return None


@dataclass(frozen=True)
class Search:
    """How trials are made: `evaluate(configuration, tell)` returns a report that holds every objective of the sweep.

    An objective is NaN where the trial failed. Under asha a report is told after each of at most `epochs` epochs, with
    the number of the `epoch`. `what` names the search where progress is shown; `ended` hears, in this process, the last
    report of each trial that is over. `reads` are the files and folders that trials read, which nodes that do not see
    the repository take from `storage`, else from that of cluster.yaml.
    """

    evaluate: Evaluate
    sweep: Sweep
    epochs: int
    what: str
    ended: Callable[[Report], object] = _silent
    reads: Sequence[Path] = ()
    storage: str | None = None

    def cluster(self) -> Cluster:
        """What cluster.yaml says, with the search's own storage."""
        found = settings()
        return replace(found, storage=self.storage or found.storage)


def try_all(search: Search, configurations: Sequence[Configuration]) -> list[Ended]:
    """Try every configuration; how they ended, in their order. With no workers in cluster.yaml it is a plain loop.

    Raises:
        ValueError: tpe or asha without workers, or trials that ended unseen.
    """
    cluster = search.cluster()
    with meter(search.what, len(configurations)) as shown:
        tally, sweep = _Tally(search, shown), search.sweep
        _refuse_no_ray(cluster, sweep)
        if cluster.workers == 0 or not configurations:
            return _loop(search, configurations, tally)
        with session(cluster), place(cluster) as here:
            from ray import tune

            here.send(search.reads)
            numbers = {"number": tune.grid_search(list(range(len(configurations))))}
            named = dict(enumerate(configurations))
            trial = tune.with_parameters(
                _numbered, named=named, evaluate=search.evaluate, here=here, reads=search.reads
            )
            results = _fit(trial, numbers, _asha(search) if sweep.scheduler == "asha" else {}, sweep, cluster, tally)
    _refuse_incomplete(results, len(configurations), sweep)
    told = {one.config["number"]: one for one in results if one.config}  # none of trials that never started
    return [_ended(asked, told.get(number)) for number, asked in named.items()]


def try_suggested(search: Search, known: optimizer.Known, count: int) -> list[Ended]:
    """Try `count` configurations that Optuna's TPE suggests, once told what the `known` ones scored.

    Raises:
        ValueError: no workers in cluster.yaml, or trials that ended unseen.
    """
    if count < 1:
        return []
    cluster = search.cluster()
    _refuse_no_ray(cluster, search.sweep)
    with meter(search.what, count) as shown, session(cluster), place(cluster) as here:
        from ray import tune

        from pipeline.cluster.callbacks import Suggestions

        here.send(search.reads)
        trial = tune.with_parameters(_suggested, evaluate=search.evaluate, here=here, reads=search.reads)
        options = {"search_alg": Suggestions(search.sweep, known), "num_samples": count}
        options |= _asha(search) if search.sweep.scheduler == "asha" else {}
        results = _fit(trial, {}, options, search.sweep, cluster, _Tally(search, shown))
    _refuse_incomplete(results, count, search.sweep)
    return [_ended(one.config, one) for one in results if one.config]


class _Tally:
    """Counts trials that are over, shows the best so far by the first objective, and passes their reports on."""

    def __init__(self, search: Search, shown: Meter) -> None:
        self._name, self._direction = next(iter(search.sweep.objectives.items()))
        self._ended, self._shown, self._done, self._best = search.ended, shown, 0, math.nan

    def __call__(self, report: Report | None) -> None:
        if report and "records" in report:
            self._ended(report)
        self._done += 1
        value = (report or {}).get(self._name, math.nan)
        better = value > self._best if self._direction == "max" else value < self._best
        if better or math.isnan(self._best):
            self._best = value
        self._shown.show(self._done, f"best {self._name} {self._best:.2f}")


def _loop(search: Search, configurations: Sequence[Configuration], tally: _Tally) -> list[Ended]:
    started, seconds = time.monotonic(), search.sweep.seconds
    ended = []
    for asked in configurations:
        late = seconds is not None and time.monotonic() - started > seconds
        ended.append(Ended(asked, None if late else search.evaluate(asked, _silent)))
        tally(ended[-1].report)
    return ended


def _fit(
    trial: Callable[..., Any], space: dict, options: dict[str, Any], sweep: Sweep, cluster: Cluster, tally: _Tally
) -> Any:
    """Run Tune, whose own handling of Ctrl-C, which ends with success, is off (pipeline.cluster.session)."""
    from ray import tune

    from pipeline.cluster.callbacks import Progress

    os.environ.update(_ENVIRONMENT)
    with scratch() as storage:
        return tune.Tuner(
            tune.with_resources(trial, {"cpu": cluster.cpus_per_worker, "gpu": cluster.gpus_per_worker}),
            param_space=space,
            tune_config=tune.TuneConfig(
                max_concurrent_trials=sweep.concurrency, reuse_actors=True, time_budget_s=sweep.seconds, **options
            ),
            run_config=tune.RunConfig(
                storage_path=str(storage),
                name="sweep",
                verbose=0,
                callbacks=[Progress(tally, Watch(cluster, workers=1).look)],
                failure_config=tune.FailureConfig(max_failures=_RESTARTS),
            ),
        ).fit()


def _numbered(config: dict[str, Any], *, named: dict[int, Configuration], **shared: Any) -> Report:
    return _suggested(named[config["number"]], **shared)


def _suggested(config: Configuration, *, evaluate: Evaluate, here: Place, reads: Sequence[Path]) -> Report:
    from ray import tune

    if here.enter():  # Tune gives each trial a folder of its own
        here.fetch(reads)
    return evaluate(dict(config), tune.report)


def _ended(asked: Configuration, result: Any) -> Ended:
    if result is None or (not result.error and "records" not in result.metrics):
        return Ended(asked, None)
    if result.error:
        return Ended(asked, None, " ".join(str(result.error).split())[:_LONGEST] or type(result.error).__name__)
    return Ended(asked, result.metrics)


def _asha(search: Search) -> dict[str, Any]:
    """ASHA: of the trials that reach a ninth and a third of the epochs, the best third goes on."""
    from ray.tune.schedulers import ASHAScheduler

    grace = max(1, search.epochs // 9)
    ((metric, mode),) = search.sweep.objectives.items()
    longest = max(search.epochs, grace + 1)
    return {
        "scheduler": ASHAScheduler(
            time_attr="epoch", metric=metric, mode=mode, max_t=longest, grace_period=grace, reduction_factor=3
        )
    }


def _refuse_no_ray(cluster: Cluster, sweep: Sweep) -> None:
    for needed in (sweep.searcher == "tpe" and "searcher: tpe", sweep.scheduler == "asha" and "scheduler: asha"):
        if needed and cluster.workers == 0:
            raise ValueError(
                f"cluster.yaml:workers: found 0, expected 1 or more: {needed} runs on Ray. Search at random."
            )


def _refuse_incomplete(results: Any, wanted: int, sweep: Sweep) -> None:
    """Refuse what Tune would pass for a finished run: trials without a report or an error, but for want of time."""
    unseen = [one for one in results if not one.error and "records" not in (one.metrics or {})]
    if sweep.seconds is None and (len(results) != wanted or unseen):
        raise ValueError(
            f"sweep: {len(results) - len(unseen)} of {wanted} trials ended, expected all. Run it again: what is "
            "finished is kept."
        )
