"""The exponential moving average of weights that YOLOX evaluates and saves."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Ema:
    """A moving average of a model's floating-point parameters and buffers, at first a copy.

    The update number t keeps decay * (1 - exp(-t / 2000)) of the average, so that the first thousand steps
    count little. After Megvii/YOLOX@6ddff48, yolox/utils/ema.py, decay 0.9998 as in
    ifzhang/ByteTrack@d1bf019, yolox/core/trainer.py. Integer buffers (BatchNorm's counts of batches) are the
    model's latest. Give the model itself, not DDP's wrapper, whose names differ.
    """

    RAMP = 2000  # updates; yolox/utils/ema.py

    def __init__(self, model: nn.Module, *, decay: float = 0.9998):
        self.decay = decay
        self.updates = 0
        self._average = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the model's weights after an optimizer step."""
        self.updates += 1
        kept = self.decay * (1 - math.exp(-self.updates / self.RAMP))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self._average[name].lerp_(value, 1 - kept)
            else:
                self._average[name].copy_(value)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights under the model's names; later updates change them."""
        return dict(self._average)

    def load(self, state: Mapping[str, Tensor], *, updates: int) -> None:
        """Go on from weights that `state_dict` gave after `updates` updates.

        Raises:
            ValueError: the weights are of another model.
        """
        other = sorted({name for name, _ in _shapes(self._average) ^ _shapes(state)})
        if other:
            raise ValueError(
                f"averaged weights: {len(other)} tensors differ from the model's, such as {other[0]!r}; "
                "expected those of the same model. Resume from this run's own checkpoint."
            )
        for name, value in state.items():
            self._average[name].copy_(value)
        self.updates = updates


def _shapes(state: Mapping[str, Tensor]) -> set[tuple[str, torch.Size]]:
    return {(name, value.shape) for name, value in state.items()}
