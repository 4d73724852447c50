import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.losses.simota import Grid, assign, iou

HEIGHT, WIDTH, STRIDES = 64, 96, (8, 16, 32)


def grid() -> Grid:
    cells = [
        (column, row, stride)
        for stride in STRIDES
        for row, column in product(range(HEIGHT // stride), range(WIDTH // stride))
    ]
    table = torch.tensor(cells, dtype=torch.float32)
    return Grid(table[:, :2], table[:, 2], HEIGHT, WIDTH)


def scene(seed: int, objects: int, classes: int = 2) -> dict[str, torch.Tensor]:
    """Random objects, some partly outside, and predictions of which many lie near an object.

    In float64: beside the penalty float32 has no digits left to rank equally bad anchors as the definition does.
    """
    random = torch.Generator().manual_seed(seed)
    anchors = len(grid().strides)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=random, dtype=torch.float64)

    extent = torch.tensor([WIDTH, HEIGHT], dtype=torch.float32)
    boxes = torch.cat([(1.3 * uniform(objects, 2) - 0.15) * extent, 4 + 40 * uniform(objects, 2)], dim=1)
    predicted = torch.cat([grid().centres + 8 * uniform(anchors, 2), 8 + 30 * uniform(anchors, 2)], dim=1)
    return {
        "predicted": predicted,
        "objectness": 4 * uniform(anchors) - 2,
        "category": 4 * uniform(anchors, classes) - 2,
        "boxes": boxes,
        "classes": torch.randint(classes, (objects,), generator=random),
    }


def overlap(a: list[float], b: list[float]) -> float:
    sides = [
        max(0.0, min(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2) - max(a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2))
        for i in (0, 1)
    ]
    both = sides[0] * sides[1]
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def brute_force(scene: dict[str, torch.Tensor], rule: str) -> dict[int, tuple[int, float]]:
    """Anchor -> (object, IoU), by the definitions of YOLOX's head, one pair at a time."""
    predicted, boxes = scene["predicted"].tolist(), scene["boxes"].tolist()
    centres, strides = grid().centres.tolist(), grid().strides.tolist()

    def central(box: list[float], anchor: int) -> bool:
        x, y = box[:2]
        if rule == "bytetrack":
            x, y = min(max(x, 0), WIDTH), min(max(y, 0), HEIGHT)
        reach = (1.5 if rule == "megvii" else 2.5) * strides[anchor]
        return abs(centres[anchor][0] - x) < reach and abs(centres[anchor][1] - y) < reach

    def inside(box: list[float], anchor: int) -> bool:
        return all(abs(centres[anchor][i] - box[i]) < box[i + 2] / 2 for i in (0, 1))

    def near(box: list[float], anchor: int) -> bool:
        return central(box, anchor) or (rule == "bytetrack" and inside(box, anchor))

    def penalty(box: list[float], anchor: int) -> float:
        if rule == "megvii":
            return 0.0 if central(box, anchor) else 1e6
        return 0.0 if central(box, anchor) and inside(box, anchor) else 1e5

    def cost(object_: int, anchor: int) -> float:
        objectness = torch.sigmoid(scene["objectness"][anchor]).item()
        loss = 0.0
        for class_, logit in enumerate(scene["category"][anchor]):
            score = math.sqrt(torch.sigmoid(logit).item() * objectness)
            loss -= math.log(score if class_ == scene["classes"][object_].item() else 1 - score)
        closeness = overlap(boxes[object_], predicted[anchor])
        return loss - 3 * math.log(closeness + 1e-8) + penalty(boxes[object_], anchor)

    candidates = [a for a in range(len(strides)) if any(near(box, a) for box in boxes)]
    takers: dict[int, list[int]] = {}
    for i, box in enumerate(boxes if candidates else []):
        best = sorted((overlap(box, predicted[a]) for a in candidates), reverse=True)[:10]
        for a in sorted(candidates, key=lambda a: cost(i, a))[: max(int(sum(best)), 1)]:
            takers.setdefault(a, []).append(i)
    found = {}
    for a, objects in takers.items():
        object_ = min(range(len(boxes)), key=lambda i: cost(i, a)) if len(objects) > 1 else objects[0]
        found[a] = (object_, overlap(boxes[object_], predicted[a]))
    return found


@pytest.mark.parametrize("rule", ["megvii", "bytetrack"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), objects=st.integers(0, 6))
def test_the_assignment_is_that_of_the_definition_taken_pair_by_pair(rule: str, seed: int, objects: int):
    given_scene = scene(seed, objects)
    found = assign(**given_scene, grid=grid(), rule=rule)
    expected = brute_force(given_scene, rule)

    assert found.anchors.tolist() == sorted(expected)
    assert found.objects.tolist() == [expected[a][0] for a in sorted(expected)]
    assert found.ious.tolist() == pytest.approx([expected[a][1] for a in sorted(expected)], abs=1e-5)


@pytest.mark.parametrize("rule", ["megvii", "bytetrack"])
def test_an_image_without_objects_has_no_foreground(rule: str):
    assert len(assign(**scene(0, 0), grid=grid(), rule=rule).anchors) == 0


def test_objects_far_from_every_anchor_get_none():
    far = scene(0, 2) | {"boxes": torch.tensor([[900.0, 900.0, 20.0, 20.0], [-700.0, 20.0, 9.0, 9.0]])}
    assert len(assign(**far, grid=grid(), rule="megvii").anchors) == 0


def test_bytetrack_clips_a_centre_outside_the_image_back_to_its_edge_and_megvii_does_not():
    tall = scene(0, 1) | {"boxes": torch.tensor([[48.0, 110.0, 30.0, 110.0]])}
    assert len(assign(**tall, grid=grid(), rule="bytetrack").anchors) > 0
    assert len(assign(**tall, grid=grid(), rule="megvii").anchors) == 0


def test_an_object_takes_one_anchor_when_nothing_overlaps_it():
    lonely = scene(0, 1) | {"boxes": torch.tensor([[40.0, 40.0, 10.0, 10.0]])}
    lonely["predicted"] = torch.tensor([[500.0, 500.0, 4.0, 4.0]]).expand(len(grid().strides), 4)
    assert len(assign(**lonely, grid=grid(), rule="megvii").anchors) == 1


def test_an_object_takes_as_many_anchors_as_its_ten_best_overlaps_sum_to():
    perfect = scene(0, 1) | {"boxes": torch.tensor([[48.0, 32.0, 30.0, 30.0]])}
    perfect["predicted"] = perfect["boxes"].expand(len(grid().strides), 4).clone()
    assert len(assign(**perfect, grid=grid(), rule="bytetrack").anchors) == 10
    perfect["predicted"][:, 2:] *= math.sqrt(0.56)
    assert len(assign(**perfect, grid=grid(), rule="bytetrack").anchors) == 5


def test_of_two_objects_at_one_place_the_better_predicted_one_keeps_the_anchor():
    contested = scene(0, 2) | {"boxes": torch.tensor([[48.0, 32.0, 20.0, 20.0], [48.0, 32.0, 40.0, 40.0]])}
    contested["classes"] = torch.tensor([0, 0])
    contested["predicted"] = contested["boxes"][1:].expand(len(grid().strides), 4)
    found = assign(**contested, grid=grid(), rule="megvii")
    assert len(found.anchors) > 1
    assert set(found.objects.tolist()) == {1}


def test_the_order_of_the_objects_does_not_matter():
    given_scene = scene(3, 5)
    order = torch.tensor([4, 2, 0, 1, 3])
    shuffled = given_scene | {key: given_scene[key][order] for key in ("boxes", "classes")}
    first = assign(**given_scene, grid=grid(), rule="bytetrack")
    second = assign(**shuffled, grid=grid(), rule="bytetrack")
    assert torch.equal(first.anchors, second.anchors)
    assert torch.equal(first.objects, order[second.objects])


def test_logits_of_any_size_give_a_finite_choice():
    given_scene = scene(1, 3)
    extreme = given_scene | {key: given_scene[key] * 1e4 for key in ("objectness", "category")}
    assert len(assign(**extreme, grid=grid(), rule="megvii").anchors) > 0


def test_iou_is_one_of_a_box_with_itself_symmetric_and_zero_when_apart():
    a, b = torch.tensor([10.0, 10.0, 4.0, 6.0]), torch.tensor([11.0, 12.0, 8.0, 2.0])
    assert iou(a, a).item() == pytest.approx(1)
    assert iou(a, b).item() == iou(b, a).item() > 0
    assert iou(a, a + torch.tensor([30.0, 0, 0, 0])).item() == 0
