"""A trained Re-ID head, built again from the model folder that keeps it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline import params
from pipeline.models.folder import load_model
from pipeline.models.reid import FineTrackReID, ReIDHead


def load_head(folder: Path) -> tuple[FineTrackReID, dict[str, Any]]:
    """The head of a model folder, in evaluation mode, and the folder's card.

    Raises:
        ValueError: the folder is not whole, or holds no Re-ID head.
    """
    weights, card = load_model(folder)
    return head_of(weights, card, where=str(folder)), card


def head_of(weights: Mapping[str, Tensor], card: Mapping[str, Any], *, where: str) -> FineTrackReID:
    """The head that a card describes, in evaluation mode, with its weights; `where` opens every message.

    Raises:
        ValueError: the card is not that of a Re-ID head, or the weights are not of its shape.
    """
    settings = settings_of(card, where=where)
    in_channels = params.parse(card.get("in_channels"), tuple[int, ...], where=f"{where}: in_channels")
    model = FineTrackReID(settings, in_channels)
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        text = " ".join(str(error).split())[:200]
        raise ValueError(f"{where}: the weights are not the card's: {text}. Train it again.") from error
    return model.eval()


def settings_of(card: Mapping[str, Any], *, where: str) -> ReIDHead:
    """The shape of the head that a card describes.

    Raises:
        ValueError: the card is not that of a Re-ID head.
    """
    if card.get("kind") != "reid":
        raise ValueError(
            f"{where}: holds {card.get('kind')!r}, expected 'reid'. Give a folder that `train_reid` wrote."
        )
    return params.parse(card.get("head"), ReIDHead, where=f"{where}: head")
