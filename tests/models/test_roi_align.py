import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.models import roi_align as module
from pipeline.models.roi_align import roi_align


def sample(plane: np.ndarray, y: float, x: float) -> float:
    """One bilinear sample as ROIAlign defines it: zero far outside, the border's value just outside."""
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    above = plane[top, left] * (1 - dx) + plane[top, right] * dx
    below = plane[bottom, left] * (1 - dx) + plane[bottom, right] * dx
    return above * (1 - dy) + below * dy


def reference(features, boxes, images, stride, size, sampling):
    result = np.zeros((len(boxes), features.shape[1], *size))
    for r, (x1, y1, x2, y2) in enumerate(boxes / stride - 0.5):
        for c, i, j in np.ndindex(features.shape[1], *size):
            ys = [y1 + (y2 - y1) * (i + (k + 0.5) / sampling) / size[0] for k in range(sampling)]
            xs = [x1 + (x2 - x1) * (j + (k + 0.5) / sampling) / size[1] for k in range(sampling)]
            plane = features[images[r], c]
            result[r, c, i, j] = np.mean([sample(plane, y, x) for y in ys for x in xs])
    return result


# Never a multiple of the stride: at the rim of the map, where samples drop to zero, rounding would decide.
corner = st.integers(-160, 320).map(lambda step: step * 0.371 + 0.0137)
extent = st.integers(0, 150).map(lambda step: step * 0.53)


@settings(max_examples=40, deadline=None)
@given(
    boxes=st.lists(st.tuples(corner, corner, extent, extent), max_size=4),
    size=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    shape=st.tuples(st.integers(1, 7), st.integers(1, 9)),
    stride=st.sampled_from([4, 8]),
    sampling=st.integers(1, 3),
    channels_last=st.booleans(),
)
def test_it_equals_a_scalar_reference_inside_across_and_outside_the_image(
    boxes, size, shape, stride, sampling, channels_last
):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2, 3, *shape))
    corners = np.array([(x, y, x + w, y + h) for x, y, w, h in boxes]).reshape(-1, 4)
    images = rng.integers(0, 2, len(corners))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    found = roi_align(
        torch.from_numpy(features).contiguous(memory_format=layout),
        torch.from_numpy(corners),
        torch.from_numpy(images),
        stride=stride,
        size=size,
        sampling=sampling,
    )
    np.testing.assert_allclose(found.numpy(), reference(features, corners, images, stride, size, sampling), atol=1e-9)


def test_float32_agrees_with_the_reference_on_a_large_map():
    rng = np.random.default_rng(1)
    features = rng.standard_normal((1, 2, 200, 360)).astype(np.float32)
    boxes = np.array([[1200.3, 600.7, 1290.9, 810.2], [-20.5, 700.1, 45.0, 830.4]], np.float32)
    images = np.zeros(2, np.int64)
    found = roi_align(*map(torch.from_numpy, (features, boxes, images)), stride=4, size=(8, 4))
    expected = reference(features.astype(float), boxes.astype(float), images, 4, (8, 4), 2)
    np.testing.assert_allclose(found.numpy(), expected, atol=3e-4)


def test_a_box_one_cell_a_bin_reads_the_cells_themselves():
    features = torch.arange(48.0).view(1, 1, 6, 8)
    boxes = torch.tensor([[8.0, 4.0, 24.0, 20.0]])
    found = roi_align(features, boxes, torch.zeros(1, dtype=torch.int64), stride=4, size=(4, 4), sampling=1)
    assert torch.equal(found[0, 0], features[0, 0, 1:5, 2:6])


def test_each_target_is_cut_from_its_own_image():
    features = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)
    boxes = torch.tensor([[4.0, 4.0, 28.0, 28.0]]).repeat(4, 1)
    found = roi_align(features, boxes, torch.tensor([2, 0, 1, 2]), stride=4, size=(3, 2))
    assert torch.allclose(found.mean(dim=(1, 2, 3)), torch.tensor([3.0, 1.0, 2.0, 3.0]))


def test_a_box_far_outside_gives_zeros():
    features = torch.ones(1, 2, 5, 5)
    boxes = torch.tensor([[100.0, 100.0, 140.0, 180.0], [-90.0, -90.0, -50.0, -20.0]])
    assert not roi_align(features, boxes, torch.zeros(2, dtype=torch.int64), stride=4, size=(4, 2)).any()


def test_no_box_gives_an_empty_result_of_the_right_shape():
    found = roi_align(
        torch.ones(2, 3, 5, 5), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), stride=4, size=(4, 2)
    )
    assert found.shape == (0, 3, 4, 2)


def test_passes_of_a_few_targets_give_the_same_as_one_pass(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 9, 9, generator=generator)
    low = torch.rand(11, 2, generator=generator) * 20
    boxes, images = torch.cat([low, low + 12], dim=1), torch.arange(11) % 2
    whole = roi_align(features, boxes, images, stride=4, size=(4, 2))
    monkeypatch.setattr(module, "_BINS_A_PASS", 20)
    assert torch.equal(roi_align(features, boxes, images, stride=4, size=(4, 2)), whole)


def test_gradients_reach_the_features():
    features = torch.randn(1, 2, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[-3.0, 2.0, 15.0, 22.0]], dtype=torch.float64)
    images = torch.zeros(1, dtype=torch.int64)
    assert torch.autograd.gradcheck(
        lambda maps: roi_align(maps, boxes, images, stride=4, size=(3, 2)), features.requires_grad_()
    )


def test_half_precision_features_keep_exact_positions():
    features = torch.arange(360.0).expand(1, 1, 4, 360).to(torch.bfloat16)
    boxes = torch.tensor([[1001.0, 0.0, 1009.0, 8.0]])
    found = roi_align(features, boxes, torch.zeros(1, dtype=torch.int64), stride=4, size=(1, 1))
    assert found.item() == pytest.approx((1001 + 1009) / 8 - 0.5, abs=1.0)
    assert found.dtype == torch.bfloat16
