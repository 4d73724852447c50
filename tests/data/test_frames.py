"""Reading images, the letter-box and the two input conventions."""

import doctest
import inspect

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import frames
from pipeline.data.frames import PAD, letterbox, network_input, read_image


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_docstrings_examples_hold():
    assert doctest.testmod(frames).failed == 0


def test_an_image_is_read_as_blue_green_red(tmp_path):
    image = picture(6, 8)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)


def test_a_grey_image_is_read_with_three_channels(tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), picture(6, 8)[..., 0])
    assert read_image(tmp_path / "grey.png").shape == (6, 8, 3)


def test_a_missing_empty_or_unreadable_image_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"none\.jpg: no such file"):
        read_image(tmp_path / "none.jpg")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ValueError, match=r"empty\.jpg: 0 bytes"):
        read_image(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.jpg: 10 bytes that are no whole image"):
        read_image(tmp_path / "text.jpg")


@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_an_image_cut_short_is_refused_by_name(tmp_path, extension):
    path = tmp_path / f"cut.{extension}"
    path.write_bytes(cv2.imencode(f".{extension}", picture(64, 64))[1].tobytes()[:-1000])
    with pytest.raises(ValueError, match=r"cut\..* no whole image"):
        read_image(path)


def test_the_letter_box_keeps_the_top_left_and_pads_the_rest_with_grey():
    image = picture(31, 40)
    fitted, ratio = letterbox(image, (64, 64))
    assert ratio == 1.6
    rows = 49  # 49.6, rounded down as by Megvii
    np.testing.assert_array_equal(fitted[:rows], cv2.resize(image, (64, rows), interpolation=cv2.INTER_LINEAR))
    assert (fitted[rows:] == PAD).all()


def test_an_image_of_the_networks_size_is_left_as_it_is():
    image = picture(64, 96)
    fitted, ratio = letterbox(image, (64, 96))
    assert ratio == 1
    np.testing.assert_array_equal(fitted, image)


def test_a_sliver_keeps_at_least_one_row():
    fitted, _ = letterbox(np.zeros((1, 1000, 3), np.uint8), (32, 32))
    assert (fitted[0] == 0).all()
    assert (fitted[1:] == PAD).all()


def centre_after_letterbox(shape, size, centre) -> tuple[np.ndarray, float]:
    """Where a round white spot at `centre` of a black image is found in the letter-boxed one, and the ratio."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    spot = 255 * np.exp(-((columns - centre[0]) ** 2 + (rows - centre[1]) ** 2) / 200)
    fitted, ratio = letterbox(np.repeat(spot[..., None], 3, axis=2).astype(np.uint8), size)
    weight = fitted[: int(shape[0] * ratio), : int(shape[1] * ratio), 0].astype(float)
    grid = np.mgrid[: weight.shape[0], : weight.shape[1]][::-1] + 0.5
    return (grid * weight).sum(axis=(1, 2)) / weight.sum(), ratio


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((480, 640), (256, 448)),
        ((480, 640), (416, 416)),
        ((1080, 1920), (800, 1440)),
        ((256, 448), (256, 448)),
    ],
)
@pytest.mark.parametrize("place", [(0.2, 0.3), (0.9, 0.9), (0.5, 0.1)])
def test_a_spot_there_and_back_is_found_within_half_a_pixel_of_the_networks(shape, size, place):
    centre = np.multiply(place, (shape[1], shape[0]))
    found, ratio = centre_after_letterbox(shape, size, centre)
    assert np.abs(found / ratio - centre).max() * ratio < 0.5


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.integers(120, 400), st.integers(120, 400)), st.tuples(st.integers(3, 10), st.integers(3, 10)))
def test_between_any_sizes_a_spot_moves_by_less_than_a_pixel_of_the_networks(shape, cells):
    centre = np.array([shape[1] * 0.7, shape[0] * 0.6])
    found, ratio = centre_after_letterbox(shape, (32 * cells[0], 32 * cells[1]), centre)
    assert np.abs(found / ratio - centre).max() * ratio < 1


def test_the_yolox011_convention_leaves_values_and_channels_alone():
    image = picture(4, 6)
    tensor = network_input(image, "yolox011")
    assert tensor.dtype == np.float32
    np.testing.assert_array_equal(tensor, image.transpose(2, 0, 1))


def test_the_bytetrack_convention_is_rgb_with_imagenets_mean_and_deviation():
    blue_green_red = np.full((2, 3, 3), (255, 0, 114), dtype=np.uint8)
    tensor = network_input(blue_green_red, "bytetrack")
    expected = [(114 / 255 - 0.485) / 0.229, (0 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert tensor.dtype == np.float32
    np.testing.assert_allclose(tensor, np.broadcast_to(np.reshape(expected, (3, 1, 1)), (3, 2, 3)), rtol=1e-6)


@pytest.mark.parametrize("convention", ["rgb", "", None])
def test_an_unknown_convention_is_refused_never_guessed(convention):
    with pytest.raises(ValueError, match="expected 'bytetrack' or 'yolox011'"):
        inspect.unwrap(network_input)(picture(2, 2), convention)
