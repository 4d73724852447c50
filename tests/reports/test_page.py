import base64
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pyarrow.compute as pc
import pytest

from pipeline import tables
from pipeline.evaluation.schemas import SCHEMAS
from pipeline.inference.video import written_video
from pipeline.reports.page import clips, pictures, tiles, write_page
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
    for name in ("masks-finetrack-street-01.png", "frame-dance-02.jpg", "other.jpg", "notes.txt"):
        cv2.imwrite(str(folder / "made.png"), np.full((4, 4, 3), 9, np.uint8))
        (folder / "made.png").rename(folder / name)
    frame, masks = pictures(folder)
    assert (frame.caption, masks.caption) == ("Rendered frame: dance-02", "Part masks: finetrack-street-01")
    assert base64.b64decode(frame.source.partition(",")[2]) == (folder / "frame-dance-02.jpg").read_bytes()
    links = Outline(page(runs, tmp_path)).links
    assert [link for link in links if link.startswith("data:image")] == [frame.source, masks.source]


def test_large_sheets_take_a_fraction_of_their_bytes_and_look_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sheet = cv2.resize(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8), (600, 400), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "masks-finetrack.png"), sheet)
    (picture,) = pictures(tmp_path)
    kind, _, content = picture.source.partition(",")
    shown = base64.b64decode(content)
    assert kind == "data:image/webp;base64"
    assert len(shown) < (tmp_path / "masks-finetrack.png").stat().st_size / 4
    assert cv2.PSNR(cv2.imdecode(np.frombuffer(shown, np.uint8), cv2.IMREAD_COLOR), sheet) > 28


def test_no_pictures_are_no_obstacle(tmp_path: Path) -> None:
    assert pictures(tmp_path / "none") == []


def test_sweeps_that_have_a_page_are_linked(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "sweeps" / "reid").mkdir(parents=True)
    (tmp_path / "sweeps" / "unfinished").mkdir()
    (tmp_path / "sweeps" / "reid" / "index.html").touch()
    links = Outline(page(runs, tmp_path)).links
    assert [link for link in links if link.startswith("sweeps")] == ["sweeps/reid/index.html"]


def add_clip(runs: Path, *, frames: int = 12) -> str:
    """A clip and key frame for the longest kept moment of `synthetic`; its name."""
    folder = runs / "synthetic" / "scores" / "pictures"
    folder.mkdir(exist_ok=True)
    name = "clip-val-street-01-person2-frame12"
    rng = np.random.default_rng(0)
    with written_video(folder / f"{name}.mp4", size=(96, 64), frame_rate=12.0) as add:
        for _ in range(frames):
            add(rng.integers(0, 255, (64, 96, 3), dtype=np.uint8))
    cv2.imwrite(str(folder / f"{name}.jpg"), np.full((64, 96, 3), 200, np.uint8))
    return name


def test_clips_are_embedded_with_their_key_frames_and_what_they_show(runs: Path, tmp_path: Path) -> None:
    name = add_clip(runs)
    folder = runs / "synthetic" / "scores" / "pictures"
    (clip,) = clips(folder, join_scores(runs, ["synthetic"])["moments"])
    for uri, ending in ((clip.source, "mp4"), (clip.poster, "jpg")):
        assert base64.b64decode(uri.partition(",")[2]) == (folder / f"{name}.{ending}").read_bytes()
    text = page(runs, tmp_path, ["synthetic"])
    assert clip.source in Outline(text).links
    assert "finetrack keeps 5, in 41 frames in all." in text
    assert pictures(folder) == []  # a clip's key frame is no picture of its own


def test_a_page_says_that_there_are_moments_but_no_clips(runs: Path, tmp_path: Path) -> None:
    assert "No clips: there are no images to make them of." in page(runs, tmp_path, ["synthetic"])


def test_a_page_says_that_there_was_nothing_to_compare(runs: Path, tmp_path: Path) -> None:
    for name in ("tracking", "moments"):
        path = runs / "synthetic" / "scores" / f"{name}.parquet"
        table = tables.read(path, SCHEMAS[name])
        tables.write(table.filter(pc.equal(table["variant"], "sort")), path, SCHEMAS[name])
    text = page(runs, tmp_path, ["synthetic"])
    assert "finetrack and bytetrack were not both tracked on annotated sequences." in text
    assert "No clips" not in text


NOTED = """<script>
const faults = [];
addEventListener("error", (event) => faults.push(event.message || event.target.tagName), true);
addEventListener("unhandledrejection", (event) => faults.push(String(event.reason)));
</script>"""
USED = """<script>
addEventListener("load", async () => {
  const table = document.querySelector("table");
  const column = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent === "HOTA");
  const press = () => table.tHead.rows[0].cells[column].firstChild.click();
  const first = () => table.tBodies[0].rows[0].cells[0].textContent.trim();
  press(); const falling = first(); press(); const rising = first();
  const played = [];
  for (const video of document.querySelectorAll("video")) {
    const isOn = () => video.currentTime > 0.2;
    const shown = new Promise((yes) => video.addEventListener("timeupdate", () => isOn() && yes(true)));
    const late = new Promise((no) => setTimeout(() => no(false), 20000));
    await video.play();
    played.push(await Promise.race([shown, late]));
  }
  const entries = performance.getEntriesByType("resource").map((one) => one.name);
  const left = entries.filter((name) => !name.startsWith("data:"));
  const wide = document.documentElement.scrollWidth > innerWidth;
  document.body.innerHTML = `<pre>${JSON.stringify({ falling, rising, played, left, wide, faults })}</pre>`;
});
</script>"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 500])
def test_in_a_browser_tables_sort_clips_play_and_nothing_is_asked_of_the_network(
    runs: Path, tmp_path: Path, width: int
) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine to click with; install it to test the page's script")
    add_clip(runs)
    text = page(runs, tmp_path, ["synthetic"])
    text = text.replace("<head>", f"<head>{NOTED}", 1).replace("</body>", f"{USED}</body>")
    (tmp_path / "index.html").write_text(text, encoding="utf-8")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--enable-logging=stderr",
        "--autoplay-policy=no-user-gesture-required", "--virtual-time-budget=30000", "--dump-dom",
        (tmp_path / "index.html").as_uri(),
    ]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    found = json.loads(html.unescape(shown.stdout.partition("<pre>")[2].partition("</pre>")[0]))
    assert found == {
        "falling": "finetrack", "rising": "sort", "played": [True], "left": [], "wide": False, "faults": [],
    }  # fmt: skip
    assert "CONSOLE" not in shown.stderr
