"""How a trial ends: a record for each seed, and what it reports of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from pipeline.sweeps.space import Configuration, Value

Report = dict[str, Any]
Status = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True)
class Record:
    """One trial with one seed: what was asked, how it ended, what it ran with and scored.

    `stopped` is a trial that its scheduler ended after `epochs`; `seconds` are those of its last start.
    """

    asked: Configuration
    seed: int
    status: Status
    error: str = ""
    seconds: float = 0.0
    epochs: int = 0
    parameters: dict[str, Value] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


class Ended(NamedTuple):
    """A configuration that was tried and its last report; without one its processes died of `error`, or time was up."""

    asked: Configuration
    report: Report | None
    error: str = ""

    @property
    def records(self) -> list[Record]:
        """The records of the report."""
        return [Record(**one) for one in (self.report or {"records": []})["records"]]


def report(objectives: Mapping[str, Any], records: Sequence[Record]) -> Report:
    """Means of the objectives over the seeds, NaN where one failed; epochs; the records as plain values."""
    means = {name: float(np.mean([one.metrics.get(name, math.nan) for one in records])) for name in objectives}
    return {**means, "epoch": max(one.epochs for one in records), "records": [asdict(one) for one in records]}
