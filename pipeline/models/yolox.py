"""YOLOX, the detector: CSPDarknet, PAFPN and a decoupled anchor-free head.

Architecture and names of weights are those of Megvii/YOLOX@6ddff48 (yolox/models/yolo_pafpn.py, yolo_head.py)
and ifzhang/ByteTrack@d1bf019, whose detector the paper takes (section 4.1). The model never sees a target:
losses live in `pipeline.losses`.
"""

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval

# Loading is part of this module's public face.
from pipeline.models.checkpoint import load_checkpoint as load_checkpoint
from pipeline.models.darknet import SIZES, Conv, CSPDarknet, CSPLayer, Images, Map, Same, Size, spatial_conv

Level = Literal["dark2", "dark3", "dark4", "dark5", "pan3", "pan4", "pan5"]
# What the head says of a level: 4 regression channels, objectness, then the classes, all unbounded.
Raw = Float[Tensor, "batch outputs _rows _columns"]
LEVEL_STRIDES: Mapping[Level, int] = {
    "dark2": 4, "dark3": 8, "dark4": 16, "dark5": 32, "pan3": 8, "pan4": 16, "pan5": 32
}  # fmt: skip

_FRESH_LENGTH = 3**-0.5  # of a filter as torch's convolutions start: uniform up to 1 / sqrt(inputs)


def level_channels(level: Level, size: Size) -> int:
    """Channels of a level's map in a model of this size.

    >>> [level_channels(level, "x") for level in ("dark2", "dark3", "dark4", "dark5")]
    [160, 320, 640, 1280]
    """
    return int(32 * SIZES[size].width * LEVEL_STRIDES[level])


class PAFPN(nn.Module):
    """The backbone and its path-aggregation pyramid: top-down, then bottom-up again, strides 8, 16 and 32."""

    def __init__(self, *, depth: float, width: float, depthwise: bool):
        super().__init__()
        c3, c4, c5 = (int(channels * width) for channels in (256, 512, 1024))

        def csp(inputs: int, outputs: int) -> CSPLayer:
            return CSPLayer(inputs, outputs, round(3 * depth), shortcut=False, depthwise=depthwise)

        self.backbone = CSPDarknet(depth=depth, width=width, depthwise=depthwise)
        self.lateral_conv0 = Conv(c5, c4, 1)
        self.C3_p4 = csp(2 * c4, c4)
        self.reduce_conv1 = Conv(c4, c3, 1)
        self.C3_p3 = csp(2 * c3, c3)
        self.bu_conv2 = spatial_conv(c3, c3, 2, depthwise=depthwise)
        self.C3_n3 = csp(2 * c3, c4)
        self.bu_conv1 = spatial_conv(c4, c4, 2, depthwise=depthwise)
        self.C3_n4 = csp(2 * c4, c5)

    def maps(self, images: Images) -> Iterator[tuple[str, Map]]:
        """Yield (name, map): dark2..dark5, then pan3..pan5; stop asking and nothing further is computed."""
        dark = {}
        for name, x in self.backbone.maps(images):
            dark[name] = x
            yield name, x
        top = self.lateral_conv0(dark["dark5"])
        middle = self.reduce_conv1(self.C3_p4(torch.cat((_twice(top), dark["dark4"]), dim=1)))
        x = self.C3_p3(torch.cat((_twice(middle), dark["dark3"]), dim=1))
        yield "pan3", x
        x = self.C3_n3(torch.cat((self.bu_conv2(x), middle), dim=1))
        yield "pan4", x
        x = self.C3_n4(torch.cat((self.bu_conv1(x), top), dim=1))
        yield "pan5", x


