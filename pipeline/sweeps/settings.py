"""The settings of one trial: an experiment's own, with the searched parameters in their places."""

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline import params
from pipeline.evaluation.experiment import Score
from pipeline.inference.embed import Embed
from pipeline.inference.tracks import refuse_undescribed
from pipeline.sweeps.space import Configuration, Value
from pipeline.tracking.sequence import Tracking
from pipeline.tracking.tracker import OWN
from pipeline.training.reid import ReIDTraining, Variant

SEARCHED = ("reid", "track")  # sections whose stages run from stored features and embeddings
_FIXED = {
    "reid.seeds": "the sweep's own `seeds` are used",
    "reid.variants": "the sweep's own `variant` is used",
    "track.baselines": "a trial tracks the sweep's own `variant`",
}
_EFFECTIVE = dict(zip(OWN, ("first_match_threshold", "is_first_fused", "is_unconfirmed_fused"), strict=True))


@dataclass(frozen=True)
class Settings:
    """What a trial runs with."""

    variant: str
    reid: ReIDTraining
    embed: Embed
    track: Tracking
    score: Score

    @property
    def row(self) -> Variant:
        """The row of the ablations that is trained."""
        return self.reid.variants[self.variant]


def resolve(experiment: Mapping[str, Any], variant: str, configuration: Configuration, *, where: str) -> Settings:
    """The experiment's section with the configuration's values in it, as the stages would parse it.

    Raises:
        ValueError: a parameter does not take its value, or values do not go together.
    """
    raw = overridden(experiment, variant, configuration)
    types = {"reid": ReIDTraining, "embed": Embed, "track": Tracking, "score": Score}
    parsed = {name: params.parse(raw[name], types[name], where=f"{where}.{name}") for name in raw}
    settings = Settings(variant, **parsed)
    try:
        settings.reid.head(settings.row)
        refuse_undescribed(settings.track, settings.embed.min_score)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return settings


def overridden(experiment: Mapping[str, Any], variant: str, configuration: Configuration) -> dict[str, Any]:
    """The sections that a trial of one variant reads, as plain values with the configuration's in their places."""
    raw = copy.deepcopy({name: experiment[name] for name in ("reid", "embed", "track", "score")})
    raw["reid"] |= {"variants": {variant: raw["reid"]["variants"][variant]}, "seeds": [0]}  # a trial has its own seed
    for name, value in configuration.items():
        *path, last = name.split(".")
        section = raw
        for key in path:
            section = section[key]
        section[last] = value
    return raw


def refuse_unknown(names: list[str], experiment: Mapping[str, Any], *, where: str, title: str) -> None:
    """Refuse names that no trial could search, each with the reason.

    Raises:
        ValueError: a name is none of the experiment's, is searched by `dvc exp run` only, or is set by the sweep.
    """
    known = _leaves(experiment)
    for name in names:
        section = name.split(".")[0]
        fixed = next((reason for start, reason in _FIXED.items() if f"{name}.".startswith(f"{start}.")), None)
        if name not in known:
            near = [one for one in known if one.split(".")[0] == section] or known
            listed = [one for one in near if one.split(".")[0] in SEARCHED and not one.startswith(tuple(_FIXED))]
            raise ValueError(f"{where}.{name}: no parameter of {title}, expected one of {listed}. Correct the name.")
        if section not in SEARCHED:
            raise ValueError(
                f"{where}.{name}: found a parameter of {section}, expected one of reid or track, which run from stored "
                f"features and embeddings. Use `dvc exp run -S {title}.{name}=...`."
            )
        if fixed is not None:
            raise ValueError(f"{where}.{name}: {fixed}, expected another parameter. Take it out of the space.")


def trained_with(name: str, card: Mapping[str, Any]) -> Value:
    """A parameter `reid.*` as the card of a trained model tells it: the network's own shape first."""
    *path, last = name.split(".")[1:]
    told = {**card["training"], **card["head"]}
    for key in path:
        told = told[key]
    return told[last]


def tracked_with(name: str, track: Tracking) -> Value:
    """A parameter `track.*` as the tracker understands it: null is the association's own value."""
    association = track.association(track.kind)
    last = name.split(".", 1)[1]
    if last in _EFFECTIVE:
        return getattr(association, _EFFECTIVE[last])
    return {**asdict(track), **asdict(association)}[last]


def _leaves(experiment: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in experiment.items():
        name = f"{prefix}{key}"
        found += _leaves(value, f"{name}.") if isinstance(value, Mapping) else [name]
    return found
