import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.augmentation import (
    Augmentation,
    Sample,
    augment,
    distort,
    fit,
    flip,
    mixup,
    mosaic,
    pad,
    random_affine,
    to_labels,
    warp,
)
from pipeline.data.frames import PAD, letterbox

SIZE = (96, 160)
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))
seeds = st.integers(0, 10_000)


def painted(colour: tuple[int, int, int], box: tuple[int, int, int, int], size=(120, 150)) -> Sample:
    """A dark image in which one rectangle, and nothing else, has the colour."""
    image = np.full((*size, 3), 20, dtype=np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = colour
    return Sample(image, np.array([box], dtype=np.float64))


def crowd(count: int = 4) -> list[Sample]:
    """One painted rectangle an image, each of a colour of its own, images of various sizes."""
    boxes = ((40, 30, 90, 80), (20, 10, 60, 90), (70, 50, 140, 110), (10, 20, 100, 60))
    sizes = ((120, 150), (100, 150), (130, 160), (90, 200))
    return [painted(COLOURS[i], boxes[i], sizes[i]) for i in range(count)]


def extent(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray | None:
    """x1 y1 x2 y2 of the pixels in which exactly the colour's channels stand out."""
    lit = image.astype(int) - 60
    pixels = np.all((lit > 0) == (np.array(colour) > 0), axis=2)
    pixels &= np.ptp(image.astype(int), axis=2) > 60
    rows, columns = np.nonzero(pixels)
    if not len(rows):
        return None
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def bounds(box: np.ndarray, pixels: np.ndarray, slack: float = 1.0) -> bool:
    return bool((box[:2] <= pixels[:2] + slack).all() and (box[2:] >= pixels[2:] - slack).all())


def equal(first: Sample, second: Sample) -> bool:
    return np.array_equal(first.image, second.image) and np.array_equal(first.boxes, second.boxes)


@pytest.mark.parametrize("size", [(96, 160), (60, 200), (300, 301)])
def test_a_fitted_box_ends_where_its_pixels_end(size: tuple[int, int]):
    sample = fit(crowd()[0], size)
    pixels = extent(sample.image, COLOURS[0])
    assert np.abs(sample.boxes[0] - pixels).max() <= 1.5


def test_fitting_and_padding_is_the_letterbox_of_inference():
    sample = crowd()[1]
    fitted, ratio = letterbox(sample.image, SIZE)
    ours = pad(fit(sample, SIZE), SIZE)
    assert np.array_equal(ours.image, fitted)
    assert np.array_equal(ours.boxes, sample.boxes * ratio)


def test_a_flipped_box_ends_where_its_pixels_end():
    flipped = flip(crowd()[2])
    assert np.array_equal(flipped.boxes[0], extent(flipped.image, COLOURS[2]))


@given(seed=seeds)
def test_flipping_twice_changes_nothing(seed: int):
    rng = np.random.default_rng(seed)
    sample = Sample(rng.integers(0, 256, (7, 11, 3), dtype=np.uint8), rng.uniform(-20, 20, (5, 4)))
    twice = flip(flip(sample))
    assert np.array_equal(twice.image, sample.image)
    assert twice.boxes == pytest.approx(sample.boxes)


def test_a_warp_by_nothing_changes_nothing():
    sample = crowd()[0]
    assert equal(warp(sample, np.eye(2, 3), size=sample.size, clip=False), sample)


def test_an_enlarged_box_ends_exactly_where_its_pixels_end():
    sample = painted((255, 0, 0), (10, 5, 30, 40), size=(50, 50))
    enlarged = warp(sample, np.array([[4.0, 0, 0], [0, 4.0, 0]]), size=(200, 200), clip=False)
    solid = np.nonzero(enlarged.image[..., 0] > 137)
    assert [solid[1].min(), solid[0].min(), solid[1].max() + 1, solid[0].max() + 1] == [40, 20, 120, 160]
    assert enlarged.boxes.tolist() == [[40, 20, 120, 160]]


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_a_turned_scaled_sheared_and_shifted_box_still_bounds_its_pixels(seed: int):
    sample = crowd()[0]
    chosen = Augmentation(scale=(0.4, 1.6), degrees=25.0, shear=8.0)
    moved = random_affine(sample, size=SIZE, settings=chosen, rng=np.random.default_rng(seed))
    pixels = extent(moved.image, COLOURS[0])
    if pixels is not None and np.prod(pixels[2:] - pixels[:2]) > 100:
        assert len(moved.boxes) == 1
        assert bounds(moved.boxes[0], pixels)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, clip=st.booleans())
def test_each_box_of_a_mosaic_bounds_the_pixels_of_its_own_image(seed: int, clip: bool):
    joined = mosaic(crowd(), SIZE, clip=clip, rng=np.random.default_rng(seed))
    assert joined.size == (192, 320)
    visible = [pixels for c in COLOURS if (pixels := extent(joined.image, c)) is not None]
    assert len(visible) <= len(joined.boxes) <= 4
    for pixels in visible:
        assert sum(bounds(box, pixels) for box in joined.boxes) >= 1


def test_a_mosaic_keeps_boxes_whole_unless_told_to_clip():
    edge = [Sample(s.image, np.array([[-30.0, -30.0, 400.0, 400.0]])) for s in crowd()]
    whole = mosaic(edge, SIZE, clip=False, rng=np.random.default_rng(0))
    clipped = mosaic(edge, SIZE, clip=True, rng=np.random.default_rng(0))
    assert whole.boxes.min() < 0
    assert clipped.boxes.min() >= 0
    assert (clipped.boxes.max(axis=0) <= [320, 192, 320, 192]).all()


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_a_box_that_is_mixed_in_bounds_its_pixels_and_the_others_stay(seed: int):
    base = Sample(np.full((*SIZE, 3), 20, dtype=np.uint8), np.array([[1.0, 2.0, 30.0, 40.0]]))
    mixed = mixup(base, crowd()[0], settings=Augmentation(), rng=np.random.default_rng(seed))
    assert mixed.size == SIZE
    assert mixed.boxes[0].tolist() == base.boxes[0].tolist()
    if len(mixed.boxes) == 2:
        pixels = extent(mixed.image, COLOURS[0])
        assert pixels is not None
        assert bounds(mixed.boxes[1], pixels)


def test_mixing_in_an_image_without_people_changes_nothing():
    empty = Sample(crowd()[1].image, np.zeros((0, 4)))
    base = pad(fit(crowd()[0], SIZE), SIZE)
    assert mixup(base, empty, settings=Augmentation(), rng=np.random.default_rng(0)) is base


def test_mixed_pixels_are_the_mean_of_both():
    base, other = (Sample(np.full((*SIZE, 3), v, np.uint8), np.array([[9.0, 9, 90, 90]])) for v in (40, 200))
    chosen = Augmentation(mixup_scale=(1.0, 1.0))
    mixed = mixup(base, other, settings=chosen, rng=np.random.default_rng(0))
    assert np.unique(mixed.image).tolist() == [120]


@pytest.mark.parametrize(
    ("box", "why"),
    [
        ((50, 50, 51.9, 70), "a side of at most 2 pixels"),
        ((10, 50, 90, 54), "20 times as wide as tall"),
        ((101, 10, 130, 90), "outside"),
        ((10, -40, 30, 0), "above"),
    ],
)
def test_a_warp_drops_boxes_that_teach_nothing(box: tuple[float, ...], why: str):
    sample = Sample(np.zeros((100, 100, 3), np.uint8), np.array([box, (20, 20, 60, 60)], dtype=np.float64))
    kept = warp(sample, np.eye(2, 3), size=(100, 100), clip=False)
    assert kept.boxes.tolist() == [[20, 20, 60, 60]], why


def test_clipping_drops_a_box_of_which_a_fifth_or_less_remains_and_shortens_the_rest():
    boxes = np.array([[-85.0, 10, 15, 60], [-75, 10, 25, 60]])
    sample = Sample(np.zeros((100, 100, 3), np.uint8), boxes)
    assert warp(sample, np.eye(2, 3), size=(100, 100), clip=True).boxes.tolist() == [[0, 10, 25, 60]]
    assert warp(sample, np.eye(2, 3), size=(100, 100), clip=False).boxes.tolist() == boxes.tolist()


def test_colours_stay_when_their_chance_is_zero_and_vary_when_it_is_one():
    sample = crowd()[0]
    assert equal(distort(sample, 0.0, np.random.default_rng(0)), sample)
    changed = distort(sample, 1.0, np.random.default_rng(0))
    assert not np.array_equal(changed.image, sample.image)
    assert changed.image.dtype == np.uint8
    assert np.array_equal(changed.boxes, sample.boxes)


@given(seed=seeds)
def test_distorted_grey_moves_no_further_than_brightness_and_contrast_may(seed: int):
    grey = Sample(np.full((2, 2, 3), 100, np.uint8), np.zeros((0, 4)))
    found = distort(grey, 0.5, np.random.default_rng(seed)).image
    assert np.ptp(found) == 0
    assert (100 - 32) * 0.5 - 1 <= found.min() <= (100 + 32) * 1.5


def test_no_input_is_written_to():
    samples = crowd()
    before = [(s.image.copy(), s.boxes.copy()) for s in samples]
    for seed in range(4):
        augment(
            0,
            load=samples.__getitem__,
            count=4,
            size=SIZE,
            settings=Augmentation(),
            rng=np.random.default_rng(seed),
        )
    for sample, (image, boxes) in zip(samples, before, strict=True):
        assert np.array_equal(sample.image, image)
        assert np.array_equal(sample.boxes, boxes)


def varied(seed: int, samples: list[Sample], **changes) -> Sample:
    rng = np.random.default_rng(seed)
    chosen = Augmentation(**changes)
    return augment(0, load=samples.__getitem__, count=len(samples), size=SIZE, settings=chosen, rng=rng)


def test_one_seed_gives_one_sample_and_another_seed_another():
    assert equal(varied(7, crowd()), varied(7, crowd()))
    assert not np.array_equal(varied(7, crowd()).image, varied(8, crowd()).image)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, chances=st.tuples(*[st.sampled_from([0.0, 0.5, 1.0])] * 5))
