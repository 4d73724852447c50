"""The page's charts as files of their own, which `dvc plots show` and `diff` show without network."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from pipeline import tables
from pipeline.folders import replacing_folder
from pipeline.reports import figures, results
from pipeline.reports.figures import Chart

_PAPER = "#ffffff"


def charts(scores: Mapping[str, pa.Table]) -> dict[str, dict[str, Chart]]:
    """One experiment's charts by part of the page, `tracking`, `detection` and `training`, and name."""
    tracking, curves = scores["tracking"], scores["curves"]
    trained = results.of(curves, curve="reid")
    palette = figures.colours([one for table in (tracking, trained) for one in table["variant"].to_pylist()])
    found: dict[str, dict[str, Chart | None]] = {"tracking": {}, "detection": {}, "training": {}}
    for split in splits(scores):
        found["tracking"][f"hota-{split}"] = figures.hota_chart(tracking, split, palette)
        found["tracking"][f"sequences-{split}"] = figures.sequence_chart(tracking, split, palette)
        found["detection"][f"precision-{split}"] = figures.precision_chart(curves, split)
    found["training"]["loss-detector"] = figures.detector_loss_chart(curves)
    found["training"]["loss-reid"] = figures.reid_loss_chart(curves, palette)
    return {part: {name: one for name, one in some.items() if one is not None} for part, some in found.items()}


def splits(scores: Mapping[str, pa.Table]) -> list[str]:
    """The splits that anything was scored on."""
    return sorted({one for name in ("tracking", "reid", "detection") for one in scores[name]["split"].to_pylist()})


def write_plots(scores: Mapping[str, pa.Table], experiments: Sequence[str], out: Path) -> None:
    """Write `out/plots/<experiment>-<chart>.svg`; the folder whole or not at all, the same scores to the same bytes."""
    with replacing_folder(out / "plots") as folder:
        for experiment in experiments:
            parts = charts({name: results.of(table, experiment=experiment) for name, table in scores.items()})
            for name, chart in ((name, chart) for part in parts.values() for name, chart in part.items()):
                tables.write_text(standalone(chart.svg), folder / f"{experiment}-{name}.svg")


def standalone(svg: str) -> str:
    """A chart of the page as a picture file: on paper, in the colours that the style sheet gives by day."""
    day = (Path(__file__).parent / "page.css").read_text(encoding="utf-8").split("@media")[0]
    colours = dict(re.findall(r"--([\w-]+): (#\w+)", day))
    svg = re.sub(r"var\(--([\w-]+)\)", lambda name: colours[name[1]], svg)
    style = f"background: {_PAPER}; stroke-linejoin: round; stroke-linecap: butt"
    return '<?xml version="1.0" encoding="utf-8"?>\n' + svg.replace("<svg ", f'<svg style="{style}" width="560" ', 1)
