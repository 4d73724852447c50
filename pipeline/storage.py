"""Files and folders that machines without a common disk hand each other: a folder that all see, or a bucket.

Below the storage's address a path of the repository stands as it is called there. `<path>/.current` is a JSON list of
what it holds, written last; the files lie beside it in a folder of their own for each version. So a reader finds the
old version or the new one, whole; what was replaced is removed. Everything here may be deleted at any time: it only
costs time.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
from pyarrow import fs

from pipeline import versions
from pipeline.folders import plain_name
from pipeline.tables import write_text

_KEPT_S = 30 * 24 * 3600.0
_READS = 5  # of a path that others replace meanwhile
_SECRET = re.compile(r"(?i)secret|password|token|access_?key|credential")
_REMEDIES = {
    errno.ENOSPC: "Make room there and run again.",
    errno.EDQUOT: "Make room there and run again.",
    errno.EROFS: "Make it writable and run again.",
    errno.EACCES: "Allow this user to read and write there and run again.",
    errno.EPERM: "Allow this user to read and write there and run again.",
}


@dataclass(frozen=True)
class Storage:
    """An absolute folder or a URL (s3://bucket/prefix, gs://, hdfs://) that every machine of a cluster can reach.

    Paths are relative to the working directory, the repository's root, and stay below it.

    Raises:
        ValueError: the address holds credentials, or is neither a URL nor an absolute folder.
    """

    url: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
        if "@" in parts.netloc or any(_SECRET.search(name) for name in names):  # messages and logs show it
            raise ValueError(
                "storage: holds a user, password or key, expected an address alone. Put credentials into "
                "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS)."
            )
        if not parts.scheme and not self.url.startswith("/"):
            raise ValueError(
                f"storage: found {self.url!r}, expected an absolute folder or a URL such as "
                "s3://bucket/prefix. Correct it."
            )

    def put(self, path: Path) -> None:
        """Store a file or folder as it is now, whole or not at all; unchanged content is not sent again.

        Hidden files, which others are still writing, stay behind.

        Raises:
            ValueError: nothing is there, a name leads outside the repository, or the storage cannot take it.
        """
        place = _place(path)
        if not path.exists():
            raise ValueError(f"{path}: no such file or folder, expected what is to be stored. Run `dvc repro`.")
        with _explained("put", self.url, path), _Note.locked(self.url, path) as note:
            disk, root = _opened(self.url)
            here = f"{root}/{place}"
            current = versions.current(disk, here)
            listed = versions.listed(path)
            if current is not None and note.tells(current, listed):
                return
            new = versions.digested(path, listed)
            if current is None or current.digest != new.digest:
                versions.send(disk, here, path, new)
            note.keep(new, listed)

    def get(self, path: Path) -> None:
        """Make `path` what was last put there, whole or not at all; what is here already is not fetched again.

        Raises:
            ValueError: nothing was put there, it is damaged, or the storage cannot be read.
        """
        place = _place(path)
        with _explained("get", self.url, path), _Note.locked(self.url, path) as note:
            disk, root = _opened(self.url)
            for left in reversed(range(_READS)):
                current = versions.current(disk, f"{root}/{place}")
                if current is None:
                    raise ValueError(
                        f"storage: holds no {path} at {self.url}, expected what another machine put "
                        "there. Let `storage` be one place that all nodes see."
                    )
                if path.exists() and note.tells(current, versions.listed(path)):
                    return
                try:
                    versions.fetch(disk, f"{root}/{place}/{current.version}", path, current)
                except FileNotFoundError:  # replaced meanwhile
                    if left == 0:
                        raise
                else:
                    note.keep(current, versions.listed(path))
                    return

    def has(self, path: Path) -> bool:
        """Whether anything was put at `path`.

        Raises:
            ValueError: the storage cannot be read.
        """
        place = _place(path)
        with _explained("look for", self.url, path):
            disk, root = _opened(self.url)
            return disk.get_file_info(f"{root}/{place}/{versions.CURRENT}").type == fs.FileType.File


def folders_of(files: Iterable[Path]) -> list[Path]:
    """The folders of many files, such as images, each once: they are carried whole, with one list for all files."""
    return list(dict.fromkeys(file.parent for file in files))


def private_folder(*names: str) -> Path:
    """A folder of this machine that belongs to this user alone, for copies and notes of what is stored.

    What was not used for a month is removed.

    Raises:
        ValueError: another user made it.
    """
    top = Path(tempfile.gettempdir()) / f"finetrack-{os.getuid()}"
    top.mkdir(mode=0o700, exist_ok=True)
    found = top.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o77 or top.is_symlink():
        raise ValueError(f"{top}: another user can write there, expected a folder of one's own. Remove it.")
    _forget_unused(top)
    folder = top.joinpath(*names)
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)  # used today
    return folder


@cache
def _forget_unused(top: Path) -> None:
    """Remove, once a process, the copies and notes that no one used or wrote for a month: they are made again."""
    for one in top.glob("*/*"):
        with contextlib.suppress(OSError):
            if time.time() - one.lstat().st_mtime > _KEPT_S:
                shutil.rmtree(one) if one.is_dir() else one.unlink()


class _Note:
    """What this machine knows of a path: which version it held when it last looked like this."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @classmethod
    @contextlib.contextmanager
    def locked(cls, url: str, path: Path) -> Iterator["_Note"]:
        """The note of a path, for one process of this machine at a time."""
        name = hashlib.sha256(f"{url}\0{Path.cwd() / path}".encode()).hexdigest()
        folder = private_folder("notes")
        with (folder / f"{name}.lock").open("w") as lock:
            os.utime(lock.fileno())
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield cls(folder / f"{name}.json")

    def tells(self, manifest: versions.Manifest, listed: dict[str, os.stat_result]) -> bool:
        """Whether the path, which looks like `listed`, holds the content of `manifest`."""
        try:
            return json.loads(self._file.read_text()) == [manifest.digest, _look(listed)]
        except (OSError, ValueError):
            return False

    def keep(self, manifest: versions.Manifest, listed: dict[str, os.stat_result]) -> None:
        """Remember it."""
        write_text(json.dumps([manifest.digest, _look(listed)]), self._file)


def _place(path: Path) -> str:
    """The path as it is called in the repository."""
    plain = PurePosixPath(os.path.normpath(path))
    if plain.is_absolute():
        with contextlib.suppress(ValueError):
            plain = plain.relative_to(Path.cwd())
    if plain.is_absolute() or ".." in plain.parts or not plain.parts:
        raise ValueError(
            f"{path}: lies outside the repository, expected a path below it: what machines hand each other has one "
            "name on all of them. Link it under data/<experiment>/."
        )
    return "/".join(plain_name(part, where=f"{path}: to be stored") for part in plain.parts)


def _look(listed: dict[str, os.stat_result]) -> str:
    """What changes when any file is written anew."""
    rows = [[name, one.st_size, one.st_mtime_ns, one.st_ino] for name, one in listed.items()]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


@cache
def _opened(url: str) -> tuple[fs.FileSystem, str]:
    """The file system of an address and the path in it.

    Raises:
        ValueError: a folder that is not there: made by each machine for itself, it would be no common one.
    """
    disk, root = fs.FileSystem.from_uri(url)
    if isinstance(disk, fs.LocalFileSystem) and not Path(root).is_dir():
        raise ValueError(
            f"storage: no folder {root} on {os.uname().nodename}, expected one that all nodes share. Mount or make it."
        )
    return disk, root.rstrip("/")


@contextlib.contextmanager
def _explained(doing: str, url: str, path: Path) -> Iterator[None]:
    """Errors of disks and networks as one line that a person can act on, without credentials."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        text = " ".join(str(error).split())
        for name, value in os.environ.items():
            if len(value) > 5 and _SECRET.search(name):
                text = text.replace(value, "***")
        remedy = _REMEDIES.get(getattr(error, "errno", None) or 0, "Check address, bucket, network and credentials.")
        raise ValueError(
            f"storage: cannot {doing} {path} at {url}: {text[:300]}; expected a place that "
            f"this machine can read and write. {remedy}"
        ) from error
