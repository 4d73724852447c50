"""Fingerprints: a short name for everything that a piece of work depends on.

What was finished under a fingerprint is never computed again, and nothing that was finished under another can be taken
for it. Finished work lies in `runs/<experiment>/work/`, which DVC does not see.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np


def fingerprint(**parts: Any) -> str:
    """Sixteen hexadecimal digits that change when any part does.

    Parts are plain values, dataclasses, arrays, and lists and dicts of these; a `Path` stands for the content of its
    file or folder, not for its name.

    >>> fingerprint(alpha=3.0) == fingerprint(alpha=3.0), fingerprint(alpha=3.0) == fingerprint(alpha=2.0)
    (True, False)
    """
    return hashlib.sha256(json.dumps(_plain(parts), sort_keys=True).encode()).hexdigest()[:16]


def content(path: Path) -> str:
    """Digest of a file's bytes, or of the names and bytes of all files of a folder.

    Raises:
        ValueError: nothing is there.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return hashlib.sha256("".join(f"{f.relative_to(path)}\0{content(f)}\n" for f in files).encode()).hexdigest()
    if not path.is_file():
        raise ValueError(f"{path}: no such file or folder, expected what an earlier stage made. Run `dvc repro`.")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return content(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return [
            str(value.dtype),
            list(value.shape),
            hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest(),
        ]
    return value