class Head(nn.Module):
    """Classification and regression branches of their own on each level, 256 * width channels wide."""

    def __init__(self, *, width: float, depthwise: bool, classes: int):
        super().__init__()
        hidden = int(256 * width)

        def branch() -> nn.Sequential:
            return nn.Sequential(*(spatial_conv(hidden, hidden, depthwise=depthwise) for _ in range(2)))

        def predict(outputs: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv2d(hidden, outputs, 1) for _ in range(3))

        self.cls_convs = nn.ModuleList(branch() for _ in range(3))
        self.reg_convs = nn.ModuleList(branch() for _ in range(3))
        self.cls_preds, self.reg_preds, self.obj_preds = predict(classes), predict(4), predict(1)
        self.stems = nn.ModuleList(Conv(int(channels * width), hidden, 1) for channels in (256, 512, 1024))
        prior = 1e-2  # nearly every anchor is background; from 0.5 the first steps would only unlearn objects
        for layer in (*self.cls_preds, *self.obj_preds):
            nn.init.constant_(layer.bias, -math.log((1 - prior) / prior))

    def forward(self, pyramid: Sequence[Map]) -> tuple[Raw, ...]:
        """Undecoded predictions of each level."""
        return tuple(self._level(i, x) for i, x in enumerate(pyramid))

    def _level(self, i: int, x: Map) -> Raw:
        x = self.stems[i](x)
        regression = self.reg_convs[i](x)
        parts = (
            self.reg_preds[i](regression),
            self.obj_preds[i](regression),
            self.cls_preds[i](self.cls_convs[i](x)),
        )
        return torch.cat(parts, dim=1)


class YOLOX(nn.Module):
    """An anchor-free detector of `classes` kinds of objects: one prediction a cell at strides 8, 16 and 32.

    Images are float32 with height and width multiples of 32, in the input convention that the weights were
    trained with (`pipeline.data.frames.network_input`). `YOLOX.build` makes the published sizes, the
    constructor any other.
    """

    strides = (8, 16, 32)

    def __init__(self, *, depth: float, width: float, depthwise: bool = False, classes: int = 1):
        super().__init__()
        self.classes = classes
        self.backbone = PAFPN(depth=depth, width=width, depthwise=depthwise)
        self.head = Head(width=width, depthwise=depthwise, classes=classes)

    @classmethod
    def build(cls, size: Size, classes: int = 1) -> "YOLOX":
        """A model of a published size with fresh weights.

        >>> YOLOX.build("nano", classes=80)(torch.zeros(1, 3, 64, 96)).shape
        torch.Size([1, 126, 85])
        """
        chosen = SIZES[size]
        return cls(depth=chosen.depth, width=chosen.width, depthwise=chosen.depthwise, classes=classes)

    def forward(self, images: Images) -> Float[Tensor, "batch anchors outputs"]:
        """Decoded predictions: cx cy w h in pixels of `images`, objectness and class scores in [0, 1]."""
        return decode(self.raw(images), self.strides)

    def raw(self, images: Images) -> tuple[Raw, ...]:
        """Undecoded predictions of each level, strides 8, 16, 32: 4 regression channels, objectness, classes.

        Raises:
            ValueError: height or width is not a multiple of 32.
        """
        return self.head(self.backbone_maps(images, ("pan3", "pan4", "pan5")))

    def backbone_maps(self, images: Images, levels: Sequence[Level]) -> tuple[Map, ...]:
        """Feature maps by name, in the order asked for; nothing beyond the deepest one is computed.

        dark2..dark5 are CSPDarknet's, pan3..pan5 the pyramid's; `LEVEL_STRIDES` gives their strides.

        Raises:
            ValueError: a level has no such name, or height or width is not a multiple of 32.
        """
        unknown = [level for level in levels if level not in LEVEL_STRIDES]
        if unknown:
            raise ValueError(f"levels: found {unknown}, expected names of {list(LEVEL_STRIDES)}. Correct them.")
        height, width = images.shape[-2:]
        if height % 32 or width % 32:
            raise ValueError(
                f"images: found {height}x{width} pixels (height x width), expected multiples of 32. "
                "Choose such an input size."
            )
        found: dict[str, Map] = {}
        maps = self.backbone.maps(images)
        while not found.keys() >= set(levels):
            name, x = next(maps)
            found[name] = x
        return tuple(found[level] for level in levels)

    def fused(self) -> "YOLOX":
        """A copy for inference with each BatchNorm folded into its convolution: equal to rounding, faster.

        Its state dict has other names than a checkpoint's; it is not for training or saving.
        """
        model = copy.deepcopy(self).eval()
        for block in model.modules():
            if isinstance(block, Conv):
                block.conv = fuse_conv_bn_eval(block.conv, block.bn)
                block.bn = nn.Identity()  # type: ignore[assignment]
        return model


def is_folded(model: YOLOX) -> bool:
    """Whether BatchNorm's statistics are in the convolutions and its own say nothing, as in exported weights."""
    means = (value for name, value in model.state_dict().items() if name.endswith(".running_mean"))
    return not any(bool(mean.any()) for mean in means)


