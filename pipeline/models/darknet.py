"""CSPDarknet, YOLOX's backbone, with Megvii's names for every weight.

The layout follows Megvii/YOLOX@6ddff48 (yolox/models/darknet.py, network_blocks.py), so that its checkpoints
and ByteTrack's fit: beside the names, orders of concatenation and BatchNorm's two constants have to agree.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Size = Literal["nano", "tiny", "s", "m", "l", "x"]
Images = Float[Tensor, "batch 3 height width"]
Map = Float[Tensor, "batch _channels _rows _columns"]
Same = Float[Tensor, "batch channels rows columns"]


@dataclass(frozen=True)
class Multipliers:
    """What a size means: factors on blocks and channels, and the kind of 3x3 convolution."""

    depth: float
    width: float
    depthwise: bool = False


SIZES: Mapping[Size, Multipliers] = {
    "nano": Multipliers(0.33, 0.25, depthwise=True),
    "tiny": Multipliers(0.33, 0.375),
    "s": Multipliers(0.33, 0.50),
    "m": Multipliers(0.67, 0.75),
    "l": Multipliers(1.0, 1.0),
    "x": Multipliers(1.33, 1.25),
}


class Conv(nn.Module):
    """Convolution without bias, BatchNorm, SiLU; "same" padding for odd kernels."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
        # eps and momentum are no part of a state dict: PyTorch's own would silently degrade every checkpoint.
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)

    def forward(self, x: Map) -> Map:
        """Outputs for each cell, rows and columns divided by the stride."""
        return F.silu(self.bn(self.conv(x)), inplace=True)


class DepthwiseConv(nn.Module):
    """A convolution per channel, then one over channels: what `Conv` becomes in YOLOX-nano."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1):
        super().__init__()
        self.dconv = Conv(inputs, inputs, kernel, stride, groups=inputs)
        self.pconv = Conv(inputs, outputs, 1)

    def forward(self, x: Map) -> Map:
        """Outputs for each cell, rows and columns divided by the stride."""
        return self.pconv(self.dconv(x))


def spatial_conv(inputs: int, outputs: int, stride: int = 1, *, depthwise: bool) -> nn.Module:
    """A 3x3 convolution block of the model's kind."""
    return DepthwiseConv(inputs, outputs, 3, stride) if depthwise else Conv(inputs, outputs, 3, stride)


class Bottleneck(nn.Module):
    """1x1 then 3x3 convolution, added to their input if there is a shortcut."""

    def __init__(self, channels: int, *, shortcut: bool, depthwise: bool):
        super().__init__()
        self.conv1 = Conv(channels, channels, 1)
        self.conv2 = spatial_conv(channels, channels, depthwise=depthwise)
        self.shortcut = shortcut

    def forward(self, x: Same) -> Same:
        """The same shape as `x`."""
        y = self.conv2(self.conv1(x))
        return x + y if self.shortcut else y


class CSPLayer(nn.Module):
    """`blocks` bottlenecks on half of the channels, beside the other half, joined by a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, blocks: int, *, shortcut: bool, depthwise: bool):
        super().__init__()
        hidden = outputs // 2
        self.conv1 = Conv(inputs, hidden, 1)
        self.conv2 = Conv(inputs, hidden, 1)
        self.conv3 = Conv(2 * hidden, outputs, 1)
        self.m = nn.Sequential(*(Bottleneck(hidden, shortcut=shortcut, depthwise=depthwise) for _ in range(blocks)))

    def forward(self, x: Float[Tensor, "batch inputs rows columns"]) -> Float[Tensor, "batch outputs rows columns"]:
        """Outputs for each cell of `x`."""
        return self.conv3(torch.cat((self.m(self.conv1(x)), self.conv2(x)), dim=1))


class SPP(nn.Module):
    """Spatial pyramid pooling: the map beside its maxima over 5x5, 9x9 and 13x13 cells."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = Conv(channels, channels // 2, 1)
        self.conv2 = Conv(channels // 2 * 4, channels, 1)

    def forward(self, x: Same) -> Same:
        """The same shape as `x`."""
        pooled = [self.conv1(x)]
        # A 5x5 maximum of a 5x5 maximum is a 9x9 one, to the bit, at a fraction of its cost.
        for _ in range(3):
            pooled.append(F.max_pool2d(pooled[-1], kernel_size=5, stride=1, padding=2))
        return self.conv2(torch.cat(pooled, dim=1))


class Focus(nn.Module):
    """Halve the resolution by stacking each 2x2 neighbourhood into channels, then a 3x3 convolution."""

    def __init__(self, outputs: int):
        super().__init__()
        self.conv = Conv(12, outputs, 3)

    def forward(self, images: Images) -> Float[Tensor, "batch channels height//2 width//2"]:
        """Half the rows and columns; the corners stack as top left, bottom left, top right, bottom right."""
        top, bottom = images[..., ::2, :], images[..., 1::2, :]
        corners = (top[..., ::2], bottom[..., ::2], top[..., 1::2], bottom[..., 1::2])
        return self.conv(torch.cat(corners, dim=1))


class CSPDarknet(nn.Module):
    """The stem and four stages dark2..dark5 at strides 4, 8, 16 and 32.

    `depth` and `width` multiply the numbers of bottlenecks and of channels; dark2 has `2 * int(64 * width)`
    channels and each further stage twice as many.
    """

    def __init__(self, *, depth: float, width: float, depthwise: bool):
        super().__init__()
        base, blocks = int(64 * width), max(round(3 * depth), 1)
        self.stem = Focus(base)
        self.dark2 = _stage(base, blocks, depthwise=depthwise)
        self.dark3 = _stage(2 * base, 3 * blocks, depthwise=depthwise)
        self.dark4 = _stage(4 * base, 3 * blocks, depthwise=depthwise)
        self.dark5 = nn.Sequential(
            spatial_conv(8 * base, 16 * base, 2, depthwise=depthwise),
            SPP(16 * base),
            CSPLayer(16 * base, 16 * base, blocks, shortcut=False, depthwise=depthwise),
        )

    def maps(self, images: Images) -> Iterator[tuple[str, Map]]:
        """Yield (name, map) from shallow to deep; stop asking and nothing deeper is computed."""
        x = self.stem(images)
        for name in ("dark2", "dark3", "dark4", "dark5"):
            x = getattr(self, name)(x)
            yield name, x


def _stage(channels: int, blocks: int, *, depthwise: bool) -> nn.Sequential:
    return nn.Sequential(
        spatial_conv(channels, 2 * channels, 2, depthwise=depthwise),
        CSPLayer(2 * channels, 2 * channels, blocks, shortcut=True, depthwise=depthwise),
    )
