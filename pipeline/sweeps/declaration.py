"""What a sweep is: a section of `sweeps` in params.yaml, and every reason to refuse one before its first trial."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pipeline import params
from pipeline.params import PARAMS
from pipeline.sweeps import space
from pipeline.sweeps.settings import Settings, refuse_unknown, resolve
from pipeline.sweeps.space import Configuration, Dimension, Value

RETRIEVAL = ("rank1", "rank5", "mAP")  # each under every protocol of the experiment: `mAP_gap`
TRACKING = ("HOTA", "AssA", "DetA", "MOTA", "IDF1", "IDSW")  # of all sequences of the split together
GRID_LIMIT = 1000  # configurations: beyond that random search finds as much for less

Direction = Literal["max", "min"]


@dataclass(frozen=True)
class Sweep:
    """What is searched, by what, for what.

    A trial is a configuration of the `space` with every one of `seeds`, of `experiment`'s `variant`, scored on `split`;
    objectives are means over seeds. The point of params.yaml itself is always the first trial, beside `trials` more
    (null: the whole grid). `tpe` is Optuna's, for one objective or two; `asha` ends trials early whose objective is
    behind after some epochs. No trial starts after `seconds` (null: no limit), `concurrency` run side by side.
    `seed` draws the configurations.
    """

    experiment: str
    variant: str
    split: str
    space: dict[str, dict[str, list[int | float | str | bool | None]]]
    objectives: dict[str, Direction]
    searcher: Literal["random", "grid", "tpe"]
    scheduler: Literal["none", "asha"]
    seeds: tuple[int, ...]
    trials: int | None
    seconds: float | None
    concurrency: int
    seed: int

    def __post_init__(self) -> None:
        if not self.space:
            raise ValueError("space: found no parameter, expected at least one. Name one, as reid.loss.alpha.")
        if not 1 <= len(self.objectives) <= 2:
            raise ValueError(f"objectives: found {list(self.objectives)}, expected one or two. Choose.")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: found {list(self.seeds)}, expected at least one, none twice. Correct the list.")
        least = {"trials": self.trials, "concurrency": self.concurrency, "seconds": self.seconds}
        for name, value in least.items():
            if value is not None and not value > 0:
                raise ValueError(f"{name}: found {value}, expected more than 0. Correct the value.")
        self._refuse_searcher()
        if self.scheduler == "asha" and (not self.is_trained or len(self.seeds) > 1 or len(self.objectives) > 1):
            raise ValueError(
                f"scheduler: found asha with seeds {list(self.seeds)}, objectives {list(self.objectives)}, parameters "
                f"{list(self.space)}; expected one seed, one objective and training (reid.*). Set scheduler: none."
            )

    @cached_property
    def dimensions(self) -> dict[str, Dimension]:
        """The space by parameter.

        Raises:
            ValueError: a dimension is not one kind with its values.
        """
        found = {}
        for name, given in self.space.items():
            if len(given) != 1:
                raise ValueError(f"space.{name}: found {sorted(given)}, expected one of {list(space.KINDS)}. Keep one.")
            ((kind, values),) = given.items()
            try:
                found[name] = Dimension(kind, tuple(values))
            except ValueError as error:
                raise ValueError(f"space.{name}: {error}") from error
        return found

    @property
    def is_trained(self) -> bool:
        """Whether trials train a head; else they associate the experiment's own embeddings."""
        return any(name.startswith("reid.") for name in self.space)

    @property
    def is_tracked(self) -> bool:
        """Whether trials track: where an objective asks for it, or nothing else is left to do."""
        return not self.is_trained or any(name in TRACKING for name in self.objectives)

    def configurations(self) -> list[Configuration]:
        """All configurations that are known beforehand, the point of params.yaml (which sets nothing) first."""
        if self.searcher == "grid":
            return [{}, *space.grid(self.dimensions)]
        return [{}] if self.searcher == "tpe" else [{}, *space.drawn(self.dimensions, self.trials or 0, self.seed)]

    def metrics(self, settings: Settings) -> list[str]:
        """The metrics that trials report, in the table's order."""
        retrieved = [f"{name}_{protocol}" for protocol in settings.score.protocols for name in RETRIEVAL]
        return [*(retrieved if self.is_trained else []), *(TRACKING if self.is_tracked else [])]

    def _refuse_searcher(self) -> None:
        total = space.size(self.dimensions)
        if self.searcher == "grid":
            ranges = [name for name, one in self.dimensions.items() if one.options is None]
            if ranges or self.trials is not None:
                raise ValueError(
                    f"searcher: found grid with ranges {ranges} and trials {self.trials}, expected choices or integers "
                    "and trials: null. Correct the space, or search at random."
                )
            if total > GRID_LIMIT:
                raise ValueError(
                    f"space: a grid of {total:.0f} configurations, expected at most {GRID_LIMIT}. Search at random."
                )
        elif self.trials is None or self.trials > total:
            raise ValueError(
                f"trials: found {self.trials} of {total:.0f} configurations, expected 1 to as many. Correct `trials`, "
                "or set searcher: grid."
            )


def declared(name: str, *, path: Path = PARAMS) -> tuple[Sweep, dict[str, Any]]:
    """The sweep `name` of params.yaml and its experiment's section, both fit to run.

    Raises:
        ValueError: unknown parameter, value that its parameter does not take, objective that no trial reports, empty
            space, grid beyond the limit, or whatever else would only be found by a trial.
    """
    sweep: Sweep = params.section("sweeps", name, Sweep, path=path)
    where = f"{path}:sweeps.{name}"
    everything = params.load(path)
    if sweep.experiment not in everything:
        raise ValueError(f"{where}.experiment: no section {sweep.experiment!r} in {path}. Correct the name.")
    experiment = everything[sweep.experiment]
    if sweep.variant not in experiment["reid"]["variants"]:
        known = sorted(experiment["reid"]["variants"])
        raise ValueError(f"{where}.variant: found {sweep.variant!r}, expected one of {known}. Correct the name.")
    if sweep.split not in experiment["data"]["evaluate"]:
        known = experiment["data"]["evaluate"]
        raise ValueError(f"{where}.split: found {sweep.split!r}, expected one that is evaluated: {known}. Correct it.")
    refuse_unknown(list(sweep.space), experiment, where=f"{where}.space", title=sweep.experiment)
    settings = _refuse_values(sweep, experiment, where=where)
    _refuse_objectives(sweep, settings, where=where)
    return sweep, experiment


def _refuse_values(sweep: Sweep, experiment: Mapping[str, Any], *, where: str) -> Settings:
    """Refuse dimensions at whose ends an experiment's own settings would be refused; gives those of params.yaml."""
    for name, dimension in sweep.dimensions.items():
        for value in dimension.extremes:
            one: dict[str, Value] = {name: value}
            resolve(experiment, sweep.variant, one, where=f"{where}.space.{name} = {value}: {sweep.experiment}")
    return resolve(experiment, sweep.variant, {}, where=sweep.experiment)


def _refuse_objectives(sweep: Sweep, settings: Settings, *, where: str) -> None:
    reported = sweep.metrics(settings)
    for name in sweep.objectives:
        if name not in (possible := [*reported, *(one for one in TRACKING if one not in reported)]):
            reason = "" if sweep.is_trained else "; association changes no retrieval"
            raise ValueError(f"{where}.objectives.{name}: expected one of {possible}{reason}. Correct the name.")
