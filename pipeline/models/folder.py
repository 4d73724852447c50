"""Model folders: safetensors and a JSON card, written whole or not at all. No pickle, so nothing read can run code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from pipeline.folders import replacing_folder
from pipeline.tables import read_card

WEIGHTS, CARD = "model.safetensors", "card.json"


def save_model(folder: Path, weights: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write a model folder, weights and a JSON card, whole or not at all; equal content gives equal bytes."""
    plain = {name: x.detach().cpu().contiguous() for name, x in weights.items()}
    with replacing_folder(folder) as new:
        safetensors.torch.save_file(plain, new / WEIGHTS)
        (new / CARD).write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")


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
    return read_card(folder / CARD)


def _refuse_missing(path: Path) -> None:
    if not path.is_file():
        raise ValueError(
            f"{path.parent}: no {path.name}, expected a model folder of {WEIGHTS} and {CARD}. "
            "Run `dvc repro`, or `dvc pull` where it is cached."
        )


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, on the CPU.

    Raises:
        ValueError: the file is cut short or is no safetensors file.
    """
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: {error}; expected safetensors. Make or download the file again.") from error
