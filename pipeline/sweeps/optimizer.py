"""Optuna, its only door: what a searcher starts from, and which parameters decided what trials scored."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.study import StudyDirection

from pipeline.sweeps.space import Configuration, Dimension

STUDY = "sweep"
Known = Sequence[tuple[Configuration, Sequence[float]]]  # configurations with the values of the objectives

_DIRECTIONS = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
_BEST = 0.25  # the share of trials whose parameters are compared with all trials'
_FEWEST = 8  # trials, two of them among the best


def storage_of(dimensions: Mapping[str, Dimension], objectives: Mapping[str, str], known: Known) -> Any:
    """Optuna's storage in memory with a study `STUDY` that holds the known trials."""
    storage = optuna.storages.InMemoryStorage()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directions = [_DIRECTIONS[one] for one in objectives.values()]
    study = optuna.create_study(storage=storage, study_name=STUDY, directions=directions)
    space = distributions(dimensions)
    for asked, values in known:
        study.add_trial(optuna.trial.create_trial(params=asked, distributions=space, values=list(values)))
    return storage


def tpe(seed: int) -> Any:
    """Tree-structured Parzen estimators, of one objective or several."""
    return optuna.samplers.TPESampler(seed=seed)


def importances(dimensions: Mapping[str, Dimension], direction: str, known: Known) -> dict[str, float]:
    """The share of each parameter in reaching the best quarter of trials, by PED-ANOVA, sum 1; empty of few trials."""
    if len(known) < _FEWEST or len(dimensions) < 2:
        return {}
    storage = storage_of(dimensions, {"value": direction}, known)
    study = optuna.load_study(study_name=STUDY, storage=storage)
    return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=_BEST))


def distributions(dimensions: Mapping[str, Dimension]) -> dict[str, BaseDistribution]:
    """The space in Optuna's words."""
    return {name: _distribution(one) for name, one in dimensions.items()}


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.kind == "choice":
        return CategoricalDistribution(dimension.values)
    if dimension.kind == "integer":
        return IntDistribution(int(dimension.low), int(dimension.high))
    return FloatDistribution(dimension.low, dimension.high, log=dimension.kind == "loguniform")
