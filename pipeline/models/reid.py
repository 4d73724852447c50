"""FineTrack's Re-ID network: from target features to part and global embeddings (section 3, Fig. 2)."""

from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.models.fafpn import FAFPN, FPN, Levels
from pipeline.models.mpmg import MPMG


@dataclass(frozen=True)
class ReIDHead:
    """Shape of the network: `neck` and `pool` choose the rows of Tables 4 and 5, the numbers are the paper's 4.1.

    `channels` is F_reid's width and `mask_per_head` one part's share of F_mask's, which is `parts` times as wide
    (Choice: 256 and 32, the paper gives neither). `rectify` ends FAFPN's F_reid with ReLU. `chunk` bounds the targets
    attended at a time, 0 means all; it changes memory and time only.

    Raises:
        ValueError: a size below 1, or a negative `chunk`.
    """

    neck: Literal["fpn", "fafpn_nofam", "fafpn"] = "fafpn"
    pool: Literal["gap", "mpmg"] = "mpmg"
    channels: int = 256
    mask_per_head: int = 32
    parts: int = 6
    part_dim: int = 128
    global_dim: int = 256
    rectify: bool = False
    chunk: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), int(field.name != "chunk")
            if type(value) is int and value < least:
                raise ValueError(f"{field.name} is {value}, expected {least} or more. Correct the value.")

    @property
    def heads(self) -> int:
        """Number of part embeddings K: none under global average pooling."""
        return self.parts if self.pool == "mpmg" else 0

    @property
    def dim(self) -> int:
        """Length of the descriptor: 6 x 128 + 256 = 1024 in the paper."""
        return self.heads * self.part_dim + self.global_dim


class Embeddings(NamedTuple):
    """What the network says of each target; row i is target i.

    `parts` and `global_` are the paper's f_part and f_global, as the losses want them: not normalised. `masks` are
    M_part in (0, 1). `descriptor` is what the tracker compares: parts in order, then global, of unit length.
    """

    parts: Float[Tensor, "targets parts part_dim"]
    global_: Float[Tensor, "targets global_dim"]
    masks: Float[Tensor, "targets parts height width"]
    descriptor: Float[Tensor, "targets dim"]


class Logits(NamedTuple):
    """Scores of each target for each identity, by each part embedding and by the global one."""

    parts: Float[Tensor, "targets parts identities"]
    global_: Float[Tensor, "targets identities"]


class FineTrackReID(nn.Module):
    """Neck, part masks, weighted pooling and two fully connected layers (Fig. 2, steps 3 to 5).

    Choice: the layer that makes part embeddings is one for all parts, because the paper counts two layers; both have a
    bias and nothing after it. The descriptor is normalised once, as a whole.
    Choice: under global average pooling there is the global embedding alone, of the mean of F_reid.
    """

    def __init__(self, head: ReIDHead, in_channels: tuple[int, ...]) -> None:
        super().__init__()
        self.head = head
        mask_channels = head.heads * head.mask_per_head
        if head.neck == "fpn":
            self.neck: nn.Module = FPN(in_channels, head.channels, mask_channels)
        else:
            align = head.neck == "fafpn"
            self.neck = FAFPN(in_channels, head.channels, mask_channels, align=align, rectify=head.rectify)
        self.to_global = nn.Linear(head.channels, head.global_dim)
        if head.heads:
            self.mpmg = MPMG(head.parts, head.mask_per_head, head.chunk)
            self.to_part = nn.Linear(head.channels, head.part_dim)

    def forward(self, levels: Levels) -> Embeddings:
        """Embed the targets whose feature maps `levels` holds from fine to coarse, each (targets, channels, h, w)."""
        # Everything that follows is faster on channels-last maps, on CPU and GPU.
        levels = tuple(level.contiguous(memory_format=torch.channels_last) for level in levels)
        mask_map, reid_map = self.neck(levels)
        if self.head.heads:
            masks = self.mpmg(mask_map)
            parts = self.to_part(weighted_pool(reid_map, masks))
            whole = weighted_pool(reid_map, masks.amax(dim=1, keepdim=True)).squeeze(1)
        else:
            masks = mask_map
            parts = mask_map.new_zeros(len(mask_map), 0, self.head.part_dim)
            whole = reid_map.mean(dim=(2, 3))
        global_ = self.to_global(whole)
        descriptor = F.normalize(torch.cat([parts.flatten(1), global_], dim=1))
        return Embeddings(parts, global_, masks, descriptor)


class Classifiers(nn.Module):
    """A linear layer to the identities for each part and one for the global embedding (section 3.4, Eqs. 3 to 5).

    They serve training and are no part of the saved network. Choice: no BNNeck before them, for the paper classifies
    the embeddings themselves.
    """

    def __init__(self, identities: int, head: ReIDHead) -> None:
        super().__init__()
        self.parts = nn.ModuleList([nn.Linear(head.part_dim, identities) for _ in range(head.heads)])
        self.global_ = nn.Linear(head.global_dim, identities)

    def forward(self, embeddings: Embeddings) -> Logits:
        """Score every embedding for every identity."""
        whole = self.global_(embeddings.global_)
        each = [classify(part) for classify, part in zip(self.parts, embeddings.parts.unbind(1), strict=True)]
        return Logits(torch.stack(each, dim=1) if each else whole.new_zeros(len(whole), 0, whole.shape[1]), whole)


def weighted_pool(
    features: Float[Tensor, "targets channels height width"],
    masks: Float[Tensor, "targets masks height width"],
) -> Float[Tensor, "targets masks channels"]:
    """Mean of `features` weighted by each mask (section 3.1, "weighted pooling").

    Choice: divided by the mask's sum, so that a small mask gives as long a feature as a large one.
    """
    flat = masks.flatten(2)
    return flat @ features.flatten(2).transpose(1, 2) / (flat.sum(dim=2, keepdim=True) + 1e-6)