@torch.inference_mode()
def unfold(model: YOLOX, batches: Iterable[Images]) -> None:
    """Give folded weights BatchNorm statistics again, those of some images; predictions stay what they are.

    Folded weights predict well but cannot be trained as they are: BatchNorm, in training, would normalise maps that
    were made without it, and the first steps would undo what the network knows. The images are to be training images,
    as network input on the model's device.

    Choice: filters get the length of fresh ones. Before a BatchNorm their length means nothing to the prediction, but
    it sets how far a step of a given rate turns them.
    """
    was_training, blocks = model.training, [block for block in model.modules() if isinstance(block, Conv)]
    sums: dict[Conv, list[Tensor]] = {block: [] for block in blocks}

    def note(block: Conv, maps: Tensor) -> None:
        wide = maps.double()
        sums[block].append(torch.stack((wide.mean(dim=(0, 2, 3)), wide.square().mean(dim=(0, 2, 3)))))

    hooks = [block.bn.register_forward_pre_hook(lambda _, maps, block=block: note(block, maps[0])) for block in blocks]
    model.eval()
    for images in batches:
        model.raw(images)
    for hook in hooks:
        hook.remove()
    for block in blocks:
        mean, square = torch.stack(sums[block]).mean(dim=0)
        _set_statistics(block, mean.float(), (square - mean.square()).clamp(min=0).float())
    model.train(was_training)


def _set_statistics(block: Conv, mean: Float[Tensor, " outputs"], variance: Float[Tensor, " outputs"]) -> None:
    """Let a block's BatchNorm hold the statistics of its input without changing what the block gives."""
    bn = block.bn
    assert bn.running_mean is not None  # only a BatchNorm without statistics has none
    assert bn.running_var is not None
    gain = bn.weight / (bn.running_var + bn.eps).sqrt()
    offset = bn.bias - gain * bn.running_mean
    length = block.conv.weight.flatten(1).norm(dim=1)
    factor = torch.where(length > 0, _FRESH_LENGTH / length, 1.0)
    block.conv.weight.mul_(factor[:, None, None, None])
    bn.running_mean.copy_(factor * mean)
    bn.running_var.copy_(factor.square() * variance)
    bn.bias.copy_(offset + gain * mean)
    bn.weight.copy_(gain * (bn.running_var + bn.eps).sqrt() / factor)


def flatten(levels: Sequence[Raw]) -> Float[Tensor, "batch anchors outputs"]:
    """All levels' cells as one list of anchors: level by level, row by row, column by column."""
    return torch.cat([level.flatten(2) for level in levels], dim=2).transpose(1, 2)


def anchors(
    levels: Sequence[Raw], strides: Sequence[int]
) -> tuple[Float[Tensor, "anchors 2"], Float[Tensor, " anchors"]]:
    """The cell (column, row) and the stride in pixels of each anchor, in `flatten`'s order.

    In pixels of the input a cell's top-left corner is `cell * stride`, its centre `(cell + 0.5) * stride`.
    """
    cells, sizes = [], []
    for level, stride in zip(levels, strides, strict=True):
        rows, columns = (torch.arange(n, dtype=torch.float32, device=level.device) for n in level.shape[-2:])
        cells.append(torch.cartesian_prod(rows, columns).flip(1))
        sizes.append(torch.full((len(cells[-1]),), float(stride), device=level.device))
    return torch.cat(cells), torch.cat(sizes)


def decode(levels: Sequence[Raw], strides: Sequence[int]) -> Float[Tensor, "batch anchors outputs"]:
    """Boxes cx cy w h in pixels of the network's input, then objectness and class scores in [0, 1].

    Centre = (cell + offset) * stride, size = exp(log size) * stride; half-precision levels decode in float32.
    """
    flat = flatten(levels)
    flat = flat.to(torch.promote_types(flat.dtype, torch.float32))
    cells, stride = anchors(levels, strides)
    centres = (flat[..., :2] + cells) * stride[:, None]
    sizes = flat[..., 2:4].exp() * stride[:, None]
    return torch.cat((centres, sizes, flat[..., 4:].sigmoid()), dim=-1)


def _twice(x: Same) -> Float[Tensor, "batch channels 2*rows 2*columns"]:
    return F.interpolate(x, scale_factor=2, mode="nearest")
