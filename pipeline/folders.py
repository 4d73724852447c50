"""Folders of results, written whole or not at all, and the names that stay inside them."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_LONGEST_NAME = 200  # bytes; file systems take 255, endings and temporary prefixes included


def plain_name(name: str, *, where: str) -> str:
    """`name` itself, once it is known to be one that no path made of it can leave its folder.

    >>> plain_name("MOT17-02-FRCNN", where="seqinfo.ini: name")
    'MOT17-02-FRCNN'

    Raises:
        ValueError: it is empty, hidden, too long or not printable, or holds a slash or backslash.
    """
    if not name or name[0] == "." or not name.isprintable() or set(name) & set("/\\"):
        raise ValueError(f"{where}: found {name!r}, expected a plain name without slashes or a first dot. Rename it.")
    if len(name.encode()) > _LONGEST_NAME:
        raise ValueError(f"{where}: found a name of {len(name)} letters, expected a file's name. Shorten it.")
    return name


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `path` if the block succeeds and vanishes if it does not.

    What stood at `path` stays until then, and nothing of it afterwards. All is on disk before the folder takes its
    name. A kill between the last two renames leaves the old folder under a hidden name beside it; at no moment does
    `path` hold parts of a result or parts of two.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    new = workplace / "new"
    try:
        new.mkdir()
        yield new
        for written in (*new.rglob("*"), new):
            _sync(written)
    except BaseException:
        shutil.rmtree(workplace)
        raise
    if path.exists():
        path.rename(workplace / "old")
    new.rename(path)
    _sync(path.parent)
    shutil.rmtree(workplace)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
