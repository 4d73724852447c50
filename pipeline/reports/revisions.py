"""Tables of other Git revisions, out of DVC's cache: the one door to DVC's API."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def read_table(revision: str, path: Path) -> pa.Table:
    """The table that `path`, relative to the repository's root, was at a Git revision.

    Raises:
        ValueError: there is no such revision, or the table is not in the cache (or a remote); names `dvc pull`.
    """
    import dvc.api  # half a second to import, so only where it is needed
    from dvc.exceptions import DvcException
    from dvc.scm import RevError, SCMError

    try:
        with dvc.api.open(str(path), rev=revision, mode="rb") as file:
            return pq.read_table(pa.BufferReader(file.read()))
    except (RevError, SCMError) as error:
        raise ValueError(
            f"{revision}: no such folder, file or Git revision ({_line(error)}), expected one, or `paper`. Correct it."
        ) from error
    except (DvcException, FileNotFoundError, pa.ArrowInvalid) as error:
        raise ValueError(
            f"{revision}: {path} is not at hand ({_line(error)}), expected the table of that revision. "
            "Run `dvc pull` with that revision checked out, or `dvc fetch --all-commits`."
        ) from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
