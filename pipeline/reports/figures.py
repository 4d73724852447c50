"""Charts as inline SVG: the same scores give the same bytes, and the page's style sheet gives the colours."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.reports.results import EVALUATOR, METHOD, Measure, by, combined, of, over_seeds

ALPHAS = np.arange(1, 20) / 20  # TrackEval's localisation thresholds
PARTS = ("total", "iou", "objectness", "category", "l1")  # of pipeline.losses.detection.DetectionLoss
# Variants that are coloured first, so that colours mean the same on all charts of an experiment.
_FIRST = (METHOD, "baseline", "bytetrack", "sort")
_COLOURED = 5

# Drawn in these colours, then named: pages are read on light and on dark ground.
INK, _GRID, OTHERS = "#000001", "#000002", "#000003"
SERIES = tuple(f"#00001{n}" for n in range(_COLOURED))
_NAMES = {INK: "var(--ink)", _GRID: "var(--line)", OTHERS: "var(--others)"} | {
    colour: f"var(--series-{n})" for n, colour in enumerate(SERIES)
}
_WIDTH, _HEIGHT = 4.6, 3.0  # inches; about a phone's width, so that letters stay readable there
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same layout everywhere
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "xtick.color": _GRID,
    "ytick.color": _GRID,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


class Chart(NamedTuple):
    """An SVG element and the sentence that says what it shows."""

    svg: str
    caption: str


class Line(NamedTuple):
    """A named line; of lines of the same name only the first enters the legend."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def colours(variants: Sequence[str]) -> dict[str, str]:
    """A colour for each variant: the paper's method and baselines first, grey for those beyond five.

    >>> colours(["sort", "finetrack"])
    {'finetrack': '#000010', 'sort': '#000011'}
    """
    ordered = [name for name in _FIRST if name in variants]
    ordered += sorted(set(variants) - set(ordered))
    return {name: SERIES[n] if n < _COLOURED else OTHERS for n, name in enumerate(ordered)}


def hota_chart(tracking: pa.Table, split: str, palette: Mapping[str, str]) -> Chart | None:
    """HOTA of all sequences together over the localisation threshold, a line a variant, mean over seeds."""
    variants = by(of(combined(tracking), split=split), "variant")
    lines = [
        Line(name, ALPHAS.tolist(), np.mean(rows["HOTA_alpha"].to_pylist(), axis=0).tolist())
        for (name,), rows in variants.items()
    ]
    if not lines:
        return None
    svg = _line_chart(_name(tracking, "hota", split), lines, palette, x="localisation threshold", y="HOTA, percent")
    return Chart(svg, f"HOTA on {split} over the overlap that a match needs; the mean of a line is the table's HOTA.")


def sequence_chart(tracking: pa.Table, split: str, palette: Mapping[str, str]) -> Chart | None:
    """HOTA of each sequence as bars of the coloured variants, with whiskers where there are several seeds."""
    rows = of(tracking, split=split, evaluator=EVALUATOR)
    rows = rows.filter(pc.not_equal(rows["sequence"], "COMBINED"))
    means = over_seeds(rows, ["sequence", "variant"], ["HOTA"])
    if not means:
        return None
    sequences = sorted({row["sequence"] for row in means})
    bars = {
        name: {row["sequence"]: row["HOTA"] for row in means if row["variant"] == name}
        for name, colour in palette.items()
        if colour != OTHERS
    }
    shown = {name: values for name, values in bars.items() if values}
    svg = _bar_chart(_name(tracking, "sequences", split), sequences, shown, palette, x="HOTA, percent")
    whiskers = "; whiskers: standard deviation over seeds" if any(row["HOTA"].spread for row in means) else ""
    return Chart(svg, f"HOTA of each sequence of {split}{whiskers}.")


def detector_loss_chart(curves: pa.Table) -> Chart | None:
    """The detector's loss and its parts over epochs."""
    parts = by(of(curves, curve="detector"), "name")
    lines = [_line(name, parts[name,]) for name in PARTS if (name,) in parts]
    if not lines:
        return None
    palette = dict(zip(PARTS, SERIES, strict=True))
    svg = _line_chart(_name(curves, "detector"), lines, palette, x="epoch", y="loss")
    return Chart(svg, "Training of the detector: the loss and its parts, mean of each epoch.")


