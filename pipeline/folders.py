"""Folders of results, written whole or not at all."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `path` if the block succeeds and vanishes if it does not.

    What stood at `path` stays until then, and nothing of it afterwards.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    new = workplace / "new"
    new.mkdir()
    try:
        yield new
        if path.exists():
            path.rename(workplace / "old")
        new.rename(path)
    finally:
        shutil.rmtree(workplace)
