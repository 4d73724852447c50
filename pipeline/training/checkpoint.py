"""Where an unfinished training run stands: everything a restarted one needs to end with the same weights."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.models.folder import load_model, save_model

_NAME = re.compile(r"epoch-(\d{5})")


def save(folder: Path, epoch: int, model: nn.Module, optimizer: torch.optim.Optimizer, **more: Any) -> None:
    """Write the state after `epoch` epochs into `folder`, then remove the older ones.

    `more` holds further state dictionaries of tensors (such as an EMA's) and plain values for the card (such as the
    loss curve so far). Safetensors and JSON only.
    """
    states = {"model": model.state_dict(), "optimizer": _optimizer_tensors(optimizer)}
    states |= {name: value for name, value in more.items() if _is_state(value)}
    card = {name: value for name, value in more.items() if not _is_state(value)}
    tensors = {f"{name}/{key}": tensor for name, state in states.items() for key, tensor in state.items()}
    save_model(folder / f"epoch-{epoch:05d}", tensors, {**card, "epoch": epoch})
    for older in _finished(folder)[:-1]:
        shutil.rmtree(older)


def latest(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]] | None:
    """The newest state in `folder` as state dictionaries by name, and its card; None when there is none."""
    finished = _finished(folder)
    if not finished:
        return None
    tensors, card = load_model(finished[-1])
    states: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        state, key = name.split("/", 1)
        states.setdefault(state, {})[key] = tensor
    return states, card


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimizer of the same parameters the per-parameter state it had; its settings stay as they are."""
    state = optimizer.state_dict()
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state["state"].setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict(state)


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": value for index, values in state.items() for key, value in values.items() if value is not None
    }


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(item, Tensor) for item in value.values())


def _finished(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("epoch-*") if _NAME.fullmatch(path.name)) if folder.is_dir() else []
