import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline import tables
from pipeline.evaluation.schemas import SCHEMAS
from pipeline.reports.page import pictures, tiles, write_page
from pipeline.reports.tables import join_scores

EXPERIMENTS = ["synthetic", "mot17-half"]
VOID = {"meta", "link", "img", "br", "path", "use", "rect"}


class Outline(HTMLParser):
    """Collects what a page refers to, its ids and its words; refuses unbalanced tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


def page(runs: Path, out: Path, experiments: list[str] = EXPERIMENTS) -> str:
    write_page(join_scores(runs, experiments), runs, experiments, out)
    return (out / "index.html").read_text(encoding="utf-8")


def test_the_page_needs_nothing_but_itself(runs: Path, tmp_path: Path) -> None:
    text = page(runs, tmp_path)
    beside = {f"{name}.parquet" for name in (*SCHEMAS, "published")}
    assert [link for link in Outline(text).links if not link.startswith(("#", "data:")) and link not in beside] == []
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest", text)


def test_the_same_scores_give_the_same_bytes(runs: Path, tmp_path: Path) -> None:
    assert page(runs, tmp_path / "one") == page(runs, tmp_path / "other")


def test_ids_are_unique_and_links_within_lead_somewhere(runs: Path, tmp_path: Path) -> None:
    outline = Outline(page(runs, tmp_path))
    assert sorted(set(outline.ids)) == sorted(outline.ids)
    assert {link[1:] for link in outline.links if link.startswith("#")} <= set(outline.ids)


def test_experiments_stand_in_the_order_they_are_listed_in(runs: Path, tmp_path: Path) -> None:
    ids = Outline(page(runs, tmp_path)).ids
    assert [one for one in ids if one in EXPERIMENTS] == EXPERIMENTS


def test_every_kind_of_result_is_shown(runs: Path, tmp_path: Path) -> None:
    text = page(runs, tmp_path, ["synthetic"])
    words = Outline(text).words
    for heading in ("Tracking on val", "Re-ID on val, protocol gap", "Detection", "Settings: track", "Origin"):
        assert heading in words
    assert [word for word in words if word.startswith("Table ")][-1] == "Table 6: components, by tracking"
    assert text.count("<svg") == 5
    assert "0123456789abcdef" in words  # the revision
    assert "reid.variant.neck" in words  # a setting that differs between rows


def test_what_an_experiment_lacks_is_said(runs: Path, tmp_path: Path) -> None:
    text = page(runs, tmp_path, ["mot17-half"])
    assert "No detections, or no ground truth, to score." in text
    assert text.count("<svg") == 3


def test_an_experiment_that_was_trained_but_could_not_be_scored_has_a_page(runs: Path, tmp_path: Path) -> None:
    for name in ("tracking", "reid", "detection"):
        path = runs / "synthetic" / "scores" / f"{name}.parquet"
        tables.write(tables.empty(SCHEMAS[name]), path, SCHEMAS[name])
    text = page(runs, tmp_path, ["synthetic"])
    assert "No annotated tracks to score." in text
    assert text.count("<svg") == 2  # the losses


def test_headline_figures_are_the_methods_beside_the_baselines(runs: Path) -> None:
    found = {tile.label: (tile.value, tile.note) for tile in tiles(join_scores(runs, ["synthetic"]), "val")}
    assert found["HOTA"] == ("65.0 ± 1.0", "finetrack, bytetrack 58.0")
    assert found["mAP"] == ("60.0 ± 1.0", "finetrack, baseline 56.0 ± 1.0")
    assert found["AP50"] == ("82.3", "detector")


def test_text_from_data_is_escaped(runs: Path, tmp_path: Path) -> None:
    path = runs / "mot17-half" / "scores" / "tracking.parquet"
    rows = tables.read(path, SCHEMAS["tracking"]).to_pylist()
    renamed = [{**row, "variant": row["variant"].replace("sort", "<b>&sort")} for row in rows]
    tables.write(SCHEMAS["tracking"].empty_table().from_pylist(renamed, SCHEMAS["tracking"]), path, SCHEMAS["tracking"])
    text = page(runs, tmp_path, ["mot17-half"])
    assert "<b>" not in text
    assert "<b>&sort" in Outline(text).words


def test_pictures_are_embedded_with_captions(runs: Path, tmp_path: Path) -> None:
    folder = runs / "synthetic" / "scores" / "pictures"
    folder.mkdir()
    for name in ("masks-finetrack-street-01.png", "frame-dance-02.jpg", "notes.txt"):
        (folder / name).write_bytes(b"\x89")
    assert [(one.source, one.caption) for one in pictures(folder)] == [
        ("data:image/jpeg;base64,iQ==", "Rendered frame: dance-02"),
        ("data:image/png;base64,iQ==", "Part masks: finetrack-street-01"),
    ]
    assert "data:image/png;base64,iQ==" in Outline(page(runs, tmp_path)).links


def test_no_pictures_are_no_obstacle(tmp_path: Path) -> None:
    assert pictures(tmp_path / "none") == []


def test_sweeps_that_have_a_page_are_linked(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "sweeps" / "reid").mkdir(parents=True)
    (tmp_path / "sweeps" / "unfinished").mkdir()
    (tmp_path / "sweeps" / "reid" / "index.html").touch()
    links = Outline(page(runs, tmp_path)).links
    assert [link for link in links if link.startswith("sweeps")] == ["sweeps/reid/index.html"]


@pytest.mark.slow
def test_a_click_on_a_heading_sorts_its_table(runs: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine to click with; install it to test the page's script")
    click = """<script>
    const table = document.querySelector("table");
    const column = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent === "HOTA");
    const press = () => table.tHead.rows[0].cells[column].firstChild.click();
    const first = () => table.tBodies[0].rows[0].cells[0].textContent.trim();
    press(); const once = first(); press(); document.title = `${once} ${first()}`;
    </script>"""
    text = page(runs, tmp_path, ["synthetic"])
    (tmp_path / "index.html").write_text(text.replace("</body>", f"{click}</body>"), encoding="utf-8")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    command = [browser, *options, "--disable-background-networking", "--dump-dom", (tmp_path / "index.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "<title>finetrack sort</title>" in shown
