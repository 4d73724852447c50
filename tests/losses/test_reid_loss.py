import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.losses.reid import ReIDLossWeights, classification, diversity, reid_loss, triplet

CLASSES = 5
batches = st.lists(st.integers(0, CLASSES - 1), max_size=9)


class PerTarget(NamedTuple):
    parts: torch.Tensor
    global_: torch.Tensor


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def brute_force_triplet(features: np.ndarray, identities: list[int]) -> float:
    losses = []
    for i, anchor in enumerate(features):
        distance = [math.dist(anchor, other) for other in features]
        positive = max(d for d, same in zip(distance, identities, strict=True) if same == identities[i])
        negatives = [d for d, other in zip(distance, identities, strict=True) if other != identities[i]]
        if negatives:
            losses.append(math.log(1 + math.exp(positive - min(negatives))))
    return float(np.mean(losses)) if losses else 0.0


def brute_force_classification(logits: np.ndarray, identities: list[int]) -> float:
    losses = []
    for scores, identity in zip(logits, identities, strict=True):
        for head in scores:
            losses.append(math.log(sum(math.exp(s) for s in head)) - head[identity])
    return float(np.mean(losses)) if losses else 0.0


def brute_force_diversity(parts: np.ndarray) -> float:
    heads = parts.shape[1]
    pairs = [
        float(target[i] @ target[j] / np.linalg.norm(target[i]) / np.linalg.norm(target[j]))
        for target in parts
        for i in range(heads)
        for j in range(heads)
        if i != j
    ]
    return float(np.mean(pairs)) if pairs else 0.0


@settings(max_examples=60, deadline=None)
@given(identities=batches, seed=st.integers(0, 99))
def test_triplet_equals_brute_force_for_any_counts_per_identity(identities, seed):
    features = random(len(identities), 4, seed=seed)
    found = triplet(features, torch.tensor(identities, dtype=torch.int64))
    assert found.item() == pytest.approx(brute_force_triplet(features.numpy(), identities))


def test_triplet_of_parts_is_the_mean_over_parts():
    parts, identities = random(3, 6, 4), torch.tensor([0, 0, 0, 1, 1, 2])
    expected = torch.stack([triplet(part, identities) for part in parts]).mean()
    assert triplet(parts, identities).item() == pytest.approx(expected.item())


def test_a_target_without_positive_pushes_others_away():
    features = torch.tensor([[0.0], [3.0], [7.0]])
    expected = np.mean([math.log1p(math.exp(-3)), math.log1p(math.exp(-3)), math.log1p(math.exp(-4))])
    assert triplet(features, torch.tensor([0, 1, 2])).item() == pytest.approx(expected)


def test_triplet_does_not_normalise_features():
    features, identities = random(5, 4), torch.tensor([0, 0, 1, 1, 1])
    assert triplet(features * 10, identities).item() != pytest.approx(triplet(features, identities).item(), rel=0.1)


def test_triplet_ignores_the_order_of_targets():
    features, identities = random(7, 4), torch.tensor([0, 1, 0, 2, 1, 0, 3])
    order = torch.tensor([3, 1, 6, 0, 5, 2, 4])
    assert triplet(features[order], identities[order]).item() == pytest.approx(triplet(features, identities).item())


def test_triplet_gradients_stay_finite_where_features_coincide():
    features = torch.ones(4, 3, requires_grad=True)
    triplet(features, torch.tensor([0, 0, 1, 2])).backward()
    assert features.grad.isfinite().all()


def test_triplet_gradients_are_the_derivative():
    identities = torch.tensor([0, 0, 1, 1, 1])
    assert torch.autograd.gradcheck(lambda f: triplet(f, identities), random(2, 5, 3).requires_grad_())


@settings(max_examples=40, deadline=None)
@given(identities=batches, heads=st.integers(0, 3))
def test_classification_equals_brute_force_and_averages_targets_and_heads(identities, heads):
    logits = random(len(identities), heads, CLASSES)
    found = classification(logits, torch.tensor(identities, dtype=torch.int64))
    assert found.item() == pytest.approx(brute_force_classification(logits.numpy(), identities))


