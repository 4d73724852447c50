"""What a user may put beside the sequences in data/<experiment>/: detections/, embeddings/ and weights/."""

import hashlib
import json
from pathlib import Path

from pipeline.tables import read_card, write_text

_SUFFIXES = (".pth", ".tar", ".pt", ".safetensors")


def supplied_detections(root: Path) -> Path | None:
    """The folder of given detections (pipeline.data.given), where there is one."""
    folder = root / "detections"
    return folder if folder.is_dir() else None


def supplied_embeddings(root: Path) -> Path | None:
    """The folder of embeddings of the given detections (pipeline.data.embeddings), where there is one.

    Raises:
        ValueError: there are no detections that they could describe.
    """
    folder = root / "embeddings"
    if not folder.is_dir():
        return None
    if supplied_detections(root) is None:
        raise ValueError(
            f"{folder}: embeddings without detections, expected those that they describe in {root / 'detections'}. "
            "Give them too (make repro ... DETECTIONS=folder)."
        )
    return folder


def supplied_weights(root: Path) -> Path | None:
    """The one checkpoint in `weights/` that the detector's training starts from, where there is one.

    Raises:
        ValueError: the folder holds several checkpoints, or none, or a link that leads nowhere.
    """
    folder = root / "weights"
    if not folder.is_dir():
        return None
    found = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    if len(found) != 1:
        raise ValueError(
            f"{folder}: found {[path.name for path in found]}, expected one checkpoint ({', '.join(_SUFFIXES)}). "
            "Keep the one to start from."
        )
    if not found[0].is_file():
        raise ValueError(f"{found[0]}: leads to no file, expected a checkpoint. Put it back or remove the link.")
    return found[0]


def write_weights_card(weights: Path | None, out: Path) -> None:
    """Write which weights there are, with their digest, so that stages depend on what they hold."""
    card = {"path": str(weights) if weights else None, "sha256": _digest(weights) if weights else None}
    write_text(json.dumps(card, indent=2) + "\n", out)


def read_weights_card(path: Path) -> Path | None:
    """The checkpoint that a card names.

    Raises:
        ValueError: the checkpoint is gone, or the card is none.
    """
    card = read_card(path)
    if "path" not in card or not isinstance(named := card["path"], str | None):
        raise ValueError(f"{path}: found {card!r:.80}, expected a `path` or null. Run `dvc repro -f`.")
    if named is not None and not Path(named).is_file():
        raise ValueError(
            f"{named}: no such file, expected the weights that {path} names. Put them back or run `dvc repro -f`."
        )
    return Path(named) if named else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
