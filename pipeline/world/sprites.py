"""Drawing boards finer than the image, and the stamps they leave in it.

Colours are BGR. A board is shrunk when it is stamped, so edges are smooth and positions exact to a quarter of a pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

Colour = tuple[int, int, int]
Point = tuple[float, float]

SUPERSAMPLING = 4
_CIRCLE = np.array([(np.cos(angle), np.sin(angle)) for angle in np.arange(16) * np.pi / 8])


@dataclass(frozen=True)
class Stamp:
    """A drawing at the image's resolution whose upper left pixel belongs at column `left` and row `top`.

    `pixels` is BGR and opacity, the colours already multiplied by the opacity. A reflection is fainter by `strength`
    and seen only through `window`: first column, first row, and those after the last.
    """

    left: int
    top: int
    pixels: UInt8[np.ndarray, "height width 4"]
    strength: float = 1.0
    window: tuple[int, int, int, int] | None = None

    @property
    def mask(self) -> Bool[np.ndarray, "height width"]:
        """The pixels that count as drawn: those at least half opaque."""
        return self.pixels[:, :, 3] >= 128


class Canvas:
    """A board to draw one thing on, in metres right of and above a point on the ground.

    The board spans `reach` metres to both sides, `above` and `below` metres from that point; `scale` is the image's
    pixels per metre at the thing's distance.
    """

    def __init__(self, scale: float, *, reach: float, above: float, below: float) -> None:
        self._scale = scale * SUPERSAMPLING
        self._origin = np.ceil(np.array([reach, above]) * self._scale).astype(int)
        down = int(np.ceil(below * self._scale))
        self._board = np.zeros((self._origin[1] + down, 2 * self._origin[0], 4), np.uint8)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill the polygon through `points`."""
        cv2.fillPoly(self._board, [self._place(points)], (*colour, 255))

    def ellipse(self, centre: Point, radii: Point, colour: Colour) -> None:
        """Fill an upright ellipse."""
        axes = np.maximum(np.rint(np.array(radii) * self._scale), 1).astype(int)
        cv2.ellipse(self._board, self._place([centre])[0].tolist(), axes.tolist(), 0, 0, 360, (*colour, 255), -1)

    def limb(self, start: Point, end: Point, radii: Point, colour: Colour) -> None:
        """Fill the hull of two discs, shaded on the side away from the light."""
        for share, factor, shift in ((1.0, 0.74, 0.0), (0.72, 1.0, -0.26)):
            offset = np.array([shift, -0.5 * shift]) * min(radii)
            ends = np.array([start, end]) + offset
            cloud = (ends[:, None] + share * np.array(radii)[:, None, None] * _CIRCLE).reshape(-1, 2)
            hull = cv2.convexHull(self._place(cloud))
            cv2.fillConvexPoly(self._board, hull, (*shade(colour, factor), 255))

    def stamp(self, column: float, row: float) -> Stamp:
        """The drawing with its ground point at a real-valued place of the image, cut to what is drawn."""
        x, y, width, height = cv2.boundingRect(self._board[:, :, 3])
        corner = np.rint(np.array([column, row]) * SUPERSAMPLING).astype(int) - self._origin + [x, y]
        left, top = corner // SUPERSAMPLING
        before = corner % SUPERSAMPLING
        after = -(corner + np.array([width, height])) % SUPERSAMPLING
        drawn = self._board[y : y + height, x : x + width]
        board = cv2.copyMakeBorder(drawn, before[1], after[1], before[0], after[0], cv2.BORDER_CONSTANT, value=0)
        size = (board.shape[1] // SUPERSAMPLING, board.shape[0] // SUPERSAMPLING)
        return Stamp(int(left), int(top), cv2.resize(board, size, interpolation=cv2.INTER_AREA))

    def _place(self, points: Sequence[Point] | np.ndarray) -> np.ndarray:
        return np.rint(np.asarray(points) * [self._scale, -self._scale] + self._origin).astype(np.int32)


def shade(colour: Colour, factor: float) -> Colour:
    """The colour made lighter or darker.

    >>> shade((100, 200, 50), 0.5)
    (50, 100, 25)
    """
    blue, green, red = (min(int(value * factor), 255) for value in colour)
    return blue, green, red
