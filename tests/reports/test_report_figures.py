import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.reports import figures
from pipeline.reports.figures import Chart, colours
from pipeline.reports.results import of
from pipeline.reports.tables import join_scores

VARIANTS = ["finetrack", "baseline", "mpmg", "fafpn", "shuffle", "sequential", "bytetrack", "sort"]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def scores(runs: Path) -> dict[str, pa.Table]:
    return join_scores(runs, ["synthetic"])


def charts(scores: dict[str, pa.Table]) -> dict[str, Chart | None]:
    palette = colours(VARIANTS)
    return {
        "hota": figures.hota_chart(scores["tracking"], "val", palette),
        "sequences": figures.sequence_chart(scores["tracking"], "val", palette),
        "detector": figures.detector_loss_chart(scores["curves"]),
        "reid": figures.reid_loss_chart(scores["curves"], palette),
        "precision": figures.precision_chart(scores["curves"], "val"),
    }


def series(chart: Chart | None) -> list[str]:
    """The names of what a chart draws, as a pointer over it shows them."""
    assert chart is not None
    return [title.text or "" for title in ET.fromstring(chart.svg).iter(f"{SVG}title")]


def test_the_same_scores_give_the_same_bytes(scores: dict[str, pa.Table]) -> None:
    assert charts(scores) == charts(scores)


def test_a_users_own_matplotlib_settings_change_nothing(scores: dict[str, pa.Table]) -> None:
    import matplotlib

    expected = charts(scores)
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red"}):
        assert charts(scores) == expected


def test_no_chart_is_drawn_of_nothing(scores: dict[str, pa.Table]) -> None:
    found = charts({name: table.slice(0, 0) for name, table in scores.items()})
    assert set(found.values()) == {None}


def test_every_series_is_drawn_by_its_name(scores: dict[str, pa.Table]) -> None:
    found = charts(scores)
    assert sorted(series(found["hota"])) == sorted(VARIANTS)
    assert sorted(series(found["detector"])) == sorted(figures.PARTS)
    assert series(found["reid"]).count("finetrack") == 3  # seeds
    assert series(found["sequences"]).count("finetrack") == 2  # sequences


def test_colours_are_left_to_the_page(scores: dict[str, pa.Table]) -> None:
    for name, chart in charts(scores).items():
        assert chart is not None
        drawn = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", chart.svg))
        assert all(colour == "none" or colour.startswith("var(--") for colour in drawn), (name, drawn)


def test_text_stays_text(scores: dict[str, pa.Table]) -> None:
    chart = charts(scores)["precision"]
    assert chart is not None
    assert "recall, percent" in [text.text for text in ET.fromstring(chart.svg).iter(f"{SVG}text")]


def test_the_method_and_the_baselines_keep_their_colours_whatever_else_runs() -> None:
    few, many = colours(["sort", "finetrack", "bytetrack", "baseline"]), colours(VARIANTS)
    assert few == {name: many[name] for name in few}
    assert len({many[name] for name in few}) == 4


@pytest.mark.parametrize("seeds", [1, 3])
def test_whiskers_are_mentioned_where_there_are_any(scores: dict[str, pa.Table], seeds: int) -> None:
    tracking = scores["tracking"] if seeds == 3 else of(scores["tracking"], variant="bytetrack")
    chart = figures.sequence_chart(tracking, "val", colours(VARIANTS))
    assert chart is not None
    assert ("whiskers" in chart.caption) == (seeds == 3)
