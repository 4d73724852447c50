"""FAFPN: feature maps of several scales, aligned along learned flow and joined (section 3.2, Figs. 3 and 4).

A pyramid takes the maps of each target from fine to coarse and gives two maps of the finest size: F_mask, of which
masks are made, and F_reid, of which embeddings are pooled. `FPN` is the baseline of Table 4, `FAFPN(align=False)` the
row of Table 5 without FAM.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Levels = tuple[Float[Tensor, "targets _ _ _"], ...]


class RB(nn.Module):
    """Res-block: change the channels by a 1x1 convolution and BatchNorm, then add a residual (Fig. 4).

    Choice: the residual is 3x3 to a quarter of the channels and 3x3 back, ReLU after the sum, as in AlignSeg's block
    (speedinghzl/AlignSeg, alignseg.py:65-80); Tables 4 and 5 credit RB with most of FAFPN's gain, so it adds capacity.
    Without `rectify` the sum is the output.
    """

    def __init__(self, in_channels: int, channels: int, *, rectify: bool = True) -> None:
        super().__init__()
        self.rectify = rectify
        narrow = max(channels // 4, 1)
        self.unify = nn.Sequential(nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.residual = nn.Sequential(
            nn.Conv2d(channels, narrow, 3, padding=1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(
        self, maps: Float[Tensor, "targets in_channels height width"]
    ) -> Float[Tensor, "targets channels height width"]:
        """Give maps of the block's channels and of the same size."""
        unified = self.unify(maps)
        joined = unified + self.residual(unified)
        return F.relu(joined) if self.rectify else joined


class FAM(nn.Module):
    """Align a coarse map with a fine one along learned flow, then add them (Fig. 4).

    `fine` is the paper's f_h and `coarse` its f_l; `flow_down` moves `fine`, `flow_up` the enlarged `coarse`.

    Choice: both maps are joined, narrowed by a 1x1 convolution, BatchNorm and ReLU, and one 3x3 convolution predicts
    both flows (lxtGH/SFSegNets@ba475ba). It starts at zero, so training begins from plain addition.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        flow = nn.Conv2d(channels, 4, 3, padding=1, bias=False)
        nn.init.zeros_(flow.weight)
        self.flow = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            flow,
        )

    def forward(
        self,
        fine: Float[Tensor, "targets channels height width"],
        coarse: Float[Tensor, "targets channels coarse_height coarse_width"],
    ) -> Float[Tensor, "targets channels height width"]:
        """Give the sum of both maps, each warped by its own flow, at the size of `fine`."""
        coarse = enlarge(coarse, fine)
        flow_up, flow_down = self.flow(torch.cat([fine, coarse], dim=1)).split(2, dim=1)
        return warp(coarse, flow_up) + warp(fine, flow_down)


class Sum(nn.Module):
    """Add an enlarged coarse map to a fine one, as FPN does: what FAM replaces."""

    def forward(
        self,
        fine: Float[Tensor, "targets channels height width"],
        coarse: Float[Tensor, "targets channels coarse_height coarse_width"],
    ) -> Float[Tensor, "targets channels height width"]:
        """Give the sum at the size of `fine`."""
        return fine + enlarge(coarse, fine)


class Pyramid(nn.Module):
    """Laterals of one width, a top-down pass that merges them, two outputs: what FPN and FAFPN share.

    `block(in_channels, channels)` makes each lateral and the mask output, `last` the output of F_reid, `merge()` each
    module that joins a fine map with a coarse one. With no mask channels there is no mask output, so that no weight
    lies unused, and the mask map is empty.
    """

    def __init__(
        self,
        in_channels: tuple[int, ...],
        channels: int,
        mask_channels: int,
        *,
        block: Callable[[int, int], nn.Module],
        last: Callable[[int, int], nn.Module],
        merge: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
        self.laterals = nn.ModuleList([block(width, channels) for width in in_channels])
        self.merges = nn.ModuleList([merge() for _ in in_channels[1:]])
        self.mask = block(channels, mask_channels) if mask_channels else None
        self.reid = last(channels, channels)

    def forward(
        self, levels: Levels
    ) -> tuple[Float[Tensor, "targets mask_channels height width"], Float[Tensor, "targets channels height width"]]:
        """Give F_mask and F_reid of the targets whose maps `levels` holds from fine to coarse."""
        *finer, joined = [lateral(level) for lateral, level in zip(self.laterals, levels, strict=True)]
        for fine, merge in zip(reversed(finer), self.merges, strict=True):
            joined = merge(fine, joined)
        return joined[:, :0] if self.mask is None else self.mask(joined), self.reid(joined)


class FAFPN(Pyramid):
    """Flow Alignment FPN: RB for FPN's 1x1 convolutions, FAM for its sum (Fig. 3); `align=False` keeps the sum.

    Choice: no ReLU after the sum of F_reid's RB, unless `rectify`; FPN's output, a convolution, has none either. Means
    of what is nowhere negative point much the same way, whatever mask weighs them: on small real data the parts became
    copies of each other, and there Eq. 6 has no gradient.
    """

    def __init__(
        self,
        in_channels: tuple[int, ...],
        channels: int,
        mask_channels: int,
        *,
        align: bool = True,
        rectify: bool = False,
    ) -> None:
        merge = partial(FAM, channels) if align else Sum
        last = partial(RB, rectify=rectify)
        super().__init__(in_channels, channels, mask_channels, block=RB, last=last, merge=merge)


class FPN(Pyramid):
    """Feature pyramid of 1x1 convolutions and sums, the baseline of Table 4.

    Choice: its outputs are 1x1 convolutions too, where FAFPN has RB, and nothing smooths the sum: the rows then differ
    in RB and FAM alone.
    """

    def __init__(self, in_channels: tuple[int, ...], channels: int, mask_channels: int) -> None:
        block = partial(nn.Conv2d, kernel_size=1)
        super().__init__(in_channels, channels, mask_channels, block=block, last=block, merge=Sum)


def enlarge(
    coarse: Float[Tensor, "targets channels coarse_height coarse_width"],
    fine: Float[Tensor, "targets channels height width"],
) -> Float[Tensor, "targets channels height width"]:
    """Resample `coarse` bilinearly to the size of `fine`, corner pixels upon corner pixels."""
    return F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=True)


def warp(
    maps: Float[Tensor, "targets channels height width"], flow: Float[Tensor, "targets 2 height width"]
) -> Float[Tensor, "targets channels height width"]:
    """Fetch for each pixel what lies `flow` away from it: out[y, x] = maps[y + flow_y, x + flow_x], bilinear.

    `flow` is in pixels, x before y; what lies outside is zero. An axis of one pixel does not move.

    Choice: true pixels with aligned corners, where SFNet's unit is about half a pixel. Sampled in float32, because
    half precision cannot place a sample within a pixel.
    """
    height, width = maps.shape[-2:]
    dtype = torch.promote_types(flow.dtype, torch.float32)
    x = torch.linspace(-1, 1, width, device=flow.device, dtype=dtype) + flow[:, 0] * (2 / max(width - 1, 1))
    y = torch.linspace(-1, 1, height, device=flow.device, dtype=dtype)[:, None] + flow[:, 1] * (2 / max(height - 1, 1))
    return F.grid_sample(maps.to(dtype), torch.stack([x, y], dim=-1), align_corners=True).to(maps.dtype)