def test_a_sample_depends_on_the_images_and_the_generator_and_on_nothing_else(seed: int, chances: tuple[float, ...]):
    names = ("mosaic", "mixup", "affine", "flip", "colour")
    changes = {f"{name}_probability": chance for name, chance in zip(names, chances, strict=True)}
    samples = crowd()
    cv2.setRNGSeed(seed + 1)
    first = varied(seed, samples, **changes)
    cv2.setRNGSeed(seed + 2)
    varied(seed + 1, samples, **changes)
    assert equal(varied(seed, samples, **changes), first)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clip_boxes": True},
        {"mosaic_probability": 0.0},
        {"mosaic_probability": 0.0, "affine_probability": 1.0},
    ],
)
def test_every_way_of_varying_gives_an_image_of_the_asked_size_with_boxes_that_touch_it(changes: dict):
    for seed in range(20):
        sample = varied(seed, crowd(), **changes)
        assert sample.size == SIZE
        assert (sample.boxes[:, :2] < [160, 96]).all()
        assert (sample.boxes[:, 2:] > 0).all()


@pytest.mark.parametrize("mosaic_probability", [0.0, 1.0])
def test_images_without_people_pass_through(mosaic_probability: float):
    nobody = [Sample(s.image, np.zeros((0, 4))) for s in crowd()]
    for seed in range(5):
        found = varied(seed, nobody, mosaic_probability=mosaic_probability, affine_probability=1.0)
        assert found.boxes.shape == (0, 4)


