import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import params
from pipeline.models.reid import Classifiers, FineTrackReID, ReIDHead, weighted_pool

CHANNELS = (3, 4, 5)
SIZES = ((8, 4), (4, 2), (2, 1))
VARIANTS = [(neck, pool) for neck in ("fpn", "fafpn_nofam", "fafpn") for pool in ("gap", "mpmg")]


def small(**changes: object) -> ReIDHead:
    return ReIDHead(**{"channels": 8, "mask_per_head": 4, "parts": 3, "part_dim": 6, "global_dim": 10, **changes})


def levels(targets: int, sizes: tuple[tuple[int, int], ...] = SIZES) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(targets, c, *s, generator=generator) for c, s in zip(CHANNELS, sizes, strict=True))


def test_the_paper_describes_a_target_by_1024_values():
    head = ReIDHead()
    assert head.dim == 1024
    with torch.no_grad():
        found = FineTrackReID(head, CHANNELS).eval()(levels(2))
    assert found.descriptor.shape == (2, 1024)
    assert found.parts.shape == (2, 6, 128)
    assert found.global_.shape == (2, 256)


@settings(max_examples=16, deadline=None)
@given(parts=st.integers(1, 16))
def test_any_number_of_parts_works(parts):
    head = small(parts=parts)
    found = FineTrackReID(head, CHANNELS)(levels(2))
    assert found.masks.shape == (2, parts, 8, 4)
    assert found.descriptor.shape == (2, head.dim) == (2, parts * 6 + 10)


@pytest.mark.parametrize(("neck", "pool"), VARIANTS)
def test_every_weight_of_every_variant_learns(neck, pool):
    head = small(neck=neck, pool=pool)
    torch.manual_seed(0)
    model, classifiers = FineTrackReID(head, CHANNELS), Classifiers(7, head)
    found = model(levels(5))
    logits = classifiers(found)
    (logits.parts.square().sum() + logits.global_.square().sum()).backward()
    for name, weight in [*model.named_parameters(), *classifiers.named_parameters()]:
        assert weight.grad is not None, name


@pytest.mark.parametrize(("neck", "pool"), VARIANTS)
def test_descriptors_have_unit_length_and_hold_parts_before_global(neck, pool):
    model = FineTrackReID(small(neck=neck, pool=pool), CHANNELS)
    found = model(levels(5))
    raw = torch.cat([found.parts.flatten(1), found.global_], dim=1)
    assert torch.allclose(found.descriptor, F.normalize(raw))
    assert torch.allclose(found.descriptor.norm(dim=1), torch.ones(5))


def test_the_global_embedding_is_pooled_under_the_largest_part_mask():
    model = FineTrackReID(small(), CHANNELS).eval()
    found = model(levels(5))
    _, features = model.neck(levels(5))
    mask = found.masks.max(dim=1).values
    pooled = (features * mask[:, None]).sum(dim=(2, 3)) / mask.sum(dim=(1, 2))[:, None]
    assert torch.allclose(found.global_, model.to_global(pooled), atol=1e-5)


def test_under_global_average_pooling_there_is_the_global_embedding_alone():
    model = FineTrackReID(small(pool="gap"), CHANNELS).eval()
    found = model(levels(5))
    _, features = model.neck(levels(5))
    assert found.parts.shape == (5, 0, 6)
    assert found.masks.shape == (5, 0, 8, 4)
    assert found.descriptor.shape == (5, 10)
    assert torch.allclose(found.global_, model.to_global(features.mean(dim=(2, 3))), atol=1e-5)


@pytest.mark.parametrize(("neck", "pool"), VARIANTS)
@pytest.mark.parametrize("training", [True, False])
def test_no_target_gives_empty_embeddings_that_back_propagate(neck, pool, training):
    model = FineTrackReID(small(neck=neck, pool=pool), CHANNELS).train(training)
    found = model(levels(0))
    assert found.descriptor.shape == (0, model.head.dim)
    found.descriptor.sum().backward()
    assert all(weight.grad is None or not weight.grad.any() for weight in model.parameters())


