"""What the Re-ID network minimises: identity, triplet and diversity losses (section 3.4, Eqs. 1 to 7).

`identities` are classes from 0, one a target. Targets are those of the whole batch: an identity occurs once a frame, so
positives lie in other frames. Every loss of nothing (no target, no part, no pair) is 0 and still back-propagates.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Scalar = Float[Tensor, ""]
Identities = Int[Tensor, " targets"]


@dataclass(frozen=True)
class ReIDLossWeights:
    """Weights of Eq. 7: `alpha` of the parts' losses, `beta` of the global ones, `gamma` of diversity."""

    alpha: float = 3.0
    beta: float = 0.3
    gamma: float = 2.0


@dataclass(frozen=True)
class ReIDLoss:
    """The weighted sum of Eq. 7 and its five terms before weighting."""

    total: Scalar
    part_classification: Scalar
    part_triplet: Scalar
    global_classification: Scalar
    global_triplet: Scalar
    diversity: Scalar


@runtime_checkable
class PerTarget(Protocol):
    """What is known of each target by its parts, (targets, parts, values), and as a whole, (targets, values)."""

    @property
    def parts(self) -> Tensor:
        """One row a part."""

    @property
    def global_(self) -> Tensor:
        """One row a target."""


def reid_loss(embeddings: PerTarget, logits: PerTarget, identities: Identities, weights: ReIDLossWeights) -> ReIDLoss:
    """Combine all terms (Eq. 7); without parts, as under global average pooling, only the global ones remain."""
    part_classification = classification(logits.parts, identities)
    part_triplet = triplet(embeddings.parts.transpose(0, 1), identities)
    global_classification = classification(logits.global_, identities)
    global_triplet = triplet(embeddings.global_, identities)
    spread = diversity(embeddings.parts)
    return ReIDLoss(
        total=weights.alpha * (part_classification + part_triplet)
        + weights.beta * (global_classification + global_triplet)
        + weights.gamma * spread,
        part_classification=part_classification,
        part_triplet=part_triplet,
        global_classification=global_classification,
        global_triplet=global_triplet,
        diversity=spread,
    )


def classification(logits: Float[Tensor, "targets *heads classes"], identities: Identities) -> Scalar:
    """Cross-entropy of the identity, the mean over targets and heads (Eqs. 3 to 5).

    Choice: no label smoothing, as in TransReID's configurations.
    """
    if logits.numel() == 0:
        return logits.sum()
    scores = logits.flatten(0, -2)
    return F.cross_entropy(scores, identities.repeat_interleave(len(scores) // len(logits)))


def triplet(features: Float[Tensor, "*heads targets dim"], identities: Identities) -> Scalar:
    """Soft-margin loss of each target's hardest positive and negative, the mean over targets and heads (Eqs. 1, 2).

    log(1 + exp(d_positive - d_negative)) with Euclidean distances of features as they are, not normalised
    (damo-cv/TransReID@dec5504, triplet_loss.py). Identities may occur any number of times.

    Choice: a target without another of its identity is kept, with itself as positive at distance 0, and still pushes
    others away; where all targets are of one identity nothing can be pushed and the loss is 0.
    """
    same = identities[:, None] == identities[None, :]
    if same.all() or features.numel() == 0:
        return features.sum() * 0
    # Not through the Gram matrix: it cancels for near features, and the root's gradient explodes on what is left.
    distances = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    positive = distances.masked_fill(~same, 0).amax(dim=-1)
    negative = distances.masked_fill(same, torch.inf).amin(dim=-1)
    return F.softplus(positive - negative).mean()


def diversity(parts: Float[Tensor, "targets parts dim"]) -> Scalar:
    """Mean cosine similarity of each two part embeddings of one target (Eq. 6), in [-1 / (parts - 1), 1].

    1 where all parts say the same, 0 where they are orthogonal.
    """
    targets, heads, _ = parts.shape
    if targets == 0 or heads < 2:
        return parts.sum() * 0
    unit = F.normalize(parts, dim=-1)
    similarity = unit @ unit.transpose(1, 2)
    different = ~torch.eye(heads, dtype=torch.bool, device=parts.device)
    return similarity[:, different].mean()
