"""Our YOLOX against Megvii's own outputs for the same weights and images (Megvii/YOLOX@6ddff48)."""

import numpy as np
import pytest
import torch

from pipeline.models.yolox import YOLOX, load_checkpoint


@pytest.fixture(scope="module")
def golden(shared):
    return np.load(shared / "golden" / "yolox" / "yolox_micro_person.npz")


@pytest.fixture(scope="module")
def model(shared) -> YOLOX:
    model = YOLOX(depth=0.33, width=0.125)
    report = load_checkpoint(model, shared / "golden" / "yolox" / "yolox_micro_person.pth.tar")
    assert report.skipped == ()
    return model.eval()


def assert_equal_to_rounding(found, expected):
    # Values near zero carry the rounding of the large ones they were summed from.
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6 * np.abs(expected).max())


def test_our_tensors_are_megviis_in_name_shape_and_order(shared, model):
    theirs = torch.load(shared / "golden" / "yolox" / "yolox_micro_person.pth.tar", weights_only=True)["model"]
    ours = model.state_dict()
    assert [(name, x.shape) for name, x in ours.items()] == [(name, x.shape) for name, x in theirs.items()]


@torch.inference_mode()
def test_feature_maps_equal_megviis(golden, model):
    maps = model.backbone_maps(torch.from_numpy(golden["image"]), ("dark3", "pan3"))
    for found, name in zip(maps, ("dark3", "pan3"), strict=True):
        assert_equal_to_rounding(found.numpy(), golden[name])


# On these random weights Megvii's own float32 outputs lie 2e-4 from float64's: folding may move them by that much.
@pytest.mark.parametrize(("fused", "tolerance"), [(False, 1e-4), (True, 3e-4)])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@torch.inference_mode()
def test_decoded_predictions_equal_megviis(golden, model, memory, fused, tolerance):
    network = (model.fused() if fused else model).to(memory_format=memory)
    prediction = network(torch.from_numpy(golden["image"]).to(memory_format=memory)).numpy()
    for found, expected in zip(prediction.T, golden["prediction"].T, strict=True):
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=1e-5 * np.abs(expected).max())
