"""A sweep as one HTML page: what each parameter does, which decide, what is best, beside the point of params.yaml."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import yaml
from matplotlib.axes import Axes

from pipeline.reports.figures import INK, OTHERS, SERIES, Chart, chart
from pipeline.reports.results import doc
from pipeline.reports.template import write_html
from pipeline.sweeps.declaration import Sweep
from pipeline.sweeps.optimizer import importances
from pipeline.sweeps.space import Configuration

_STATUSES = ("finished", "stopped", "failed")
_GROUPS = 4  # of a range of numbers, for its mean and spread
_POINT = "params.yaml"
_BEST = 0.25  # the share of trials that is coloured among all


class Point(NamedTuple):
    """A finished trial: its parameters, and the mean and the spread over seeds of each objective."""

    trial: int
    parameters: Configuration
    means: dict[str, float]
    spreads: dict[str, float]


@dataclass(frozen=True)
class Best:
    """A configuration worth taking: what it scores, what params.yaml scores, and the lines to paste."""

    objective: str
    value: str
    point: str
    trial: int
    fragment: str


def write_page(trials: pa.Table, sweep: Sweep, out: Path) -> None:
    """Write `out/index.html` from the table of trials beside it; the same trials give the same bytes.

    `trials` are those of sweeps.results; trial 0 is the point of params.yaml.
    """
    rows = trials.to_pylist()
    points = _points(rows, sweep)
    write_html(
        "sweep.html.j2",
        out / "index.html",
        name=rows[0]["sweep"],
        sweep=sweep,
        counts={status: len({row["trial"] for row in rows if row["status"] == status}) for status in _STATUSES},
        seconds=sum(row["seconds"] for row in rows),
        best=[_best(points, sweep, one) for one in sweep.objectives],
        parts=_parts(points, sweep, rows[0]["sweep"]),
        failures=[row for row in rows if row["status"] == "failed"],
        columns={field.name: doc(field) for field in trials.schema},
    )


def front(points: Sequence[Point], objectives: Mapping[str, str]) -> list[Point]:
    """The trials that no other one beats in one objective without losing in the other, by the first objective."""
    signed = [[_signed(one.means[name], direction) for name, direction in objectives.items()] for one in points]
    values = np.array(signed).reshape(len(points), -1)
    beaten = [bool(((values >= one).all(axis=1) & (values > one).any(axis=1)).any()) for one in values]
    first = next(iter(objectives))
    return sorted((p for p, lost in zip(points, beaten, strict=True) if not lost), key=lambda p: p.means[first])


def _points(rows: Sequence[Mapping[str, Any]], sweep: Sweep) -> list[Point]:
    """Trials of which every seed finished with a number for every objective."""
    found = []
    for trial in sorted({row["trial"] for row in rows}):
        seeds = [row for row in rows if row["trial"] == trial]
        values = {name: [row[name] for row in seeds] for name in sweep.objectives}
        known = all(row["status"] == "finished" for row in seeds)
        if known and all(value is not None and math.isfinite(value) for some in values.values() for value in some):
            means = {name: float(np.mean(some)) for name, some in values.items()}
            spreads = {name: float(np.std(some, ddof=1)) if len(some) > 1 else 0.0 for name, some in values.items()}
            found.append(Point(trial, {name: seeds[0][name] for name in sweep.space}, means, spreads))
    return found


def _best(points: Sequence[Point], sweep: Sweep, objective: str) -> Best | None:
    if not points:
        return None
    direction = sweep.objectives[objective]
    one = max(points, key=lambda point: _signed(point.means[objective], direction))
    own = next((point for point in points if point.trial == 0), None)
    return Best(
        objective,
        _text(one, objective),
        _text(own, objective) if own else "failed",
        one.trial,
        _fragment(sweep.experiment, one.parameters),
    )


def _text(point: Point, objective: str) -> str:
    spread = point.spreads[objective]
    return f"{point.means[objective]:.1f}" + (f" ± {spread:.1f}" if spread else "")


def _fragment(experiment: str, parameters: Configuration) -> str:
    """The parameters in the shape of params.yaml, to be merged into its section by hand."""
    whole: dict[str, Any] = {}
    for name, value in parameters.items():
        *path, last = [experiment, *name.split(".")]
        section = whole
        for key in path:
            section = section.setdefault(key, {})
        section[last] = value
    return yaml.safe_dump(whole, sort_keys=False)


def _parts(points: Sequence[Point], sweep: Sweep, name: str) -> dict[str, list[Chart]]:
    if len(points) < 2:
        return {}
    sensitivity = [
        _sensitivity(points, one, of, f"{name}-{one}-{of}") for one in sweep.space for of in sweep.objectives
    ]
    decided = _importance(points, sweep, name)
    together = [_parallel(points, sweep, name), *([_pareto(points, sweep, name)] if len(sweep.objectives) == 2 else [])]
    return {
        "All trials": together,
        "What each parameter does": sensitivity,
        "Which parameters decide": [decided] if decided else [],
    }


def _sensitivity(points: Sequence[Point], parameter: str, objective: str, name: str) -> Chart:
    """Every trial, and mean and standard deviation of neighbours along the parameter."""
    labels, places = _places([point.parameters[parameter] for point in points])
    values = np.array([point.means[objective] for point in points])
    groups = _groups(places)

    def draw(axes: Axes) -> None:
        axes.scatter(places, values, s=14, color=OTHERS, label="trials")
        middles = [float(places[group].mean()) for group in groups]
        means, spreads = ([float(f(values[group])) for group in groups] for f in (np.mean, np.std))
        axes.errorbar(middles, means, yerr=spreads, color=SERIES[0], marker="o", markersize=4, label="mean, spread")
        _mark_point(axes, points, places, values)
        if labels:
            axes.set_xticks(range(len(labels)), labels)
        axes.set_xlabel(parameter)
        axes.set_ylabel(objective)

    return Chart(chart(name, draw), f"{objective} over {parameter}; all else varies along, which is the spread.")


def _parallel(points: Sequence[Point], sweep: Sweep, name: str) -> Chart:
    """A line a trial through every parameter and objective."""
    first, direction = next(iter(sweep.objectives.items()))
    columns = {one: [point.parameters[one] for point in points] for one in sweep.space}
    columns |= {one: [point.means[one] for point in points] for one in sweep.objectives}
    scaled = np.stack([_scaled(_places(values)[1]) for values in columns.values()], axis=1)
    order = np.argsort([_signed(point.means[first], direction) for point in points])
    best = set(order[-max(1, round(_BEST * len(points))) :].tolist())

    def draw(axes: Axes) -> None:
        for row in order.tolist():
            own = points[row].trial == 0
            colour = SERIES[1] if own else SERIES[0] if row in best else OTHERS
            label = _POINT if own else "best quarter" if row == order[-1] else None
            axes.plot(scaled[row], color=colour, label=label, linewidth=2.4 if own else 1.0, zorder=4 if own else 2)
        ends = [_ends(values) for values in columns.values()]
        ticks = [f"{one.rsplit('.', 1)[-1]}\n{low}\nto {high}" for one, (low, high) in zip(columns, ends, strict=True)]
        axes.set_xticks(range(len(columns)), ticks, fontsize=8)
        axes.set_yticks([])
        axes.set_xlim(-0.3, len(columns) - 0.7)

    return Chart(chart(f"{name}-parallel", draw), f"A line a trial; coloured are the best quarter by {first}.")


def _pareto(points: Sequence[Point], sweep: Sweep, name: str) -> Chart:
    x, y = sweep.objectives
    best = front(points, sweep.objectives)

    def draw(axes: Axes) -> None:
        places, values = (np.array([point.means[one] for point in points]) for one in (x, y))
        axes.scatter(places, values, s=14, color=OTHERS, label="trials")
        along = [[point.means[one] for point in best] for one in (x, y)]
        axes.plot(*along, color=SERIES[0], marker="o", markersize=4, label="front")
        _mark_point(axes, points, places, values)
        axes.set_xlabel(x)
        axes.set_ylabel(y)

    svg = chart(f"{name}-pareto", draw)
    return Chart(svg, f"{y} over {x}; on the front no trial is better in one without being worse in the other.")


def _importance(points: Sequence[Point], sweep: Sweep, name: str) -> Chart | None:
    inside = [
        point for point in points if all(one.contains(point.parameters[n]) for n, one in sweep.dimensions.items())
    ]
    shares = {
        objective: importances(
            sweep.dimensions, direction, [(point.parameters, [point.means[objective]]) for point in inside]
        )
        for objective, direction in sweep.objectives.items()
    }
    if not all(shares.values()):
        return None
    names = list(sweep.space)
    height = 0.8 / len(shares)

    def draw(axes: Axes) -> None:
        for n, (objective, share) in enumerate(shares.items()):
            places = [place + (n - (len(shares) - 1) / 2) * height for place in range(len(names))]
            axes.barh(places, [100 * share[one] for one in names], 0.9 * height, color=SERIES[n], label=objective)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlabel("share, percent")

    caption = "How much each parameter tells whether a trial is among the best quarter (PED-ANOVA)."
    return Chart(chart(f"{name}-importance", draw, height=max(3.0, 0.8 + 0.5 * len(names))), caption)


def _mark_point(axes: Axes, points: Sequence[Point], places: np.ndarray, values: np.ndarray) -> None:
    own = [row for row, point in enumerate(points) if point.trial == 0]
    axes.scatter(places[own], values[own], s=60, marker="D", color=SERIES[1], edgecolors=INK, label=_POINT, zorder=5)


def _places(values: Sequence[Any]) -> tuple[list[str], np.ndarray]:
    """Where values stand on an axis: numbers where they are, anything else side by side with its label."""
    if all(type(one) in (int, float) for one in values):
        return [], np.array(values, float)
    labels = sorted({str(one) for one in values})
    return labels, np.array([labels.index(str(one)) for one in values], float)


def _groups(places: np.ndarray) -> list[np.ndarray]:
    """Rows of neighbours: equal values together, or as many parts of equal size."""
    distinct = np.unique(places)
    if len(distinct) <= 2 * _GROUPS:
        return [np.flatnonzero(places == one) for one in distinct]
    return list(np.array_split(np.argsort(places, kind="stable"), _GROUPS))


def _scaled(places: np.ndarray) -> np.ndarray:
    low, high = places.min(), places.max()
    return (places - low) / (high - low) if high > low else np.full(len(places), 0.5)


def _ends(values: Sequence[Any]) -> tuple[str, str]:
    labels, places = _places(values)
    return (labels[0], labels[-1]) if labels else (f"{places.min():.3g}", f"{places.max():.3g}")


def _signed(value: float, direction: str) -> float:
    return value if direction == "max" else -value
