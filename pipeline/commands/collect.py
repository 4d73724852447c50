"""`finetrack collect`: a sweep's table and page home from the storage of a cluster."""

import contextlib
import shutil
import tempfile
from pathlib import Path

from pipeline import tables
from pipeline.folders import replacing_folder
from pipeline.storage import Storage
from pipeline.sweeps import stored
from pipeline.sweeps.results import refuse_other

_FILES = ("index.html", "trials.parquet")


def run(url: str, into: Path, replace: bool = False) -> int:
    """Bring `reports/sweeps/<name>` of the storage at `url` to the folder of that name here, whole or not at all.

    Raises:
        ValueError: the storage holds no such sweep, what it holds is no whole sweep, or `into` differs from it and is
            not to be replaced.
    """
    storage, name = Storage(url), into.name
    if into != stored.outcome(name):
        raise ValueError(f"--into: found {into}, expected reports/sweeps/<name>. Name the sweep there.")
    if not storage.has(into):
        raise ValueError(f"{url}: no {into}, expected a sweep that ended; {_told(name, storage)}")
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.chdir(folder):
            storage.get(into)
        found = Path(folder) / into
        trials = _checked(found, name, where=f"{url}: {into}")
        if into.exists() and _contents(into) == _contents(found):
            print(f"{into}: {trials} trials, here already")
            return 0
        if into.exists() and not replace:
            raise ValueError(f"{into}: holds another sweep, expected nothing or the same. Move it, or give --replace.")
        with replacing_folder(into) as new:
            shutil.copytree(found, new, dirs_exist_ok=True)
    print(f"{into}: {trials} trials")
    return 0


def _checked(folder: Path, name: str, *, where: str) -> int:
    """The number of trials of a folder that holds a table and a page, both whole."""
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if found != sorted(_FILES):
        raise ValueError(f"{where}: holds {found}, expected {sorted(_FILES)}. Submit the sweep again.")
    try:
        table = tables.read_any(folder / "trials.parquet")
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    refuse_other(table, name, where=f"{where}/trials.parquet")
    if not (folder / "index.html").read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise ValueError(f"{where}/index.html: ends before </html>, expected a whole page. Submit the sweep again.")
    return len(set(table["trial"].to_pylist()))


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _told(name: str, storage: Storage) -> str:
    """What of a sweep without an outcome there is."""
    try:
        trials = stored.kept(name, storage)
    except ValueError as error:
        return f"nor is it known what else: {error}"
    if trials is None:
        return f"its inputs are not there either. `finetrack send {name}` and submit its job."
    return f"there are its inputs and {trials} finished trials. Its job still runs, or is to be submitted again."