def reid_loss_chart(curves: pa.Table, palette: Mapping[str, str]) -> Chart | None:
    """The Re-ID loss over epochs, a line a variant and seed."""
    trainings = by(of(curves, curve="reid", name="total"), "variant", "seed")
    if not trainings:
        return None
    lines = [_line(variant, rows) for (variant, _), rows in trainings.items()]
    svg = _line_chart(_name(curves, "reid"), lines, palette, x="epoch", y="loss, Eq. 7")
    return Chart(
        svg,
        "Training of the Re-ID heads, a line a variant and seed. Heads with parts sum more terms, samplers give other "
        "batches: heights compare only within a variant.",
    )


def precision_chart(curves: pa.Table, split: str) -> Chart | None:
    """Precision of the detector over its recall at IoU 0.5."""
    rows = of(curves, curve="precision", split=split)
    if rows.num_rows == 0:
        return None
    name, palette = _name(curves, "precision", split), {"precision": SERIES[0]}
    svg = _line_chart(
        name, [_line("precision", rows)], palette, x="recall, percent", y="precision, percent", legend=False
    )
    return Chart(svg, f"Detections on {split}: precision over recall at IoU 0.5.")


def _name(table: pa.Table, *parts: str) -> str:
    """A name that no other chart of the page has."""
    return "-".join([table["experiment"][0].as_py(), *parts])


def _line(name: str, rows: pa.Table) -> Line:
    return Line(name, rows["x"].to_pylist(), rows["y"].to_pylist())


def _line_chart(
    name: str, lines: Sequence[Line], palette: Mapping[str, str], *, x: str, y: str, legend: bool = True
) -> str:
    """Lines in the order of the palette, its first on top."""
    order = list(palette)

    def draw(axes: Axes) -> None:
        labelled: set[str] = set()
        for line in sorted(lines, key=lambda line: order.index(line.name)):
            label = "others" if palette[line.name] == OTHERS else line.name
            (drawn,) = axes.plot(
                line.x,
                line.y,
                color=palette[line.name],
                label=None if label in labelled else label,
                zorder=len(order) - order.index(line.name) + 2,
            )
            drawn.set_gid(f"series:{line.name}")
            labelled.add(label)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if x == "epoch":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    return chart(name, draw, legend=legend)


def _bar_chart(
    name: str, groups: Sequence[str], bars: Mapping[str, Mapping[str, Measure]], palette: Mapping[str, str], *, x: str
) -> str:
    """Groups of bars from top to bottom, in each a bar of every name; a missing measure leaves its place empty."""
    thickness = 0.8 / len(bars)

    def draw(axes: Axes) -> None:
        for n, (label, measures) in enumerate(bars.items()):
            known = [(place, measures[group]) for place, group in enumerate(groups) if group in measures]
            places = [place + (n - (len(bars) - 1) / 2) * thickness for place, _ in known]
            widths = [one.mean for _, one in known]
            spreads = [one.spread or 0.0 for _, one in known]
            for bar in axes.barh(places, widths, 0.9 * thickness, color=palette[label], label=label):
                bar.set_gid(f"series:{label}")
            if any(spreads):
                axes.errorbar(widths, places, xerr=spreads, fmt="none", ecolor=INK, elinewidth=0.8)
        axes.set_yticks(range(len(groups)), groups)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(x)

    return chart(name, draw, height=max(_HEIGHT, 0.7 + 0.11 * len(groups) * (len(bars) + 1)))


def chart(name: str, draw: Callable[[Axes], None], *, height: float = _HEIGHT, legend: bool = True) -> str:
    """An SVG element with text as text and with colours by their names in the style sheet."""
    target = io.StringIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever a user's own matplotlibrc says
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": name})  # type: ignore[dict-item]
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        if legend:
            figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9, handlelength=1.2)
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(target.getvalue())


def _inline(svg: str) -> str:
    """The `svg` element alone, fit to stand among others in one page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>\s*", "", svg, flags=re.DOTALL)  # a style here would hold for the page
    svg = re.sub(r'<g id="series:([^"]*)">', r'<g class="series"><title>\1</title>', svg)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'width="[^"]*pt" height="[^"]*pt" ', "", svg, count=1)
    for colour, named in _NAMES.items():
        svg = svg.replace(colour, named)
    return svg
