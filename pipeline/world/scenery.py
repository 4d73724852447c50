"""Drawn places: ground, backdrop and things to walk behind, seen by a camera that may move sideways.

World coordinates are metres: x to the right, z away from the camera, heights above the ground.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from pipeline.world.props import PARK, PLAZA, ROAD, Prop, arrange
from pipeline.world.sprites import Colour, Point, shade

HORIZON = 0.17  # row of the horizon, in image heights
FOCAL = 1.75  # focal length, in image heights
EYE = 3.2  # height of the camera above the ground, metres
WALL = 24.0  # distance of the backdrop, metres
TEXELS = 32  # pixels of ground and backdrop textures per metre
SPAN = 36.0  # width of both textures, metres
RISE = 6.5  # height of the backdrop's texture, metres

Texture = UInt8[np.ndarray, "_ _ 3"]


@dataclass(frozen=True)
class Camera:
    """A camera that looks along z from `x`, its image shifted by `shake` pixels right and down."""

    width: int
    height: int
    x: float = 0.0
    shake: Point = (0.0, 0.0)

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return FOCAL * self.height

    def scale(self, z: float) -> float:
        """Pixels per metre at distance `z`."""
        return self.focal / z

    def project(self, x: float, z: float, height: float = 0.0) -> Point:
        """Column and row of a point.

        >>> Camera(448, 200).project(0.0, 14.0)
        (224.0, 114.0)
        """
        column = self.width / 2 + (x - self.x) * self.scale(z) + self.shake[0]
        row = HORIZON * self.height + (EYE - height) * self.scale(z) + self.shake[1]
        return column, row

    def reach(self, z: float) -> float:
        """Metres seen to each side at distance `z`."""
        return self.width / 2 / self.scale(z)


@dataclass(frozen=True)
class Place:
    """A scene without people.

    `sun` is where the shadow of one pixel of height falls, in pixels right and up; `warmth` scales blue, green, red.
    """

    ground: Texture
    backdrop: Texture
    props: tuple[Prop, ...]
    sun: Point
    warmth: tuple[float, float, float]


def street_place(rng: np.random.Generator, style: int) -> Place:
    """A plaza with shops, a park or a road with parked cars, in turn by `style`."""
    paint_ground, paint_backdrop, stands = (
        (_paved, _shops, PLAZA),
        (_path, _trees, PARK),
        (_road, _shops, ROAD),
    )[style % 3]
    sun = (float(rng.choice([-1, 1]) * rng.uniform(0.35, 0.7)), float(rng.uniform(0.12, 0.25)))
    warmth = ((0.94, 1.0, 1.05), (1.04, 1.0, 0.96), (0.9, 0.98, 1.06))[rng.integers(3)]
    return Place(paint_ground(rng), paint_backdrop(rng), arrange(rng, stands), sun, warmth)


def stage_place(rng: np.random.Generator) -> Place:
    """A stage: boards, a curtain, light from above."""
    return Place(_boards(rng), _curtain(rng), (), (0.0, 0.06), (0.97, 0.99, 1.04))


def view(place: Place, camera: Camera) -> Float32[np.ndarray, "height width 3"]:
    """The empty place as the camera sees it, 0 to 255."""
    columns = (np.arange(2 * camera.width) + 0.5) / 2 - camera.width / 2 - camera.shake[0]
    rows = ((np.arange(2 * camera.height) + 0.5) / 2 - HORIZON * camera.height - camera.shake[1])[:, None]
    distance = np.minimum(EYE * camera.focal / np.maximum(rows, 1.0), WALL)
    across = distance / camera.focal * columns + camera.x + SPAN / 2
    ground = _sample(place.ground, across, distance)
    wall = _sample(place.backdrop, across, RISE - EYE + rows * WALL / camera.focal)
    seen = np.where((distance >= WALL)[:, :, None], wall, ground)
    return cv2.resize(seen, (camera.width, camera.height), interpolation=cv2.INTER_AREA).astype(np.float32)


def _sample(texture: Texture, across: np.ndarray, along: np.ndarray) -> Texture:
    """The texture at places given in metres, mirrored where it ends."""
    x, y = (value.astype(np.float32) for value in np.broadcast_arrays(across * TEXELS, along * TEXELS))
    return cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _noise(rng: np.random.Generator, depth: float, *, grain: float, strength: float) -> np.ndarray:
    """Smooth grey noise around zero for a texture `depth` metres tall, with blobs of about `grain` metres."""
    shape = (int(depth / grain) + 2, int(SPAN / grain) + 2)
    size = (int(SPAN * TEXELS), int(depth * TEXELS))
    coarse = rng.normal(0, strength, shape).astype(np.float32)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)[:, :, None]


def _plain(rng: np.random.Generator, depth: float, colour: Colour, roughness: float = 5.0) -> np.ndarray:
    surface = _noise(rng, depth, grain=1.7, strength=roughness) + _noise(rng, depth, grain=0.06, strength=roughness)
    return np.clip(np.array(colour, np.float32) + surface, 0, 255).astype(np.uint8)


def _grid(texture: np.ndarray, pitch: float, colour: Colour) -> None:
    """Draw the joints of square tiles of `pitch` metres, in place."""
    rows, columns = texture.shape[:2]
    for y in np.arange(0, rows, pitch * TEXELS):
        cv2.line(texture, (0, int(y)), (columns, int(y)), colour, 1)
    for x in np.arange(0, columns, pitch * TEXELS):
        cv2.line(texture, (int(x), 0), (int(x), rows), colour, 1)


def _box(texture: np.ndarray, left: float, low: float, right: float, high: float, colour: Colour) -> None:
    """Fill a rectangle of the backdrop given in metres from its left end and the ground."""
    corners = (
        (int(left * TEXELS), int((RISE - high) * TEXELS)),
        (int(right * TEXELS), int((RISE - low) * TEXELS)),
    )
    cv2.rectangle(texture, *corners, colour, -1)


def _paved(rng: np.random.Generator) -> Texture:
    tone = int(rng.integers(150, 176))
    texture = _plain(rng, WALL, (tone - 8, tone, tone + 4))
    for _ in range(500):
        x, z = int(rng.uniform(0, SPAN)) * TEXELS, int(rng.uniform(0, WALL)) * TEXELS
        texture[z : z + TEXELS, x : x + TEXELS] = np.clip(
            texture[z : z + TEXELS, x : x + TEXELS] + rng.normal(0, 5), 0, 255
        )
    _grid(texture, 1.0, (tone - 34, tone - 30, tone - 28))
    return texture


def _path(rng: np.random.Generator) -> Texture:
    texture = _plain(rng, WALL, (86, 142, 124), roughness=9.0)
    gravel = _plain(rng, WALL, (150, 178, 192), roughness=6.0)
    edge = 1.2 * np.sin(np.linspace(0, 7, texture.shape[1]) + rng.uniform(0, 6)) * TEXELS
    rows = np.arange(texture.shape[0])[:, None]
    is_gravel = (np.abs(rows - (13.2 * TEXELS + edge)) < 2.6 * TEXELS)[:, :, None]
    return np.where(is_gravel, gravel, texture).astype(np.uint8)


def _road(rng: np.random.Generator) -> Texture:
    texture = _plain(rng, WALL, (128, 124, 122), roughness=4.0)
    pavement = _plain(rng, WALL, (166, 172, 176))
    _grid(pavement, 0.8, (138, 144, 148))
    kerbs = [int(z * TEXELS) for z in (9.0, 15.5)]
    texture[: kerbs[0]], texture[kerbs[1] :] = pavement[: kerbs[0]], pavement[kerbs[1] :]
    for kerb in kerbs:
        texture[kerb - 4 : kerb + 4] = (196, 200, 202)
    for x in np.arange(0, SPAN, 3.2):
        _mark(texture, x, 12.2, 1.6, 0.2)
    crossing = float(rng.uniform(14.0, 20.0))
    for z in np.arange(9.4, 15.2, 0.9):
        _mark(texture, crossing, z, 2.6, 0.45)
    return cv2.GaussianBlur(texture, (3, 3), 0)


def _mark(texture: np.ndarray, x: float, z: float, width: float, depth: float) -> None:
    """Paint a white bar on the road, in place."""
    corners = (int(x * TEXELS), int(z * TEXELS)), (int((x + width) * TEXELS), int((z + depth) * TEXELS))
    cv2.rectangle(texture, *corners, (215, 219, 221), -1)


def _boards(rng: np.random.Generator) -> Texture:
    texture = _plain(rng, WALL, (96, 138, 176), roughness=4.0)
    texture = np.clip(texture + _noise(rng, WALL, grain=3.0, strength=20.0), 0, 255).astype(np.uint8)
    board = int(0.35 * TEXELS)
    for x in range(0, texture.shape[1], board):
        plank = texture[:, x : x + board]
        texture[:, x : x + board] = np.clip(plank * rng.uniform(0.88, 1.08), 0, 255)
        cv2.line(texture, (x, 0), (x, texture.shape[0]), (62, 92, 122), 1)
    return texture


def _shops(rng: np.random.Generator) -> Texture:
    walls: tuple[Colour, ...] = (
        (150, 168, 196),
        (120, 136, 170),
        (176, 184, 186),
        (168, 190, 206),
        (132, 150, 140),
    )
    signs: tuple[Colour, ...] = ((60, 92, 40), (50, 50, 130), (110, 66, 40), (70, 70, 74))
    texture = _plain(rng, RISE, walls[0])
    left = 0.0
    while left < SPAN:
        width, wall, sign = rng.uniform(4.5, 7.5), walls[rng.integers(5)], signs[rng.integers(4)]
        _box(texture, left, 0.0, left + width, RISE, wall)
        _shop_front(texture, left, width, sign)
        for x in np.arange(left + 0.7, left + width - 1.2, 1.9):
            _box(texture, x - 0.08, 4.12, x + 1.08, RISE, shade(wall, 1.15))
            _box(texture, x, 4.2, x + 1.0, RISE, (96, 84, 72))
            _box(texture, x + 0.46, 4.2, x + 0.54, RISE, shade(wall, 1.15))
        _box(texture, left, 0.0, left + 0.12, RISE, shade(wall, 0.75))
        left += width
    texture = np.clip(texture + _noise(rng, RISE, grain=0.08, strength=4.0), 0, 255).astype(np.uint8)
    _box(texture, 0.0, 0.0, SPAN, 0.18, (120, 122, 126))
    return cv2.GaussianBlur(texture, (3, 3), 0)


def _shop_front(texture: np.ndarray, left: float, width: float, sign: Colour) -> None:
    _box(texture, left + 0.3, 0.2, left + width - 0.3, 2.9, shade(sign, 0.8))
    door = left + width - 1.6
    for start, end in (
        (left + 0.45, (left + door) / 2 - 0.05),
        ((left + door) / 2 + 0.05, door - 0.1),
        (door, door + 1.1),
    ):
        _box(texture, start, 0.5 if end < door else 0.25, end, 2.7, (108, 94, 80))
        for share, light in ((0.2, 1.3), (0.55, 1.18)):
            x, size = start + share * (end - start), 0.16 * (end - start)
            glint = [(x, 0.5), (x + size, 0.5), (x + size + 0.5, 2.7), (x + 0.5, 2.7)]
            points = np.array([(px * TEXELS, (RISE - py) * TEXELS) for px, py in glint if px <= end], np.int32)
            cv2.fillPoly(texture, [points], shade((108, 94, 80), light))
    _box(texture, left + 0.2, 2.95, left + width - 0.2, 3.55, sign)
    _box(texture, left + 0.3 * width, 3.15, left + 0.7 * width, 3.35, (225, 232, 236))
    for i, x in enumerate(np.arange(left + 0.3, left + width - 0.4, 0.35)):
        _box(texture, x, 2.55, x + 0.35, 2.95, sign if i % 2 else (228, 232, 234))


def _trees(rng: np.random.Generator) -> Texture:
    rows, columns = int(RISE * TEXELS), int(SPAN * TEXELS)
    sky = np.linspace(0, 1, rows)[:, None, None] * np.array([-14.0, 14.0, 44.0]) + np.array([238.0, 206.0, 176.0])
    texture = np.broadcast_to(sky, (rows, columns, 3)).astype(np.uint8).copy()
    for count, low, high, size, green in (
        (90, 2.0, 4.6, 0.9, (104, 138, 112)),
        (160, 1.2, 3.6, 0.7, (66, 112, 84)),
        (260, 0.2, 1.3, 0.4, (46, 92, 62)),
    ):
        _foliage(rng, texture, count, (low, high), size, green)
    _box(texture, 0.0, 0.0, SPAN, 0.7, (44, 84, 58))
    return cv2.GaussianBlur(texture, (5, 5), 0)


def _foliage(
    rng: np.random.Generator, texture: np.ndarray, count: int, band: Point, size: float, green: Colour
) -> None:
    for _ in range(count):
        x, height, radius = rng.uniform(0, SPAN), rng.uniform(*band), size * rng.uniform(0.5, 1.2)
        tone = shade(green, rng.uniform(0.8, 1.25))
        centre = int(x * TEXELS), int((RISE - height) * TEXELS)
        cv2.circle(texture, centre, int(radius * TEXELS), tone, -1)
        highlight = centre[0] - int(0.2 * radius * TEXELS), centre[1] - int(0.25 * radius * TEXELS)
        cv2.circle(texture, highlight, int(0.6 * radius * TEXELS), shade(tone, 1.12), -1)


def _curtain(rng: np.random.Generator) -> Texture:
    rows, columns = int(RISE * TEXELS), int(SPAN * TEXELS)
    folds = np.cumsum(rng.uniform(0.5, 1.5, columns)) / TEXELS
    light = 0.75 + 0.25 * np.sin(2 * np.pi * folds / 0.7) + 0.08 * np.sin(2 * np.pi * folds / 0.31)
    colour = np.array(((150, 120, 96), (104, 92, 150), (128, 140, 92))[rng.integers(3)], np.float64)
    texture = np.broadcast_to(light[None, :, None] * colour, (rows, columns, 3)).astype(np.uint8).copy()
    _box(texture, 0.0, 0.0, SPAN, 0.12, (60, 60, 66))
    return texture
