"""One path of a storage: its versions, each in a folder of its own, and the list of the current one, written last.

A reader finds the old version or the new one, whole, whoever else writes or dies meanwhile.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

import pyarrow as pa
from pyarrow import fs

from pipeline.folders import plain_name, replacing_folder
from pipeline.params import parse
from pipeline.tables import replacing

One = TypeVar("One")
Result = TypeVar("Result")

CURRENT = ".current"  # paths of the repository hold no hidden names, so these are never one
_VERSION = re.compile(r"\.[0-9a-f]{64}-[0-9a-f]{8}")
_CHUNK = 2**22  # bytes
_SIDE_BY_SIDE = 16  # files; a small one on S3 is all latency
_ABANDONED_S = 24 * 3600.0  # after which a version that no list names was left by a killed process


@dataclass(frozen=True)
class File:
    """One file of a version: its name below the path (empty for a path that is a file), its size and digest."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a path holds, and the folder beside the list where it lies."""

    kind: Literal["file", "folder"]
    version: str
    files: tuple[File, ...]

    @property
    def digest(self) -> str:
        """What was put, without the put itself."""
        return self.version[1:65]


def listed(path: Path) -> dict[str, os.stat_result]:
    """Every file of a path by its name below it, in order; links are followed, hidden names left out."""
    if not path.is_dir():
        return {"": path.stat()}
    found = {}
    for folder, subfolders, names in os.walk(path, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                file = Path(folder, name)
                found[file.relative_to(path).as_posix()] = file.stat()
    return dict(sorted(found.items()))


def digested(path: Path, names: Iterable[str]) -> Manifest:
    """The manifest of a path as it is now, under a version of its own."""

    def of_file(name: str) -> File:
        for part in PurePosixPath(name).parts:
            plain_name(part, where=f"{path}: to be stored")
        with (path / name).open("rb") as file:
            return File(name, os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest())

    files = tuple(_side_by_side(of_file, names))
    kind: Literal["file", "folder"] = "folder" if path.is_dir() else "file"
    whole = json.dumps([kind, [dataclasses.astuple(one) for one in files]])
    return Manifest(kind, f".{hashlib.sha256(whole.encode()).hexdigest()}-{os.urandom(4).hex()}", files)


def current(disk: fs.FileSystem, here: str) -> Manifest | None:
    """What the storage holds under a path.

    Raises:
        ValueError: the list is damaged, or names a file outside its version.
    """
    where = f"{here}/{CURRENT}"
    if disk.get_file_info(where).type != fs.FileType.File:
        return None
    with disk.open_input_stream(where, compression=None) as stream:
        text = stream.read()
    try:
        found = parse(json.loads(text), Manifest, where=where)
        names = [one.name for one in found.files]
        if not _VERSION.fullmatch(found.version) or len(set(names)) != len(names):
            raise ValueError(f"{where}: found version {found.version!r:.100}, expected a plain one and each file once.")
        if found.kind == "file" and names != [""]:
            raise ValueError(f"{where}: found files {names!r:.100}, expected one without a name.")
        for part in (part for name in names if found.kind == "folder" for part in name.split("/")):
            plain_name(part, where=where)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{error} Delete the folder {here} from the storage: it is made again.") from error
    return found


def send(disk: fs.FileSystem, here: str, path: Path, new: Manifest) -> None:
    """Store a new version of `path`, then name it in the list, then remove the one that it replaces."""
    folder = f"{here}/{new.version}"

    def send_file(one: File) -> None:
        with (path / one.name).open("rb") as source:
            digest = _copy(source.read, disk, f"{folder}/{one.name or path.name}")
        if digest != one.sha256:
            raise ValueError(f"{path / one.name}: changed while it was read, expected it finished. Run again.")

    try:
        _side_by_side(send_file, new.files)
        text = json.dumps(dataclasses.asdict(new)).encode()
        replaced = current(disk, here)
        _write_current(disk, here, text)
    except BaseException:
        with contextlib.suppress(OSError, pa.ArrowException):
            disk.delete_dir(folder)
        raise
    _tidy(disk, here, keep=new.version, replaced=replaced.version if replaced else None)


def _write_current(disk: fs.FileSystem, here: str, text: bytes) -> None:
    """Write the list, at once: object stores show what was written when it is whole, folders what was renamed."""
    where = f"{here}/{CURRENT}"
    if not isinstance(disk, fs.LocalFileSystem):
        _copy(_once(text), disk, where)
        return
    temporary = f"{where}-{os.urandom(4).hex()}"
    try:
        _copy(_once(text), disk, temporary)
        disk.move(temporary, where)
    finally:
        if disk.get_file_info(temporary).type == fs.FileType.File:
            disk.delete_file(temporary)


def _tidy(disk: fs.FileSystem, here: str, *, keep: str, replaced: str | None) -> None:
    """Remove the version that was replaced, and those that a killed process left; what fails is left for the next."""
    with contextlib.suppress(OSError, pa.ArrowException):
        for one in disk.get_file_info(fs.FileSelector(here)):
            is_version = one.type == fs.FileType.Directory and _VERSION.fullmatch(one.base_name)
            if is_version and one.base_name != keep and (one.base_name == replaced or _is_abandoned(disk, one.path)):
                disk.delete_dir(one.path)


def _is_abandoned(disk: fs.FileSystem, folder: str) -> bool:
    files = disk.get_file_info(fs.FileSelector(folder, recursive=True))
    times = [one.mtime_ns / 1e9 for one in files if one.type == fs.FileType.File and one.mtime_ns is not None]
    return bool(times) and time.time() - max(times) > _ABANDONED_S


def fetch(disk: fs.FileSystem, folder: str, path: Path, manifest: Manifest) -> None:
    """Replace `path` by a version of it, digests checked."""

    def fetch_file(one: File, to: Path) -> None:
        to.parent.mkdir(parents=True, exist_ok=True)
        with disk.open_input_stream(f"{folder}/{one.name or path.name}", compression=None) as stream:
            digest = _copy(stream.read, fs.LocalFileSystem(), str(to))
        if digest != one.sha256:
            raise ValueError(
                f"storage: {folder}/{one.name} is damaged, expected sha256 {one.sha256[:12]}, found "
                f"{digest[:12]}. Delete the folder from the storage: it is made again."
            )

    if manifest.kind == "file":
        if path.is_dir():
            shutil.rmtree(path)
        with replacing(path) as temporary:
            fetch_file(manifest.files[0], temporary)
        return
    if path.is_file():
        path.unlink()
    with replacing_folder(path) as new:
        _side_by_side(lambda one: fetch_file(one, new / one.name), manifest.files)


def _copy(read: Callable[[int], bytes], disk: fs.FileSystem, to: str) -> str:
    """Write all that `read` gives; its sha256."""
    digest = hashlib.sha256()
    if isinstance(disk, fs.LocalFileSystem):
        disk.create_dir(str(PurePosixPath(to).parent), recursive=True)
    with disk.open_output_stream(to, compression=None) as stream:
        while chunk := read(_CHUNK):
            digest.update(chunk)
            stream.write(chunk)
    return digest.hexdigest()


def _once(text: bytes) -> Callable[[int], bytes]:
    waiting = [b"", text]
    return lambda _: waiting.pop()


def _side_by_side(function: Callable[[One], Result], items: Iterable[One]) -> list[Result]:
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        return list(pool.map(function, items))
