"""The results as one HTML page that needs nothing beside it: no network, no other file."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pyarrow as pa

from pipeline import tables
from pipeline.evaluation.schemas import SCHEMAS
from pipeline.reports import figures, published, results
from pipeline.reports.ablations import ablation_tables
from pipeline.reports.figures import Chart
from pipeline.reports.results import METHOD, Measure, ResultsTable
from pipeline.reports.settings import settings_tables

_MEDIA = {".png": "image/png", ".jpg": "image/jpeg"}
_PICTURES = {"masks": "Part masks", "frame": "Rendered frame"}
_FILES = {
    "tracking": "tracks scored: a row a sequence, and COMBINED for all",
    "reid": "retrieval scored",
    "detection": "detections scored",
    "curves": "losses over epochs, precision over recall",
    "provenance": "settings, revision, versions, machine and times behind each fingerprint",
    "published": "the numbers that the paper prints",
}


@dataclass(frozen=True)
class Tile:
    """A headline figure, and what to compare it with."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Picture:
    """An image as a data URI, and what it shows."""

    source: str
    caption: str


@dataclass(frozen=True)
class Part:
    """A heading with what stands below it; an empty one says why it is empty."""

    title: str
    tables: Sequence[ResultsTable] = ()
    charts: Sequence[Chart] = ()
    pictures: Sequence[Picture] = ()
    empty: str = ""
    is_folded: bool = False


@dataclass(frozen=True)
class Section:
    """One experiment."""

    experiment: str
    data: Sequence[str]
    tiles: Sequence[Tile]
    parts: Sequence[Part]


@dataclass(frozen=True)
class Download:
    """A table beside the page: its name, what its rows are, and its columns with their meaning."""

    name: str
    doc: str
    columns: Mapping[str, str]


def write_page(scores: Mapping[str, pa.Table], runs: Path, experiments: Sequence[str], out: Path) -> None:
    """Write `out/index.html` from the joined score tables; the same scores and pictures give the same bytes.

    Pictures are those of `runs/<experiment>/scores/pictures/`, if there are any; sweeps are linked that have a page
    under `out/sweeps/`.
    """
    sections = [
        _section(
            one,
            {name: results.of(table, experiment=one) for name, table in scores.items()},
            pictures(runs / one / "scores" / "pictures"),
        )
        for one in experiments
    ]
    sweeps = sorted(path.parent.name for path in (out / "sweeps").glob("*/index.html"))
    page = _environment().get_template("page.html.j2")
    text = page.render(sections=sections, downloads=_downloads(), sweeps=sweeps, method=METHOD)
    tables.write_text(text, out / "index.html")


def pictures(folder: Path) -> list[Picture]:
    """The images of a folder, `masks-<what>` and `frame-<what>`, in order of their names; none without the folder."""
    paths = sorted(path for path in folder.glob("*") if path.suffix in _MEDIA)
    return [Picture(_data_uri(path), _caption(path.stem)) for path in paths]


def tiles(scores: Mapping[str, pa.Table], split: str) -> list[Tile]:
    """Headline figures of the paper's method on a split, or of the best variant where it was not run."""
    tracked = results.of(results.combined(scores["tracking"]), split=split)
    retrieved = results.of(scores["reid"], split=split, protocol=results.PROTOCOL)
    detected = results.of(scores["detection"], split=split)["AP50"].to_pylist()
    return [
        *_tiles(tracked, results.HEADLINE, other="bytetrack"),
        *_tiles(retrieved, ("rank1", "mAP"), other="baseline"),
        *(Tile("AP50", str(Measure(value, None, digits=1)), "detector") for value in detected),
    ]


def _section(experiment: str, scores: Mapping[str, pa.Table], images: Sequence[Picture]) -> Section:
    tracking, reid, detection, curves = (scores[name] for name in ("tracking", "reid", "detection", "curves"))
    splits = sorted({one for table in (tracking, reid, detection) for one in table["split"].to_pylist()})
    trained = results.of(curves, curve="reid")
    palette = figures.colours([one for table in (tracking, trained) for one in table["variant"].to_pylist()])
    paths = [make(tracking, one, palette) for one in splits for make in (figures.hota_chart, figures.sequence_chart)]
    precision = [figures.precision_chart(curves, one) for one in splits]
    losses = [figures.detector_loss_chart(curves), figures.reid_loss_chart(curves, palette)]
    found = [results.detection_table(detection)] if detection.num_rows else []
    parts = [
        Part("Tracking", results.tracking_tables(tracking), _drawn(paths), empty="No annotated tracks to score."),
        Part("Re-identification", results.reid_tables(reid), empty="No embeddings to score."),
        Part("Detection", found, _drawn(precision), empty="No detections, or no ground truth, to score."),
        Part(
            "Beside the paper", ablation_tables(experiment, tracking, reid), empty="None of the paper's rows was run."
        ),
        Part("Training", charts=_drawn(losses), empty="Nothing was trained."),
        Part("Pictures", pictures=images),
        Part("Settings and provenance", settings_tables(scores["provenance"]), is_folded=True),
    ]
    headline = [tile for split in splits for tile in tiles(scores, split)]
    return Section(experiment, [_data(tracking, split) for split in splits], headline, parts)


def _tiles(table: pa.Table, metrics: Sequence[str], *, other: str) -> list[Tile]:
    """A tile a metric of the method, or of the variant that is best by the first metric, with `other`'s figure."""
    rows = {row["variant"]: row for row in results.over_seeds(table, ["variant"], metrics)}
    if not rows:
        return []
    shown = METHOD if METHOD in rows else max(rows, key=lambda name: rows[name][metrics[0]].mean)
    others = {other: rows[other]} if other in rows and other != shown else {}
    return [
        Tile(
            metric,
            str(rows[shown][metric]),
            ", ".join([shown, *(f"{name} {row[metric]}" for name, row in others.items())]),
        )
        for metric in metrics
    ]


def _data(tracking: pa.Table, split: str) -> str:
    """What a split holds."""
    rows = results.of(tracking, split=split, evaluator=results.EVALUATOR)
    names = set(rows["sequence"].to_pylist()) - {"COMBINED"}
    whole = results.combined(rows).slice(0, 1).to_pylist()
    sizes = [f"{row['frames']:,} frames, {row['GT_IDs']:,} people, {row['GT_Dets']:,} boxes" for row in whole]
    return ", ".join([f"{split}: {len(names)} sequences", *sizes])


def _caption(stem: str) -> str:
    """What a file name says: `masks-finetrack-MOT17-02` is `Part masks: finetrack-MOT17-02`."""
    kind, _, what = stem.partition("-")
    return f"{_PICTURES.get(kind, kind)}: {what}" if what else _PICTURES.get(kind, kind)


def _data_uri(path: Path) -> str:
    return f"data:{_MEDIA[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _drawn(charts: Sequence[Chart | None]) -> list[Chart]:
    return [chart for chart in charts if chart is not None]


def _downloads() -> list[Download]:
    schemas = {**SCHEMAS, "published": published.SCHEMA}
    return [
        Download(name, doc, {field.name: results.doc(field) for field in schemas[name]}) for name, doc in _FILES.items()
    ]


def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
