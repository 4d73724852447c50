"""What Tune calls back. A module of its own, imported once Ray is up, because Tune pickles these by name."""

import math
from collections.abc import Callable
from typing import Any

from ray import tune
from ray.tune.search.optuna import OptunaSearch

from pipeline.sweeps import optimizer
from pipeline.sweeps.declaration import Sweep
from pipeline.sweeps.records import Report


class Progress(tune.Callback):
    """Tells how each trial ended, and looks after the cluster meanwhile; a pickled copy does neither."""

    def __init__(self, tell: Callable[[Report | None], None], look: Callable[[], None]) -> None:
        self._tell, self._look = tell, look

    def __getstate__(self) -> dict[str, Any]:
        return {"_tell": None, "_look": None}

    def on_step_begin(self, iteration: int, trials: list, **info: Any) -> None:
        """Look."""
        self._look()

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """Tell the last report."""
        self._tell(trial.last_result)

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """Tell that there is none."""
        self._tell(None)


class Suggestions(OptunaSearch):
    """Optuna's TPE over a study that already holds the known trials; failed ones teach it nothing."""

    def __init__(self, sweep: Sweep, known: optimizer.Known) -> None:
        super().__init__(
            space=optimizer.distributions(sweep.dimensions),
            metric=list(sweep.objectives),
            mode=list(sweep.objectives.values()),
            sampler=optimizer.tpe(sweep.seed + len(known)),  # one that goes on draws other numbers than before
            storage=optimizer.storage_of(sweep.dimensions, sweep.objectives, known),
            study_name=optimizer.STUDY,
        )

    def on_trial_complete(self, trial_id: str, result: Report | None = None, error: bool = False) -> None:
        """Let Optuna know the objectives, or that there are none."""
        failed = error or any(math.isnan((result or {}).get(name, math.nan)) for name in self.metric)
        super().on_trial_complete(trial_id, None if failed else result, failed)
