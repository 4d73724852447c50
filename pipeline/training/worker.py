"""What a training loop knows of where it runs: its rank, its device, and whom to tell. No Ray here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn


def _itself(value):  # type: ignore[no-untyped-def]
    return value


def _silent(run: str, done: int, total: int, note: str) -> None:
    return None


def _is_here(path: Path) -> None:
    return None


@dataclass(frozen=True)
class Worker:
    """One of `world` processes that train together, or the only one.

    `wrap` makes a model average its gradients over the ranks, `total` sums a tensor over them, and `tell` takes the
    name of a run, how much of how much is done and a short note. Where machines share no disk, `keep` makes a file or
    folder outlive this machine and `bring` fetches what any machine kept under that path, if one did; else both do
    nothing. `pipeline.cluster.train` builds workers from Ray Train; `Worker.local()` runs the same loop in this
    process.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - a device is an immutable value
    wrap: Callable[[nn.Module], nn.Module] = _itself
    total: Callable[[Tensor], Tensor] = _itself
    tell: Callable[[str, int, int, str], None] = _silent
    keep: Callable[[Path], None] = _is_here
    bring: Callable[[Path], None] = _is_here

    @classmethod
    def local(cls, *, tell: Callable[[str, int, int, str], None] = _silent) -> "Worker":
        """The only worker, in this process, on the GPU where there is one."""
        return cls(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"), tell=tell)


def refuse_uneven(count: int, world: int, *, what: str) -> None:
    """Refuse a step that the workers cannot share equally, before any work.

    Raises:
        ValueError: `count` is no multiple of `world`.
    """
    if count % world:
        raise ValueError(
            f"cluster.yaml:workers: found {world}, expected a divisor of {what} = {count}. "
            "params.yaml fixes what a step is; change `workers`."
        )
