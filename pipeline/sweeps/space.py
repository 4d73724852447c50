"""The space that a sweep searches: a dimension a parameter, drawn from or gone through."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Value = int | float | str | bool | None
Configuration = dict[str, Value]

KINDS = ("uniform", "loguniform", "integer", "choice")
_DIGITS = 4  # of drawn numbers: more says nothing and cannot be read


@dataclass(frozen=True)
class Dimension:
    """The values that one parameter may take.

    `uniform` and `loguniform` hold the lowest and highest number, `integer` the same with every whole number between,
    `choice` the values themselves.
    """

    kind: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"found {self.kind!r}, expected one of {list(KINDS)}. Correct the kind.")
        if self.kind == "choice":
            if not self.values or len(set(map(repr, self.values))) != len(self.values):
                raise ValueError(f"choice: found {list(self.values)}, expected values, none twice. Correct the list.")
            return
        wanted = (int,) if self.kind == "integer" else (int, float)
        if len(self.values) != 2 or any(type(one) not in wanted for one in self.values):
            numbers = "whole numbers" if self.kind == "integer" else "numbers"
            raise ValueError(f"{self.kind}: found {list(self.values)}, expected two {numbers}. Correct the list.")
        if not self.low < self.high or (self.kind == "loguniform" and self.low <= 0):
            above = " above 0" if self.kind == "loguniform" else ""
            raise ValueError(f"{self.kind}: found {list(self.values)}, expected low < high{above}. Correct the list.")

    @property
    def low(self) -> float:
        """The lowest number of a range."""
        return float(self.values[0])  # type: ignore[arg-type]

    @property
    def high(self) -> float:
        """The highest number of a range."""
        return float(self.values[1])  # type: ignore[arg-type]

    @property
    def options(self) -> tuple[Value, ...] | None:
        """Every value where there are finitely many, else None."""
        if self.kind == "choice":
            return self.values
        return tuple(range(int(self.low), int(self.high) + 1)) if self.kind == "integer" else None

    @property
    def extremes(self) -> tuple[Value, ...]:
        """Values whose acceptance speaks for all: the ends of a range, every choice."""
        return self.values if self.kind in ("choice", "integer") else (self.low, self.high)

    def contains(self, value: Value) -> bool:
        """Whether a searcher could have chosen the value."""
        if (options := self.options) is not None:
            return any(value == one and type(value) is type(one) for one in options)
        return type(value) in (int, float) and self.low <= value <= self.high  # type: ignore[operator]

    def draw(self, rng: np.random.Generator) -> Value:
        """A value at random."""
        if (options := self.options) is not None:
            return options[int(rng.integers(len(options)))]
        if self.kind == "loguniform":
            return _rounded(math.exp(rng.uniform(math.log(self.low), math.log(self.high))), self)
        return _rounded(rng.uniform(self.low, self.high), self)


def size(space: Mapping[str, Dimension]) -> float:
    """How many configurations there are: infinite with a range of numbers."""
    return math.prod((math.inf if one.options is None else len(one.options) for one in space.values()), start=1.0)


def grid(space: Mapping[str, Dimension]) -> list[Configuration]:
    """Every configuration of a space of finitely many, the last name varying fastest."""
    options: Sequence[Sequence[Any]] = [one.options or () for one in space.values()]
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*options)]


def drawn(space: Mapping[str, Dimension], count: int, seed: int) -> list[Configuration]:
    """`count` different configurations at random; fewer make the first of more. `count` is at most `size(space)`."""
    rng = np.random.default_rng(seed)
    found: list[Configuration] = []
    seen: set[str] = set()
    while len(found) < count:
        one = {name: dimension.draw(rng) for name, dimension in space.items()}
        if repr(one) not in seen:
            seen.add(repr(one))
            found.append(one)
    return found


def _rounded(value: float, dimension: Dimension) -> float:
    return min(max(float(f"{value:.{_DIGITS}g}"), dimension.low), dimension.high)
