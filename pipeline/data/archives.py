"""Zip and tar archives of others, unpacked so that nothing can land outside the folder."""

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from pipeline.data.downloads import refuse_small_disk
from pipeline.progress import meter

Place = Callable[[PurePosixPath], PurePosixPath | None]

_MOST_GROWTH = 20  # unpacked bytes a byte of the archive; images hardly shrink, text does by about ten
_SMALL = 2**20  # below this growth does no harm
_BLOCK = 2**20
# RuntimeError is what zipfile raises for encrypted members and unknown methods.
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError)


@dataclass(frozen=True)
class _Member:
    """A file in an archive: its name there, bytes by its header, how to open it, and why it is refused, if it is."""

    name: str
    size: int
    open: Callable[[], Any]  # a binary file to read; zipfile's and tarfile's share no declared type
    fault: str | None


def unpack(archive: Path, folder: Path, place: Place) -> int:
    """Write the files of a zip or tar archive below `folder` and return how many there are.

    `place` gives each file's path below `folder`, or None to leave it out. All names are checked before anything is
    written, those left out too. Modes, owners and times are not taken over.

    Choice: links are refused wherever they lead: no data set here has any.

    Raises:
        ValueError: it is no whole archive; a member is a link or device, has an absolute path or one that leaves the
            folder, or comes twice; it unpacks to far more than its size; the disk is too small.
    """
    with _opened(archive) as members:
        _refuse_faults(archive, members)
        placed = [(target, one) for one in members if (target := place(PurePosixPath(one.name))) is not None]
        needed = sum(one.size for _, one in placed)
        _refuse_bomb(archive, needed)
        folder.mkdir(parents=True, exist_ok=True)
        refuse_small_disk(folder, needed, f"what {archive.name} holds")
        with meter(f"unpack {archive.name}", len(placed)) as bar:
            for number, (target, one) in enumerate(placed, start=1):
                _write(one, folder / target, archive)
                bar.show(number)
    return len(placed)


@contextmanager
def _opened(archive: Path) -> Iterator[list[_Member]]:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                yield [_zip_member(opened, info) for info in opened.infolist() if not info.is_dir()]
        else:
            with tarfile.open(archive) as tar:
                yield [_tar_member(tar, info) for info in tar if not info.isdir()]
    except _DAMAGE as error:
        raise ValueError(
            f"{archive}: {error}; expected a whole zip or tar archive. Delete it and fetch it again."
        ) from error


def _zip_member(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    kind = stat.S_IFMT(info.external_attr >> 16)
    fault = None if kind in (0, stat.S_IFREG) else "is a link or device, expected a plain file"
    return _Member(info.filename, info.file_size, lambda: opened.open(info), fault or _fault_of_path(info.filename))


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    fault = None if info.isreg() else "is a link or device, expected a plain file"
    return _Member(info.name, info.size, lambda: tar.extractfile(info), fault or _fault_of_path(info.name))


def _fault_of_path(name: str) -> str | None:
    path = PureWindowsPath(name)  # knows both kinds of slashes, and drives
    if path.is_absolute() or path.drive or path.root:
        return "has an absolute path, expected one below the folder"
    if ".." in path.parts or not path.parts or "\\" in name or "\0" in name:
        return "has a path that may leave the folder, expected one below it"
    return None


def _refuse_faults(archive: Path, members: list[_Member]) -> None:
    for one in members:
        if one.fault:
            raise ValueError(f"{archive}: {one.name!r} {one.fault}. Nothing was unpacked; fetch it from its own page.")


def _refuse_bomb(archive: Path, needed: int) -> None:
    packed = archive.stat().st_size
    if needed > max(_SMALL, packed * _MOST_GROWTH):
        raise ValueError(
            f"{archive}: {packed} bytes would become {needed}, expected at most {_MOST_GROWTH} times as many. "
            "Fetch it from its own page."
        )


def _write(member: _Member, target: Path, archive: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with member.open() as source, target.open("xb") as file:
            while block := source.read(_BLOCK):
                file.write(block)
    except FileExistsError as error:
        raise ValueError(
            f"{archive}: {member.name!r} would be {target.name} a second time, expected it once. Fetch it again."
        ) from error
