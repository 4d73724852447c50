"""The charts as files, for `dvc plots`."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pipeline.reports.plots import charts, write_plots
from pipeline.reports.tables import join_scores

EXPERIMENTS = ["synthetic", "mot17-half"]


def written(runs: Path, out: Path) -> dict[str, str]:
    write_plots(join_scores(runs, EXPERIMENTS), EXPERIMENTS, out)
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((out / "plots").iterdir())}


def test_every_chart_of_every_experiment_is_a_file(runs: Path, tmp_path: Path) -> None:
    charted = ["hota-val", "loss-detector", "loss-reid", "precision-val", "sequences-val"]
    without_detector = ["hota-val", "loss-reid", "sequences-val"]
    assert list(written(runs, tmp_path)) == [
        *(f"mot17-half-{name}.svg" for name in without_detector),
        *(f"synthetic-{name}.svg" for name in charted),
    ]


def test_a_file_is_a_whole_picture_with_colours_of_its_own(runs: Path, tmp_path: Path) -> None:
    for text in written(runs, tmp_path).values():
        assert ElementTree.fromstring(text.encode()).tag.endswith("svg")
        assert "var(" not in text
        assert not re.search(r"(href|src)=\"(?!#)", text)


def test_the_same_scores_give_the_same_bytes_and_old_plots_vanish(runs: Path, tmp_path: Path) -> None:
    before = written(runs, tmp_path)
    (tmp_path / "plots" / "dropped-hota-val.svg").touch()
    assert written(runs, tmp_path) == before


@pytest.mark.parametrize("part", ["tracking", "detection", "training"])
def test_charts_come_by_part_of_the_page(runs: Path, part: str) -> None:
    found = charts(join_scores(runs, ["synthetic"]))
    assert all(chart.svg.startswith("<svg") for chart in found[part].values())
    assert found[part]
