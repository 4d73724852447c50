"""One file over HTTP: goes on where it broke off, and takes its place only when it is whole and checked."""

import errno
import hashlib
import http.client
import re
import shutil
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.progress import Meter, meter

_ATTEMPTS = 5  # in a row that bring nothing new
_WAIT_S = 2.0  # before the second attempt, twice as long before each further one
_SILENCE_S = 60.0
_BLOCK = 2**20
_MARGIN = 2**28  # bytes that stay free on the disk
_BUSY = (http.client.REQUEST_TIMEOUT, http.client.TOO_MANY_REQUESTS)
_BROKEN = (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException)


@dataclass(frozen=True)
class _Answer:
    """What the server is about to send: the file from byte `start` on, `total` bytes in all, if it says so."""

    start: int
    total: int | None
    validator: str | None
    sha256: str | None


def download(url: str, path: Path, *, size: int | None = None, sha256: str | None = None) -> None:
    """Fetch `url` to `path`; a file that is there already is only checked.

    Bytes gather in `path`.part, from whose end a later call goes on if the server can and the file is still the same.
    `size` in bytes and `sha256` are checked where given; else the size that the server announces and, of files on
    Hugging Face, the digest that it states.

    Raises:
        ValueError: the server has no such file or sends a web page, the file is another than expected, or the disk is
            too small.
        OSError: the connection breaks again and again, or the disk is full.
    """
    part, note = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.etag")
    stated = None
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        answer = _fetch(url, part, note, size)
        size, stated = size or answer.total, answer.sha256
    found = path if path.is_file() else part
    try:
        _check(found, url, size=size, sha256=sha256 or stated)
    except ValueError:
        part.unlink(missing_ok=True)  # nothing could go on from it
        raise
    finally:
        note.unlink(missing_ok=True)
    found.replace(path)


def refuse_small_disk(folder: Path, needed: int, what: str) -> None:
    """Refuse work for which the disk of `folder` has no room, a margin left free.

    Raises:
        ValueError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + _MARGIN:
        raise ValueError(
            f"{folder}: {free / 1e9:.1f} GB free, expected {(needed + _MARGIN) / 1e9:.1f} GB for {what}. "
            "Make room, or choose another folder."
        )


def _fetch(url: str, part: Path, note: Path, size: int | None) -> _Answer:
    """Transfer until the part is whole, again where the connection breaks."""
    failures = 0
    while True:
        before = _length(part)
        try:
            return _transfer(url, part, note, size)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and before:
                if error.headers.get("Content-Range") == f"bytes */{before}":
                    return _Answer(before, before, None, None)
                part.unlink()  # longer than the file, which has changed
                continue
            if error.code < http.client.INTERNAL_SERVER_ERROR and error.code not in _BUSY:
                raise ValueError(f"{url}: the server answers {error.code} {error.reason}, expected a file. "
                                 "Look for its new place, or fetch it by hand.") from error  # fmt: skip
            broken: Exception = error
        except _BROKEN as error:
            broken = error
        failures = 0 if _length(part) > before else failures + 1
        if failures == _ATTEMPTS:
            raise OSError(
                f"{url}: {broken}; {_length(part)} bytes are kept in {part}. Run the command again to go on from there."
            ) from broken
        time.sleep(_WAIT_S * 2**failures if failures else 0)


def _transfer(url: str, part: Path, note: Path, size: int | None) -> _Answer:
    """Append to the part what the server sends, from its end where server and file allow it."""
    have = _length(part)
    if size is not None and have == size:
        return _Answer(have, size, None, None)
    response, redirects = _open(url, have, note)
    with response:
        answer = _answer(response, redirects, have)
        _refuse_page(url, response)
        _refuse_other_size(url, answer.total, size)
        refuse_small_disk(part.parent, (answer.total or size or 0) - answer.start, part.stem)
        note.write_text(answer.validator or "", encoding="utf-8")
        megabytes = (answer.total or size or 0) // 10**6
        with meter(f"{part.stem}, MB", megabytes) as bar:
            _copy(response, part, answer.start, bar)
    if answer.total is not None and _length(part) != answer.total:
        raise ConnectionError(f"the connection ended after {_length(part)} of {answer.total} bytes")
    return answer


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, and remembers the digest that Hugging Face states in the first of them."""

    sha256: str | None = None

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any) -> Any:
        self.sha256 = self.sha256 or _stated_digest(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, have: int, note: Path) -> tuple[Any, _Redirects]:
    request = urllib.request.Request(url, headers={"User-Agent": "finetrack", "Accept-Encoding": "identity"})
    validator = note.read_text(encoding="utf-8") if note.is_file() else ""
    if have and validator:  # without a validator nobody could tell whether both pieces are of one file
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", validator)
    redirects = _Redirects()
    return urllib.request.build_opener(redirects).open(request, timeout=_SILENCE_S), redirects


def _answer(response: Any, redirects: _Redirects, have: int) -> _Answer:
    headers = response.headers
    length = headers.get("Content-Length")
    start = 0
    if response.status == http.client.PARTIAL_CONTENT:
        sent = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
        start = int(sent[1]) if sent else -1
        if start != have:
            raise ConnectionError(f"the server sends from byte {start}, asked was from {have}")
    strong = headers.get("ETag") if not headers.get("ETag", "W/").startswith("W/") else None
    return _Answer(
        start=start,
        total=start + int(length) if length is not None else None,
        validator=strong or headers.get("Last-Modified"),
        sha256=redirects.sha256 or _stated_digest(headers),
    )


def _stated_digest(headers: Any) -> str | None:
    found = re.fullmatch(r'"?([0-9a-f]{64})"?', headers.get("X-Linked-Etag") or "")
    return found[1] if found else None


def _copy(response: Any, part: Path, start: int, bar: Meter) -> None:
    done = start
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        while block := response.read(_BLOCK):
            try:
                file.write(block)
                file.flush()
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise OSError(
                    error.errno, f"the disk is full after {done} bytes; make room and run the command again", str(part)
                ) from error
            done += len(block)
            bar.show(done // 10**6)


def _length(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _refuse_page(url: str, response: Any) -> None:
    if response.headers.get_content_type() == "text/html":
        raise ValueError(
            f"{url}: the server sends a web page, expected a file. Open the address in a browser: it may ask for "
            "consent or a login; save the file by hand then."
        )


def _refuse_other_size(url: str, found: int | None, expected: int | None) -> None:
    if None not in (found, expected) and found != expected:
        raise ValueError(
            f"{url}: {found} bytes, expected {expected}. The file there is another than this version knows: compare "
            "with its page."
        )


def _check(path: Path, url: str, *, size: int | None, sha256: str | None) -> None:
    found = path.stat().st_size
    if size is not None and found != size:
        raise ValueError(
            f"{path}: {found} bytes, expected {size}. Delete it where it is still there, and run the command again."
        )
    if sha256 is None:
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        raise ValueError(
            f"{path}: SHA-256 is {digest}, expected {sha256} of {url}. Delete it where it is still there, and run the "
            "command again."
        )
