"""MPMG: soft masks of a target's parts, learned without mask labels (section 3.3, Fig. 5)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class PMG(nn.Module):
    """Part-mask generators side by side, each attending within its own block of channels (Fig. 5, one branch).

    A branch is a Non-Local block followed by a 1x1 convolution and a sigmoid. Branches share no parameter: a grouped
    convolution holds one separate set of weights a group, so `branches` of them are computed at the cost of one.

    Choice: embedded-Gaussian attention, softmax(q k^T / sqrt(e)) with e = dim / 2 as in Non-Local's original code
    (facebookresearch/video-nonlocal-net), because the paper speaks of an attention matrix in the sense of Transformers.
    Choice: values keep the block's width, since the paper adds them to the input without another convolution, and
    neither scale them nor sub-sample keys; all convolutions have biases.
    """

    def __init__(self, dim: int, branches: int = 1) -> None:
        super().__init__()
        inner = max(dim // 2, 1)
        self.query = nn.Conv2d(branches * dim, branches * inner, 1, groups=branches)
        self.key = nn.Conv2d(branches * dim, branches * inner, 1, groups=branches)
        self.value = nn.Conv2d(branches * dim, branches * dim, 1, groups=branches)
        self.mask = nn.Conv2d(branches * dim, branches, 1, groups=branches)
        self.branches = branches
        self.padding = dim - inner
        self.scale = inner**-0.5

    def forward(
        self, maps: Float[Tensor, "targets blocks height width"]
    ) -> Float[Tensor, "targets branches height width"]:
        """Give one mask a branch, in (0, 1)."""
        # Channels-last, or attention would read each query with a stride and copy everything first.
        maps = maps.contiguous(memory_format=torch.channels_last)
        # Zeros up to the values' width change no product, and fused kernels want one width for all three.
        query, key = (F.pad(self._tokens(project(maps)), (0, self.padding)) for project in (self.query, self.key))
        attended = F.scaled_dot_product_attention(query, key, self._tokens(self.value(maps)), scale=self.scale)
        attended = attended.transpose(2, 3).flatten(1, 2).unflatten(2, maps.shape[2:])
        return torch.sigmoid(self.mask(maps + attended))

    def _tokens(self, maps: Float[Tensor, "targets blocks height width"]) -> Float[Tensor, "targets branches pixels _"]:
        return maps.flatten(2).unflatten(1, (self.branches, -1)).transpose(2, 3)


class MPMG(nn.Module):
    """Multi-head Part Mask Generator: one PMG a part, each on its own block of F_mask's channels (Fig. 5).

    With `chunk` above 0, that many targets are attended at a time and recomputed in the backward pass, so that crowds
    fit in memory. Nothing here couples targets (there is no BatchNorm), so masks and gradients stay the same.
    """

    def __init__(self, parts: int, dim: int, chunk: int = 0) -> None:
        super().__init__()
        self.pmg = PMG(dim, branches=parts)
        self.chunk = chunk

    def forward(
        self, maps: Float[Tensor, "targets blocks height width"]
    ) -> Float[Tensor, "targets parts height width"]:
        """Give the part masks of F_mask, `dim` channels a part, in (0, 1)."""
        if not 0 < self.chunk < len(maps):
            return self.pmg(maps)
        chunks = maps.split(self.chunk)
        return torch.cat([checkpoint(self.pmg, some, use_reentrant=False, preserve_rng_state=False) for some in chunks])
