"""The detector's shapes, names, initial state and decoding."""

import copy
import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pipeline.models.yolox import (
    LEVEL_STRIDES,
    SIZES,
    YOLOX,
    anchors,
    decode,
    flatten,
    is_folded,
    level_channels,
    unfold,
)


@pytest.fixture
def micro() -> YOLOX:
    torch.manual_seed(0)
    return YOLOX(depth=0.33, width=0.125, classes=3).eval()


@pytest.mark.parametrize(
    ("size", "tensors", "millions"),
    [
        ("nano", 642, 0.897),
        ("tiny", 462, 5.033),
        ("s", 462, 8.938),
        ("m", 606, 25.281),
        ("l", 750, 54.148),
        ("x", 894, 98.995),
    ],
)
def test_each_size_has_the_published_numbers_of_tensors_and_parameters(size, tensors, millions):
    with torch.device("meta"):
        model = YOLOX.build(size)
    assert len(model.state_dict()) == tensors
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=5e-4)


@pytest.mark.parametrize("size", SIZES)
def test_each_level_has_its_stride_and_channels(size):
    with torch.device("meta"):
        maps = YOLOX.build(size).backbone_maps(torch.zeros(2, 3, 64, 96), tuple(LEVEL_STRIDES))
    for (level, stride), x in zip(LEVEL_STRIDES.items(), maps, strict=True):
        assert x.shape == (2, level_channels(level, size), 64 // stride, 96 // stride)


def test_maps_come_in_the_order_asked_for_and_nothing_deeper_is_computed(micro):
    images = torch.rand(1, 3, 64, 64)
    ran = []
    for name, module in micro.named_modules():
        if name.startswith("backbone.") and name.count(".") <= 2:
            module.register_forward_hook(lambda *_, name=name: ran.append(name))
    dark3, dark2 = micro.backbone_maps(images, ("dark3", "dark2"))
    assert (dark2.shape[-1], dark3.shape[-1]) == (16, 8)
    assert {name for name in ran if "dark" in name} == {"backbone.backbone.dark2", "backbone.backbone.dark3"}
    ran.clear()
    micro.backbone_maps(images, ("pan3",))
    assert "backbone.C3_p3" in ran
    assert "backbone.C3_n3" not in ran


def test_batch_norm_has_megviis_constants():
    norms = [module for module in YOLOX.build("nano").modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all((norm.eps, norm.momentum) == (1e-3, 0.03) for norm in norms)


def test_a_fresh_model_expects_one_anchor_in_a_hundred_to_be_an_object(micro):
    bias = torch.cat([layer.bias for layer in (*micro.head.obj_preds, *micro.head.cls_preds)])
    torch.testing.assert_close(bias.sigmoid(), torch.full_like(bias, 0.01))


def test_raw_levels_are_flattened_in_order_of_level_row_and_column(micro):
    levels = micro.raw(torch.rand(2, 3, 64, 96))
    assert [tuple(level.shape) for level in levels] == [(2, 8, 8, 12), (2, 8, 4, 6), (2, 8, 2, 3)]
    flat = flatten(levels)
    assert flat.shape == (2, 126, 8)
    torch.testing.assert_close(flat[:, 96 + 2 * 6 + 5], levels[1][:, :, 2, 5])


def test_anchors_name_the_cell_and_stride_of_each_flattened_prediction(micro):
    cells, strides = anchors(micro.raw(torch.rand(1, 3, 64, 96)), micro.strides)
    assert strides.unique(return_counts=True)[1].tolist() == [96, 24, 6]
    assert cells[96 + 2 * 6 + 5].tolist() == [5.0, 2.0]
    assert strides[96 + 2 * 6 + 5] == 16


@settings(max_examples=30, deadline=None)
@given(
    cell=st.tuples(st.integers(0, 3), st.integers(0, 1)),
    offset=st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
    log_size=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    logit=st.floats(-10, 10),
)
def test_decoding_is_the_formula_of_each_cell(cell, offset, log_size, logit):
    column, row = cell
    level = torch.zeros(1, 6, 2, 4)
    level[0, :, row, column] = torch.tensor([*offset, *log_size, logit, -logit])
    decoded = decode([level], [8])[0, row * 4 + column].numpy()
    centre = (np.array(cell) + offset) * 8
    scores = 1 / (1 + np.exp([-logit, logit]))
    np.testing.assert_allclose(decoded, [*centre, *(8 * np.exp(log_size)), *scores], rtol=1e-4, atol=1e-4)


def test_half_precision_levels_decode_in_single_precision():
    level = torch.full((1, 6, 1, 1), 12.0, dtype=torch.float16)  # exp(12) * 32 is beyond float16
    decoded = decode([level], [32])
    assert decoded.dtype == torch.float32
    assert decoded.isfinite().all()


def test_the_model_returns_decoded_raw_levels_in_both_modes(micro):
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(micro(images), decode(micro.raw(images), micro.strides))
    assert micro.train()(images).shape == (1, 84, 8)


def test_gradients_reach_every_parameter_through_raw_levels(micro):
    sum(level.square().sum() for level in micro.train().raw(torch.rand(2, 3, 64, 64))).backward()
    assert [name for name, p in micro.named_parameters() if p.grad is None] == []


def test_a_fused_copy_predicts_the_same_and_leaves_the_model_alone(micro):
    for module in micro.modules():  # fresh statistics and weights are zeros and ones, which hides a wrong fold
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 1, 3)
            nn.init.normal_(module.bias, std=0.3)
    images, before = torch.rand(2, 3, 64, 96), list(micro.state_dict())
    micro.train()
    fused = micro.fused()
    assert micro.training
    assert list(micro.state_dict()) == before
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    with torch.inference_mode():
        for found, expected in zip(fused.raw(images), micro.eval().raw(images), strict=True):
            assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.fixture
def folded(micro) -> YOLOX:
    """A network whose BatchNorms do nothing, as in weights that were exported for inference."""
    for module in micro.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.running_var, 1 - module.eps)
            nn.init.normal_(module.bias, std=0.3)
    micro.backbone.backbone.stem.conv.conv.weight.data *= 0.01  # for images of 0 to 255
    return micro


