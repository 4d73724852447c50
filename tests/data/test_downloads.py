import errno
import hashlib
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.data import downloads
from pipeline.data.downloads import download

CONTENT = np.random.default_rng(0).bytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """A file server on this machine whose manners a test sets."""

    content = CONTENT
    status = 200
    kind = "application/zip"
    ranges = True
    validator = '"v1"'
    linked: str | None = None  # Hugging Face's digest, sent with a redirect
    breaks = 0  # how many answers end after `breaks_after` bytes
    breaks_after = 100_000
    length = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/data.zip"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        if server.linked and not self.path.endswith("?moved"):
            self.send_response(302)
            self.send_header("Location", f"{server.url}?moved")
            self.send_header("X-Linked-Etag", f'"{server.linked}"')
            self.end_headers()
            return
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if not server.ranges or self.headers.get("If-Range") != server.validator:
            start = 0
        if start >= len(server.content) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.content)}")
            self.end_headers()
            return
        self.send_response(206 if start else server.status)
        self.send_header("Content-Type", server.kind)
        if server.length:
            self.send_header("Content-Length", str(len(server.content) - start))
        if server.validator:
            self.send_header("ETag", server.validator)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.end_headers()
        body = server.content[start:]
        if server.breaks:
            server.breaks -= 1
            body = body[: server.breaks_after]
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(downloads, "_WAIT_S", 0.0)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def part_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def test_a_file_arrives_whole_and_leaves_nothing_else(server: Server, tmp_path: Path) -> None:
    download(server.url, tmp_path / "new" / "data.zip", size=len(CONTENT), sha256=DIGEST)
    assert (tmp_path / "new" / "data.zip").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["data.zip"]


def test_a_transfer_that_breaks_goes_on_from_where_it_was(server: Server, tmp_path: Path) -> None:
    server.breaks = 2
    download(server.url, tmp_path / "data.zip", sha256=DIGEST)
    assert server.asked == [None, "bytes=100000-", "bytes=200000-"]
    assert (tmp_path / "data.zip").read_bytes() == CONTENT


def test_a_later_call_goes_on_from_the_part(server: Server, tmp_path: Path) -> None:
    server.breaks, server.breaks_after = 99, 0
    part_of(tmp_path / "data.zip").write_bytes(CONTENT[:1000])
    (tmp_path / "data.zip.part.etag").write_text(server.validator)
    with pytest.raises(OSError, match=r"1000 bytes are kept in .*data.zip.part. Run the command again"):
        download(server.url, tmp_path / "data.zip")
    assert len(server.asked) == 5, "attempts that bring nothing are counted"
    server.breaks, server.asked = 0, []
    download(server.url, tmp_path / "data.zip", sha256=DIGEST)
    assert server.asked == ["bytes=1000-"]


@pytest.mark.parametrize("validator", ['"v1"', "", 'W/"v1"'])
def test_a_server_that_refuses_ranges_sends_all_again(server: Server, tmp_path: Path, validator: str) -> None:
    server.ranges, server.breaks, server.validator = False, 1, validator
    download(server.url, tmp_path / "data.zip", sha256=DIGEST)
    assert (tmp_path / "data.zip").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_starts_anew(server: Server, tmp_path: Path) -> None:
    part_of(tmp_path / "data.zip").write_bytes(b"old" * 1000)
    (tmp_path / "data.zip.part.etag").write_text('"v0"')
    download(server.url, tmp_path / "data.zip", sha256=DIGEST)
    assert (tmp_path / "data.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("length", [len(CONTENT), len(CONTENT) + 10])
def test_a_part_that_is_whole_or_too_long_ends_well(server: Server, tmp_path: Path, length: int) -> None:
    part_of(tmp_path / "data.zip").write_bytes((CONTENT + bytes(10))[:length])
    (tmp_path / "data.zip.part.etag").write_text(server.validator)
    download(server.url, tmp_path / "data.zip", sha256=DIGEST)
    assert (tmp_path / "data.zip").read_bytes() == CONTENT
    assert not part_of(tmp_path / "data.zip").exists()


def test_what_is_there_already_is_only_checked(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(CONTENT)
    download(server.url, tmp_path / "data.zip", sha256=DIGEST)
    assert server.asked == []
    with pytest.raises(ValueError, match="expected 7"):
        download(server.url, tmp_path / "data.zip", size=7)
    assert (tmp_path / "data.zip").exists(), "a user's file is never deleted"


def test_a_wrong_checksum_puts_nothing_in_place(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"SHA-256 is {DIGEST}, expected {'0' * 64}"):
        download(server.url, tmp_path / "data.zip", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == [], "going on from wrong bytes would never end well"


def test_the_digest_that_a_redirect_states_is_checked(server: Server, tmp_path: Path) -> None:
    server.linked = "1" * 64
    with pytest.raises(ValueError, match=f"expected {'1' * 64}"):
        download(server.url, tmp_path / "data.zip")
    server.linked = DIGEST
    download(server.url, tmp_path / "data.zip")
    assert (tmp_path / "data.zip").read_bytes() == CONTENT


def test_another_size_than_expected_is_refused_before_the_transfer(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"300000 bytes, expected 5\. The file there is another"):
        download(server.url, tmp_path / "data.zip", size=5)
    assert not part_of(tmp_path / "data.zip").exists()


def test_a_server_that_announces_no_length_is_believed_only_by_size(server: Server, tmp_path: Path) -> None:
    server.length = False
    with pytest.raises(ValueError, match="300000 bytes, expected 300001"):
        download(server.url, tmp_path / "data.zip", size=300_001)
    download(server.url, tmp_path / "data.zip", size=300_000)
    assert (tmp_path / "data.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_missing_file_is_refused_at_once(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(ValueError, match=f"the server answers {status}"):
        download(server.url, tmp_path / "data.zip")
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_in_trouble_is_asked_again(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(OSError, match=str(status)):
        download(server.url, tmp_path / "data.zip")
    assert len(server.asked) == 5


def test_a_web_page_instead_of_the_file_is_refused(server: Server, tmp_path: Path) -> None:
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(ValueError, match=r"sends a web page, expected a file\. Open the address in a browser"):
        download(server.url, tmp_path / "data.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_WAIT_S", 0.0)
    with pytest.raises(OSError, match="refused"):
        download("http://127.0.0.1:9/data.zip", tmp_path / "data.zip")


def test_a_small_disk_is_refused_before_the_transfer(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(ValueError, match=r"0.0 GB free, expected 0.3 GB for data.zip. Make room"):
        download(server.url, tmp_path / "data.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_keeps_what_came(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_BLOCK", 2**16)
    part, whole_open = part_of(tmp_path / "data.zip"), Path.open

    class Full:
        def __init__(self, file: object) -> None:
            self.file = file

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()  # type: ignore[attr-defined]

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

        def write(self, block: bytes) -> None:
            if self.file.tell() > 100_000:  # type: ignore[attr-defined]
                raise OSError(errno.ENOSPC, "No space left on device")
            self.file.write(block)  # type: ignore[attr-defined]

    def opening(path: Path, mode: str = "r", **more: object) -> object:
        file = whole_open(path, mode, **more)  # type: ignore[call-overload]
        return Full(file) if path == part and mode != "rb" else file

    monkeypatch.setattr(Path, "open", opening)
    with pytest.raises(OSError, match="the disk is full after 131072 bytes; make room"):
        download(server.url, tmp_path / "data.zip")
    assert part.stat().st_size == 131_072
    monkeypatch.setattr(Path, "open", whole_open)
    download(server.url, tmp_path / "data.zip", sha256=DIGEST)
    assert server.asked == [None, "bytes=131072-"]
