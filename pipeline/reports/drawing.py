"""Tracks drawn on frames: boxes, identities and trails, sized for the frame from 480p to 4K."""

import collections
import colorsys

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

Image = UInt8[np.ndarray, "height width 3"]
Identities = Int[np.ndarray, " tracks"]
Boxes = Float[np.ndarray, "tracks 4"]
Colour = tuple[int, int, int]

_GOLDEN = (5**0.5 - 1) / 2  # multiples of it spread evenly round the circle of hues, however many there are
_FONT = cv2.FONT_HERSHEY_SIMPLEX
TRAIL = 45  # frames that a trail is long
TITLE = 24  # pixels of the line above a titled picture
_FAR = 1 << 15  # pixels; drawing coordinates are small whole numbers


class Trails:
    """Where each identity's feet were in the last `length` frames; memory is bounded by the tracks in them."""

    def __init__(self, length: int = TRAIL) -> None:
        self._length = length
        self._frame = 0
        self._points: dict[int, collections.deque[tuple[int, int, int]]] = {}  # frame, x, y

    def update(self, identities: Identities, boxes: Boxes) -> None:
        """Note where the tracks of the next frame stand."""
        self._frame += 1
        for identity, (x1, _, x2, y2) in zip(identities.tolist(), _whole(boxes), strict=True):
            self._points.setdefault(identity, collections.deque()).append((self._frame, (x1 + x2) // 2, y2))
        for identity, points in list(self._points.items()):
            while points and points[0][0] <= self._frame - self._length:
                points.popleft()
            if not points:
                del self._points[identity]

    def lines(self) -> dict[int, Int[np.ndarray, "points 2"]]:
        """The way of each identity, oldest point first."""
        return {identity: np.array([p[1:] for p in points], np.int64) for identity, points in self._points.items()}


def draw(image: Image, identities: Identities, boxes: Boxes, trails: Trails) -> None:
    """Draw the tracks of a frame onto it, boxes x1 y1 x2 y2 in its pixels, after `trails` noted them."""
    width = line_width(image)
    for identity, points in trails.lines().items():
        way = points.astype(np.int32)
        cv2.polylines(image, [way], isClosed=False, color=colour(identity), thickness=width, lineType=cv2.LINE_AA)
    # Lower boxes are nearer to the camera and are drawn over the others.
    corners = _whole(boxes)
    for row in sorted(range(len(corners)), key=lambda row: corners[row][3]):
        x1, y1, x2, y2 = corners[row]
        cv2.rectangle(image, (x1, y1), (x2, y2), colour(int(identities[row])), width)
        _label(image, str(identities[row]), (x1, y1), colour(int(identities[row])))


def mark(image: Image, box: Float[np.ndarray, " 4"]) -> None:
    """Brackets round a box, white on black, which no identity's colour is."""
    width = line_width(image)
    ((x1, y1, x2, y2),) = _whole(box[None] + np.array([-4, -4, 4, 4]) * width)
    arm = max(4 * width, min(x2 - x1, y2 - y1) // 4)
    for ink, thick in (((0, 0, 0), width + 2), ((255, 255, 255), width)):
        for x, y, right, down in ((x1, y1, 1, 1), (x2, y1, -1, 1), (x1, y2, 1, -1), (x2, y2, -1, -1)):
            way = np.array([[x + right * arm, y], [x, y], [x, y + down * arm]], np.int32)
            cv2.polylines(image, [way], isClosed=False, color=ink, thickness=thick)


def titled(image: Image, text: str) -> UInt8[np.ndarray, "titled_height width 3"]:
    """The image below a dark line of text."""
    line = np.full((TITLE, image.shape[1], 3), 32, np.uint8)
    cv2.putText(line, text, (6, TITLE - 7), _FONT, 0.5, (240, 240, 240), 1, cv2.LINE_AA)
    return np.vstack([line, image])


def colour(identity: int) -> Colour:
    """Blue, green, red of an identity: always the same, far from those of its neighbours.

    >>> colour(7) == colour(7), colour(7) == colour(8)
    (True, False)
    """
    red, green, blue = colorsys.hsv_to_rgb(identity * _GOLDEN % 1, 0.85 if identity % 2 else 0.6, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)


def line_width(image: Image) -> int:
    """Pixels that a line is wide: 1 at 480p, 3 at 1080p, 6 at 4K."""
    return max(1, round(min(image.shape[:2]) / 360))


def _label(image: Image, text: str, corner: tuple[int, int], background: Colour) -> None:
    """A number on a plate above `corner`, moved inwards where that is outside the frame."""
    width = line_width(image)
    scale = cv2.getFontScaleFromHeight(_FONT, max(9, round(min(image.shape[:2]) / 54)), width)
    (wide, high), below = cv2.getTextSize(text, _FONT, scale, width)
    margin = width + 1
    x = int(np.clip(corner[0], 0, max(image.shape[1] - wide - 2 * margin, 0)))
    y = int(np.clip(corner[1], high + below + margin, image.shape[0]))
    cv2.rectangle(image, (x, y - high - below - margin), (x + wide + 2 * margin, y), background, cv2.FILLED)
    cv2.putText(image, text, (x + margin, y - below), _FONT, scale, _ink(background), width, cv2.LINE_AA)


def _ink(background: Colour) -> Colour:
    """Black or white, whichever is read better (luminance by ITU-R BT.601)."""
    blue, green, red = background
    return (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > 128 else (255, 255, 255)


def _whole(boxes: Boxes) -> list[list[int]]:
    return np.rint(np.clip(boxes, -_FAR, _FAR)).astype(np.int64).tolist()
