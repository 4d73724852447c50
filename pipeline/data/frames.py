"""Frames: from an image file to what the detector's network takes.

A detector's weights fix how their input is scaled, and no checkpoint says so: the input convention is a
parameter everywhere and has no default. `bytetrack` is RGB, scaled by ImageNet's mean and deviation, as in
ifzhang/ByteTrack@d1bf019 and Megvii's weights of release 0.1.0; `yolox011` is raw BGR from 0 to 255, as in
Megvii's weights since 0.1.1rc0.
"""

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

InputConvention = Literal["bytetrack", "yolox011"]
Image = UInt8[np.ndarray, "height width 3"]

PAD = 114  # the grey that YOLOX pads with, in training and inference (yolox/data/data_augment.py)
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)  # red, green, blue
IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def read_image(path: Path) -> Image:
    """Read an image file as BGR.

    Raises:
        ValueError: the file is missing, empty, cut short or no image.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file, expected an image. Check the data set's folder.")
    data = np.fromfile(path, dtype=np.uint8)
    if data.size == 0:
        raise ValueError(f"{path}: 0 bytes, expected an image. Extract the data set again.")
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path}: {data.size} bytes that are no whole image. Extract the data set again.")
    return image


def letterbox(image: Image, size: tuple[int, int]) -> tuple[UInt8[np.ndarray, "fitted_height fitted_width 3"], float]:
    """Fit an image into `size` = (height, width) at its top left, keeping its aspect; grey fills the rest.

    Returns the image and the ratio: a point of the original, times the ratio, is the point of the result.

    >>> fitted, ratio = letterbox(np.zeros((480, 640, 3), np.uint8), (256, 448))
    >>> fitted.shape, round(ratio, 3)
    ((256, 448, 3), 0.533)
    """
    height, width = image.shape[:2]
    ratio = min(size[0] / height, size[1] / width)
    # Rounding down is what the weights were trained with, though it shrinks one side by up to a pixel more.
    inner_height, inner_width = max(int(height * ratio), 1), max(int(width * ratio), 1)
    fitted = np.full((*size, 3), PAD, dtype=np.uint8)
    fitted[:inner_height, :inner_width] = cv2.resize(image, (inner_width, inner_height))
    return fitted, ratio


def network_input(image: Image, convention: InputConvention) -> Float32[np.ndarray, "3 height width"]:
    """A letter-boxed BGR image as the network's input, its padding scaled like any other pixel.

    Raises:
        ValueError: there is no such convention.
    """
    if convention == "yolox011":
        return _planes(image)
    if convention == "bytetrack":
        # A byte has 256 values: looking them up takes a third of the time of computing them.
        values = np.arange(256, dtype=np.float32) / np.float32(255)
        tables = (values - IMAGENET_MEAN[:, None]) / IMAGENET_DEVIATION[:, None]
        planes = np.empty((3, *image.shape[:2]), dtype=np.float32)
        for channel, table, plane in zip(cv2.split(image)[::-1], tables, planes, strict=True):
            cv2.LUT(channel, table, dst=plane)
        return planes
    raise ValueError(
        f"input_convention: found {convention!r}, expected 'bytetrack' or 'yolox011'. "
        "Take the one that the weights were trained with."
    )


def _planes(image: Image) -> Float32[np.ndarray, "3 height width"]:
    # Bytes are moved before they grow to floats: several times faster than the other way round.
    return np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)