def test_classification_by_one_head_needs_no_axis_for_it():
    logits, identities = random(4, CLASSES), torch.tensor([4, 0, 2, 2])
    assert torch.equal(classification(logits, identities), classification(logits[:, None], identities))


@settings(max_examples=40, deadline=None)
@given(targets=st.integers(0, 4), heads=st.integers(0, 5), seed=st.integers(0, 99))
def test_diversity_equals_brute_force_and_keeps_its_bounds(targets, heads, seed):
    parts = random(targets, heads, 3, seed=seed)
    found = diversity(parts).item()
    assert found == pytest.approx(brute_force_diversity(parts.numpy()), abs=1e-12)
    assert -1 / max(heads - 1, 1) - 1e-9 <= found <= 1 + 1e-9


def test_diversity_is_one_for_equal_parts_and_zero_for_orthogonal_ones():
    assert diversity(random(4, 1, 3).expand(4, 6, 3)).item() == pytest.approx(1)
    assert diversity((torch.eye(3) * 7).expand(4, 3, 3)).item() == pytest.approx(0)


def batch(targets: int, heads: int) -> tuple[PerTarget, PerTarget, torch.Tensor]:
    embeddings = PerTarget(random(targets, heads, 4).requires_grad_(), random(targets, 6, seed=1).requires_grad_())
    logits = PerTarget(random(targets, heads, CLASSES, seed=2), random(targets, CLASSES, seed=3))
    return embeddings, logits, torch.arange(targets) % 3


def test_the_total_is_equation_7():
    embeddings, logits, identities = batch(7, 3)
    loss = reid_loss(embeddings, logits, identities, ReIDLossWeights())
    ids = identities.tolist()
    parts = embeddings.parts.detach().numpy()
    part = brute_force_classification(logits.parts.numpy(), ids) + np.mean(
        [brute_force_triplet(parts[:, k], ids) for k in range(3)]
    )
    whole = brute_force_classification(logits.global_[:, None].numpy(), ids) + brute_force_triplet(
        embeddings.global_.detach().numpy(), ids
    )
    assert loss.total.item() == pytest.approx(3 * part + 0.3 * whole + 2 * brute_force_diversity(parts))


def test_each_weight_scales_its_own_terms():
    given = batch(7, 3)
    loss = reid_loss(*given, ReIDLossWeights(alpha=0.0, beta=1.0, gamma=0.0))
    assert loss.total.item() == pytest.approx((loss.global_classification + loss.global_triplet).item())
    loss = reid_loss(*given, ReIDLossWeights(alpha=1.0, beta=0.0, gamma=0.0))
    assert loss.total.item() == pytest.approx((loss.part_classification + loss.part_triplet).item())
    loss = reid_loss(*given, ReIDLossWeights(alpha=0.0, beta=0.0, gamma=1.0))
    assert loss.total.item() == pytest.approx(loss.diversity.item())


def test_an_untrained_classifier_costs_the_logarithm_of_the_identities():
    logits = torch.zeros(4, 2, 546)
    assert classification(logits, torch.tensor([0, 5, 545, 7])).item() == pytest.approx(math.log(546), rel=1e-5)


def test_without_parts_only_the_global_terms_remain():
    embeddings, logits, identities = batch(7, 0)
    loss = reid_loss(embeddings, logits, identities, ReIDLossWeights())
    assert loss.part_classification == loss.part_triplet == loss.diversity == 0
    expected = 0.3 * (classification(logits.global_, identities) + triplet(embeddings.global_, identities))
    assert loss.total.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("heads", [0, 1, 3])
@pytest.mark.parametrize("targets", [0, 1, 2])
def test_a_batch_with_nothing_to_compare_still_back_propagates(targets, heads):
    embeddings, logits, identities = batch(targets, heads)
    loss = reid_loss(embeddings, logits, identities * 0, ReIDLossWeights())
    assert loss.part_triplet == loss.global_triplet == 0
    loss.total.backward()
    assert embeddings.parts.grad.isfinite().all()
    assert not embeddings.global_.grad.any()
