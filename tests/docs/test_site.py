"""The site: built without network, nothing in it loaded from elsewhere, no link that leads nowhere."""

import html.parser
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from pipeline.sources import ROOT

LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "form": "action"}
FOLDERS = ("pipeline", "stages", "sweeps", "benchmarks", "docs", "tests", "deploy")
# A file of the repository, in backquotes.
FILE = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w/.-]*\w\.\w+)`")


class Page(html.parser.HTMLParser):
    """What a page links, what it loads when it is opened, and where it can be jumped to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next", "alternate"):
            self.loaded.append(given["href"])
        if LOADING.get(tag) in given:
            self.loaded.append(given[LOADING[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, strictly built with every connection refused."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "https_proxy": "127.0.0.1:9", "http_proxy": "127.0.0.1:9"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    found = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    assert len(found) > 10
    return found


def is_elsewhere(address: str) -> bool:
    return bool(urlsplit(address).scheme or urlsplit(address).netloc)


@pytest.mark.slow
def test_every_link_within_the_site_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    checked, broken = 0, []
    for path, page in pages.items():
        for link in page.links + page.loaded:
            if is_elsewhere(link):
                continue
            parts = urlsplit(link)
            start = site if parts.path.startswith("/") else path.parent
            target = (start / unquote(parts.path).lstrip("/")).resolve() if parts.path not in ("", ".") else path
            checked += 1
            has_anchor = target not in pages or unquote(parts.fragment) in pages[target].anchors
            if not target.exists() or not has_anchor:
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []
    assert checked > 100


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    assert [address for page in pages.values() for address in page.loaded if is_elsewhere(address)] == []
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    addresses = [one for style in styles for one in re.findall(r"(?:url\(|@import\s+)[\"']?([^)\"';]+)", style)]
    assert [one for one in addresses if is_elsewhere(one) and not one.startswith("data:")] == []
    assert all("mermaid" not in path.read_text(encoding="utf-8") for path in pages)  # its script would be fetched


@pytest.mark.slow
def test_every_page_of_the_documentation_is_reached_from_the_first(site: Path, pages: dict[Path, Page]) -> None:
    written = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    linked = {(site / unquote(urlsplit(link).path)).resolve() for link in pages[site / "index.html"].links}
    assert {site / path for path in written} - {site / "index.html"} <= linked


def test_every_file_of_the_repository_that_the_pages_name_exists() -> None:
    named = {
        (page.name, name) for page in (ROOT / "docs").rglob("*.md") for name in FILE.findall(page.read_text("utf-8"))
    }
    assert named
    assert sorted((page, name) for page, name in named if not (ROOT / name).exists()) == []


def test_links_to_other_sites_are_few_and_encrypted() -> None:
    text = "".join(path.read_text("utf-8") for path in (ROOT / "docs").rglob("*.md"))
    assert [one for one in re.findall(r"\]\((\w+://[^)]+)\)", text) if not one.startswith("https://")] == []


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"])
def test_every_link_of_a_page_at_the_root_leads_to_a_file_of_the_repository(name: str) -> None:
    links = re.findall(r"\]\(([^)#]+)", (ROOT / name).read_text("utf-8"))
    assert [link for link in links if not is_elsewhere(link) and not (ROOT / link).exists()] == []
