"""The card of the feature stores: which file holds which sequence's targets, and what the files hold."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pipeline.inference.targets import SequenceTargets
from pipeline.tables import write_text

Kind = Literal["ground_truth", "detections"]
Store = tuple[str, str, Path]  # split, sequence, file


def store_paths(targets: Sequence[SequenceTargets], folder: Path) -> dict[Path, SequenceTargets]:
    """The store file of each sequence in `folder`, which is named for everything the stores are made from."""
    return {folder / f"{one.frames.split}-{one.frames.sequence}.arrow": one for one in targets}


def write_card(stores: Mapping[str, Mapping[Path, SequenceTargets]], settings: Mapping[str, Any], out: Path) -> None:
    """Write which store holds which targets, and the settings of the features.

    The card stands in for the stores, which may be too large to copy; their folders are named for what they hold.
    """
    card: dict[str, Any] = {"settings": dict(settings)}
    card |= {
        kind: [
            {"split": one.frames.split, "sequence": one.frames.sequence, "path": str(path)}
            for path, one in paths.items()
        ]
        for kind, paths in stores.items()
    }
    write_text(json.dumps(card, indent=2) + "\n", out)


def read_card(card: Path, kind: Kind) -> list[Store]:
    """The stores of one kind of targets.

    Raises:
        ValueError: no such card.
    """
    return [(one["split"], one["sequence"], Path(one["path"])) for one in _load(card)[kind]]


def feature_settings(card: Path) -> dict[str, Any]:
    """The settings that the stored features were computed with (inference.features.Features).

    Raises:
        ValueError: no such card.
    """
    return _load(card)["settings"]


def _load(card: Path) -> dict[str, Any]:
    if not card.is_file():
        raise ValueError(f"{card}: no such file, expected the card of the feature stores. Run `dvc repro`.")
    return json.loads(card.read_text(encoding="utf-8"))