def test_without_any_variation_a_sample_is_letter_boxed_with_a_grey_that_no_colour_touches():
    found = varied(3, crowd(), mosaic_probability=0.0, flip_probability=1.0, colour_probability=1.0)
    assert (found.image[:, 130:] == PAD).all()
    still = varied(3, crowd(), mosaic_probability=0.0, flip_probability=0.0, colour_probability=0.0)
    assert equal(still, pad(fit(crowd()[0], SIZE), SIZE))


def test_labels_are_centres_and_sizes_padded_with_zeros():
    sample = Sample(np.zeros((9, 9, 3), np.uint8), np.array([[-4.0, 0, 6, 8], [1, 1, 2, 5], [0, 0, 2, 2]]))
    assert to_labels(sample, 3).tolist() == [[0, 1, 4, 10, 8], [0, 1, 1, 2, 2], [0] * 5]
    assert to_labels(sample, 1).tolist() == [[0, 1, 4, 10, 8]]
    assert to_labels(dataclasses.replace(sample, boxes=np.zeros((0, 4))), 2).tolist() == [[0] * 5] * 2


@pytest.mark.parametrize(
    "changes",
    [
        {"flip_probability": 1.1},
        {"mosaic_probability": -0.1},
        {"scale": (2.0, 0.1)},
        {"mixup_scale": (0.0, 1.0)},
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(changes: dict):
    with pytest.raises(ValueError, match=next(iter(changes))):
        Augmentation(**changes)