def test_unfolded_weights_predict_the_same_and_have_statistics(folded):
    images = 255 * torch.rand(4, 3, 64, 96)
    before = folded.raw(images)
    assert is_folded(folded)
    unfold(folded, images.split(2))
    assert not is_folded(folded)
    assert not folded.training
    for found, expected in zip(folded.raw(images), before, strict=True):
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_unfolded_weights_predict_nearly_the_same_in_training_and_folded_ones_do_not(folded):
    images = 255 * torch.rand(8, 3, 64, 96)
    expected = folded.raw(images)[0]
    trained_as_it_is = copy.deepcopy(folded).train().raw(images)[0]
    unfold(folded, [images])
    unfolded = folded.train().raw(images)[0]
    assert (unfolded - expected).abs().max() < 0.05 * (trained_as_it_is - expected).abs().max()


def test_statistics_are_those_of_all_the_images_however_they_are_batched(folded):
    images, other = 255 * torch.rand(8, 3, 64, 64), copy.deepcopy(folded)
    unfold(folded, [images])
    unfold(other, images.split(2))
    for name, value in folded.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], rtol=1e-4, atol=1e-6)


def test_a_filter_of_zeros_stays_one_and_nothing_becomes_infinite(folded):
    folded.backbone.backbone.stem.conv.conv.weight.data[0] = 0
    unfold(folded, [torch.rand(2, 3, 64, 64)])
    assert not folded.backbone.backbone.stem.conv.conv.weight[0].any()
    assert all(value.isfinite().all() for value in folded.state_dict().values())


@pytest.mark.parametrize("shape", [(64, 80), (70, 64)])
def test_images_of_other_than_multiples_of_32_are_refused(micro, shape):
    with pytest.raises(ValueError, match=f"found {shape[0]}x{shape[1]} .* multiples of 32"):
        micro(torch.zeros(1, 3, *shape))


def test_an_unknown_level_is_refused_by_name(micro):
    with pytest.raises(ValueError, match=r"found \['dark6'\], expected names of \['dark2'"):
        # Unwrapped, because the tests' own type checks refuse the name before the model can.
        inspect.unwrap(YOLOX.backbone_maps)(micro, torch.zeros(1, 3, 64, 64), ("dark2", "dark6"))
