"""Model folders: safetensors and a JSON card, written whole or not at all. No pickle, so nothing read can run code."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

WEIGHTS, CARD = "model.safetensors", "card.json"


def save_model(folder: Path, weights: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write a model folder, weights and a JSON card, whole or not at all; equal content gives equal bytes.

    An existing folder is replaced. A kill between its last two renames leaves the old one under a hidden name
    beside it; at no moment does `folder` hold parts of a model or parts of two.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    new, old = workplace / "new", workplace / "old"
    try:
        _write_model(new, weights, card)
    except BaseException:
        shutil.rmtree(workplace)
        raise
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    _sync(folder.parent)
    shutil.rmtree(workplace)


def load_model(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights of a model folder by name, on the CPU, and its card.

    Raises:
        ValueError: the folder or a file in it is missing or unreadable.
    """
    card = load_card(folder)
    _refuse_missing(folder / WEIGHTS)
    return read_safetensors(folder / WEIGHTS), card


def load_card(folder: Path) -> dict[str, Any]:
    """The card of a model folder: what the weights are of and how they were trained.

    Raises:
        ValueError: the card is missing or unreadable.
    """
    _refuse_missing(folder / CARD)
    try:
        return json.loads((folder / CARD).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / CARD}: {error}; expected JSON. Delete the folder and run `dvc repro`.") from error


def _refuse_missing(path: Path) -> None:
    if not path.is_file():
        raise ValueError(
            f"{path.parent}: no {path.name}, expected a model folder of {WEIGHTS} and {CARD}. "
            "Run `dvc repro`, or `dvc pull` where it is cached."
        )


def _write_model(folder: Path, weights: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    folder.mkdir()
    plain = {name: x.detach().cpu().contiguous() for name, x in weights.items()}
    safetensors.torch.save_file(plain, folder / WEIGHTS)
    (folder / CARD).write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for written in (folder / WEIGHTS, folder / CARD, folder):
        _sync(written)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, on the CPU.

    Raises:
        ValueError: the file is cut short or is no safetensors file.
    """
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: {error}; expected safetensors. Make or download the file again.") from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
