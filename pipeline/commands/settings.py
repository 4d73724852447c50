"""Tracking settings from a command line: what an experiment or the defaults say, single values replaced."""

import dataclasses
from collections.abc import Sequence
from typing import get_type_hints

import yaml

from pipeline import params
from pipeline.tracking.sequence import Tracking

_NO_SETTINGS = ("baselines",)  # further rows of an experiment, which a command has none of


def tracking(
    base: Tracking,
    *,
    association: str | None,
    values: Sequence[str],
    frame_rate: str | None,
    interpolate: bool,
    no_filter: bool,
) -> Tracking:
    """`base` with `NAME=VALUE` pairs and what the options stand for; values are written as in params.yaml.

    Raises:
        ValueError: a pair is no pair, names no setting, or a value is refused; the message names it.
    """
    pairs = [] if association is None else [f"kind={association}"]
    pairs += [] if frame_rate is None else [f"frame_rate={frame_rate}"]
    pairs += ["interpolate=true"] if interpolate else []
    pairs += ["min_area=0", "max_aspect=null"] if no_filter else []
    hints = get_type_hints(Tracking)
    known = [field.name for field in dataclasses.fields(Tracking) if field.name not in _NO_SETTINGS]
    chosen = {}
    for pair in [*pairs, *values]:
        name, equals, text = pair.partition("=")
        if not equals or name not in known:
            raise ValueError(f"--set: found {pair!r}, expected NAME=VALUE with a NAME of {known}. Correct it.")
        chosen[name] = params.parse(_value(text), hints[name], where=f"--set {name}")
    return dataclasses.replace(base, **chosen)


def _value(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