@pytest.mark.parametrize("neck", ["fpn", "fafpn_nofam", "fafpn"])
def test_one_target_and_levels_of_unrelated_sizes_are_embedded(neck):
    model = FineTrackReID(small(neck=neck), CHANNELS)
    assert model(levels(1, ((7, 5), (3, 4), (2, 3)))).descriptor.isfinite().all()


def test_a_target_is_embedded_alike_alone_and_in_company():
    model = FineTrackReID(small(), CHANNELS).eval()
    maps = levels(6)
    together, alone = model(maps).descriptor, model(tuple(level[2:3] for level in maps)).descriptor
    assert torch.allclose(together[2:3], alone, atol=1e-5)


def test_chunks_change_neither_embeddings_nor_gradients():
    results = []
    for chunk in (0, 2):
        torch.manual_seed(0)
        model = FineTrackReID(small(chunk=chunk), CHANNELS)
        found = model(levels(7))
        found.descriptor[:, 0].sum().backward()
        results.append([found.descriptor, *(w.grad for w in model.parameters()), *model.buffers()])
    for whole, chunked in zip(*results, strict=True):
        assert torch.allclose(whole, chunked, rtol=1e-4, atol=1e-6)


def test_a_constant_map_pools_to_its_constant():
    masks = torch.rand(3, 4, 6, 5, generator=torch.Generator().manual_seed(0))
    pooled = weighted_pool(torch.full((3, 2, 6, 5), 1.5), masks)
    assert torch.allclose(pooled, torch.full((3, 4, 2), 1.5), atol=1e-5)


def test_pooling_does_not_depend_on_a_masks_strength():
    generator = torch.Generator().manual_seed(0)
    features, masks = (
        torch.randn(3, 2, 6, 5, generator=generator),
        torch.rand(3, 4, 6, 5, generator=generator),
    )
    assert torch.allclose(weighted_pool(features, masks), weighted_pool(features, masks / 10), atol=1e-5)


def test_a_mask_of_nothing_pools_to_zero():
    assert not weighted_pool(torch.ones(1, 2, 4, 3), torch.zeros(1, 1, 4, 3)).any()


@pytest.mark.parametrize("pool", ["gap", "mpmg"])
def test_each_part_has_a_classifier_of_its_own(pool):
    head = small(pool=pool)
    classifiers = Classifiers(7, head)
    found = FineTrackReID(head, CHANNELS)(levels(5))
    logits = classifiers(found)
    assert logits.parts.shape == (5, head.heads, 7)
    for k, classify in enumerate(classifiers.parts):
        assert torch.allclose(logits.parts[:, k], classify(found.parts[:, k]))
    assert torch.equal(logits.global_, classifiers.global_(found.global_))


def test_the_saved_network_carries_no_classifier():
    assert not [name for name in FineTrackReID(small(), CHANNELS).state_dict() if "classif" in name]


@pytest.mark.parametrize("field", ["channels", "mask_per_head", "parts", "part_dim", "global_dim"])
def test_a_size_below_one_is_refused(field):
    with pytest.raises(ValueError, match=f"{field} is 0, expected 1 or more"):
        small(**{field: 0})


def test_settings_are_read_from_params(tmp_path):
    text = (
        "toy: {reid: {neck: fpn, pool: gap, channels: 48, mask_per_head: 8, parts: 6, part_dim: 128,"
        " global_dim: 256, rectify: false, chunk: -1}}"
    )
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"toy.reid: chunk is -1, expected 0 or more"):
        params.section("toy", "reid", ReIDHead, path=path)
    path.write_text(text.replace("-1", "64"))
    assert params.section("toy", "reid", ReIDHead, path=path) == ReIDHead("fpn", "gap", 48, 8, chunk=64)
