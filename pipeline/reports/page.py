"""The results as one HTML page that needs nothing beside it: no network, no other file."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from PIL import Image

from pipeline.evaluation.moments import COMPARED, best, clip_name
from pipeline.evaluation.schemas import SCHEMAS
from pipeline.reports import plots, published, results
from pipeline.reports.ablations import ablation_tables
from pipeline.reports.figures import Chart
from pipeline.reports.moments import caption, moments_tables
from pipeline.reports.results import METHOD, Measure, ResultsTable
from pipeline.reports.settings import settings_tables
from pipeline.reports.template import write_html

_MEDIA = {".webp": "image/webp", ".jpg": "image/jpeg", ".mp4": "video/mp4"}
_PICTURES = {"masks": "Part masks", "frame": "Rendered frame"}
_FILES = {
    "tracking": "tracks scored: a row a sequence, and COMBINED for all",
    "reid": "retrieval scored",
    "detection": "detections scored",
    "moments": "where one tracker keeps an identity that another loses: a row a moment",
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
class Clip:
    """A video and its key frame as data URIs, and what it shows."""

    source: str
    poster: str
    caption: str


@dataclass(frozen=True)
class Part:
    """A heading with what stands below it; an empty one says why it is empty."""

    title: str
    tables: Sequence[ResultsTable] = ()
    charts: Iterable[Chart] = ()
    pictures: Sequence[Picture] = ()
    clips: Sequence[Clip] = ()
    note: str = ""
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
            runs / one / "scores" / "pictures",
        )
        for one in experiments
    ]
    sweeps = sorted(path.parent.name for path in (out / "sweeps").glob("*/index.html"))
    write_html(
        "page.html.j2", out / "index.html", sections=sections, downloads=_downloads(), sweeps=sweeps, method=METHOD
    )


def pictures(folder: Path) -> list[Picture]:
    """The images of a folder, `masks-<what>` and `frame-<what>`, in order of their names; none without the folder."""
    paths = sorted(path for kind in _PICTURES for path in folder.glob(f"{kind}-*") if path.suffix in (".png", ".jpg"))
    return [Picture(_picture_uri(path), _caption(path.stem)) for path in paths]


def clips(folder: Path, moments: pa.Table) -> list[Clip]:
    """The clips of one experiment's best moments; none where there were no images to make them of."""
    found = [(row, folder / f"{clip_name(row)}.mp4") for row in best(moments)]
    return [
        Clip(_data_uri(path), _data_uri(path.with_suffix(".jpg")), caption(row))
        for row, path in found
        if path.is_file()
    ]


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


def _section(experiment: str, scores: Mapping[str, pa.Table], folder: Path) -> Section:
    tracking, reid, detection = (scores[name] for name in ("tracking", "reid", "detection"))
    charts, splits = plots.charts(scores), plots.splits(scores)
    drawn = {part: list(some.values()) for part, some in charts.items()}
    found = [results.detection_table(detection)] if detection.num_rows else []
    parts = [
        Part("Tracking", results.tracking_tables(tracking), drawn["tracking"], empty="No annotated tracks to score."),
        _moments(scores["moments"], tracking, folder),
        Part("Re-identification", results.reid_tables(reid), empty="No embeddings to score."),
        Part("Detection", found, drawn["detection"], empty="No detections, or no ground truth, to score."),
        Part(
            "Beside the paper", ablation_tables(experiment, tracking, reid), empty="None of the paper's rows was run."
        ),
        Part("Training", charts=drawn["training"], empty="Nothing was trained."),
        Part("Pictures", pictures=pictures(folder), empty="No images to make pictures of."),
        Part("Settings and provenance", settings_tables(scores["provenance"]), is_folded=True),
    ]
    headline = [tile for split in splits for tile in tiles(scores, split)]
    return Section(experiment, [_data(tracking, split) for split in splits], headline, parts)


def _moments(moments: pa.Table, tracking: pa.Table, folder: Path) -> Part:
    counted, shown = moments_tables(moments, tracking), clips(folder, moments)
    note = "" if shown or not best(moments) else "No clips: there are no images to make them of."
    return Part(
        f"Identities: {COMPARED[0]} beside {COMPARED[1]}",
        counted,
        clips=shown,
        note=note,
        empty=f"{COMPARED[0]} and {COMPARED[1]} were not both tracked on annotated sequences.",
    )


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


def _picture_uri(path: Path) -> str:
    """A picture as it is, but for PNG, which holds photographs in several times the bytes that can be told apart."""
    if path.suffix != ".png":
        return _data_uri(path)
    small = io.BytesIO()
    Image.open(path).convert("RGB").save(small, "WEBP", quality=80)
    return _uri(".webp", small.getvalue())


def _data_uri(path: Path) -> str:
    return _uri(path.suffix, path.read_bytes())


def _uri(suffix: str, content: bytes) -> str:
    return f"data:{_MEDIA[suffix]};base64,{base64.b64encode(content).decode()}"


def _downloads() -> list[Download]:
    schemas = {**SCHEMAS, "published": published.SCHEMA}
    return [
        Download(name, doc, {field.name: results.doc(field) for field in schemas[name]}) for name, doc in _FILES.items()
    ]
