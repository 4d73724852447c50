import math

import pytest
import torch
from torch import Tensor

from pipeline.losses.detection import DetectionLoss, detection_loss

STRIDES = (8, 16, 32)


def levels(seed: int = 0, batch: int = 2, classes: int = 1) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(batch, 5 + classes, 64 // stride, 96 // stride, generator=random, dtype=torch.float32)
        for stride in STRIDES
    )


def people() -> Tensor:
    """Two images: two people, then one; padded to four rows."""
    labels = torch.zeros(2, 4, 5)
    labels[0, 0] = torch.tensor([0.0, 30.0, 30.0, 20.0, 40.0])
    labels[0, 1] = torch.tensor([0.0, 70.0, 34.0, 16.0, 30.0])
    labels[1, 0] = torch.tensor([0.0, 50.0, 20.0, 30.0, 30.0])
    return labels


def loss(maps: tuple[Tensor, ...], labels: Tensor, **changes) -> DetectionLoss:
    arguments = {"strides": STRIDES, "use_l1": True, "assignment": "bytetrack"} | changes
    return detection_loss(maps, labels, **arguments)


def test_the_total_is_the_sum_of_its_parts():
    found = loss(levels(), people())
    parts = found.iou + found.objectness + found.category + found.l1
    assert found.total.item() == pytest.approx(parts.item())
    assert min(found.iou, found.objectness, found.category, found.l1) > 0


def test_without_l1_its_part_is_zero_and_the_others_are_unchanged():
    without, with_l1 = loss(levels(), people(), use_l1=False), loss(levels(), people())
    assert without.l1.item() == 0
    assert without.total.item() == pytest.approx((with_l1.total - with_l1.l1).item())


def test_images_without_people_cost_only_their_objectness():
    maps = levels()
    found = loss(maps, torch.zeros(2, 4, 5))
    logits = torch.cat([level[:, 4].flatten() for level in maps])
    assert found.total.item() == pytest.approx(torch.nn.functional.softplus(logits).sum().item(), rel=1e-5)
    assert found.foregrounds.item() == 0


def test_no_room_for_labels_is_the_same_as_no_people():
    assert loss(levels(), torch.zeros(2, 0, 5)).total == loss(levels(), torch.zeros(2, 4, 5)).total


def test_every_channel_of_every_level_gets_a_gradient_even_without_people():
    maps = tuple(level.requires_grad_() for level in levels())
    loss(maps, torch.zeros(2, 4, 5)).total.backward()
    assert all(level.grad is not None and level.grad.isfinite().all() for level in maps)


def test_a_prediction_that_is_right_costs_almost_nothing():
    maps = tuple(torch.full((1, 6, 64 // s, 96 // s), -20.0) for s in STRIDES)
    maps[0][0, :, 4, 5] = torch.tensor([0.5, 0.5, math.log(3), math.log(5), 20, 20])
    labels = torch.tensor([[[0.0, 44.0, 36.0, 24.0, 40.0]]])
    found = loss(maps, labels, assignment="megvii")
    assert found.foregrounds.item() == 1
    assert found.total.item() < 1e-3


def test_gradient_steps_on_the_maps_bring_the_loss_down():
    maps = tuple(level.requires_grad_() for level in levels())
    optimizer = torch.optim.Adam(maps, lr=0.3)
    first = loss(maps, people()).total.item()
    for _ in range(25):
        optimizer.zero_grad()
        loss(maps, people()).total.backward()
        optimizer.step()
    assert loss(maps, people()).total.item() < 0.2 * first


def test_padding_may_stand_anywhere_among_the_labels():
    labels = people()
    assert loss(levels(), labels).total.item() == pytest.approx(loss(levels(), labels.flip(1)).total.item())


def test_the_rules_of_assignment_differ():
    found = {rule: loss(levels(), people(), assignment=rule).total.item() for rule in ("megvii", "bytetrack")}
    assert found["megvii"] != pytest.approx(found["bytetrack"], rel=1e-3)


def test_a_batch_shared_by_two_processes_costs_on_average_what_it_costs_one():
    maps, labels = levels(), people()
    whole = loss(maps, labels)
    shares = [(tuple(level[i : i + 1] for level in maps), labels[i : i + 1]) for i in (0, 1)]
    counts = [loss(*share).foregrounds * (share[1][..., 3] > 0).sum() for share in shares]
    found = [loss(*share, divisor=lambda count: sum(counts) / 2) for share in shares]
    assert sum(part.total.item() for part in found) / 2 == pytest.approx(whole.total.item(), rel=1e-5)


def test_the_divisor_is_made_of_this_process_own_count_and_taken_as_it_is():
    seen = []
    half = loss(levels(), people(), divisor=lambda count: seen.append(count.item()) or torch.tensor(0.5))
    assert seen == [pytest.approx(3 * loss(levels(), people()).foregrounds.item())]
    assert half.total.item() == pytest.approx(loss(levels(), people()).total.item() * seen[0] / 0.5, rel=1e-5)


def test_several_classes_are_told_apart():
    maps, labels = levels(classes=3), people()
    other = labels.clone()
    other[..., 0] = 2
    assert loss(maps, labels).category.item() != pytest.approx(loss(maps, other).category.item(), rel=1e-3)


def test_half_precision_maps_under_autocast_give_the_loss_of_their_values():
    maps = tuple(level.bfloat16() for level in levels())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(maps, people())
    expected = loss(tuple(level.float() for level in maps), people())
    assert found.total.dtype == torch.float32
    assert found.total.item() == pytest.approx(expected.total.item(), rel=1e-6)


def test_the_weighted_overlap_of_a_single_known_box_is_five_times_one_minus_its_square():
    maps = tuple(torch.full((1, 6, 64 // s, 96 // s), -20.0) for s in STRIDES)
    maps[1][0, :4, 1, 2] = torch.tensor([0.5, 0.5, math.log(2.0), math.log(2.0)])
    labels = torch.tensor([[[0.0, 40.0, 24.0, 32.0, 16.0]]])
    found = loss(maps, labels, assignment="megvii")
    assert found.foregrounds.item() == 1
    assert found.iou.item() == pytest.approx(5 * (1 - 0.5**2), rel=1e-5)
