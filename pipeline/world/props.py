"""Drawn things that stand in a place and hide who passes behind them: trees, lamp posts, benches, cars.

Positions are metres on the ground, x to the right and z away from the camera; drawings are metres around the foot.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.world.sprites import Canvas, Colour, shade


@dataclass(frozen=True)
class Prop:
    """A thing that stands on the ground at `x`, `z` and hides who passes behind; `radius` is walked around."""

    kind: str
    x: float
    z: float
    radius: float
    tint: Colour


def draw_prop(prop: Prop, scale: float) -> Canvas:
    """Draw a prop at `scale` pixels per metre."""
    canvas = Canvas(scale, reach=2.6, above=5.6, below=0.6)
    _DRAWINGS[prop.kind](canvas, prop.tint)
    return canvas


# What stands in each place, with its nearest and farthest distance in metres.
Stands = tuple[tuple[str, float, float], ...]
PLAZA: Stands = (
    ("pane", 16.5, 17.5),
    ("tree", 9.5, 15.0),
    ("lamp", 7.5, 11.0),
    ("bench", 10.0, 13.0),
    ("planter", 8.5, 12.0),
    ("column", 11.0, 14.0),
)
PARK: Stands = (
    ("pane", 16.5, 17.5),
    ("tree", 8.5, 10.5),
    ("tree", 15.5, 17.5),
    ("bench", 10.0, 11.0),
    ("lamp", 7.5, 10.5),
    ("planter", 15.5, 16.5),
)
ROAD: Stands = (
    ("pane", 17.0, 17.5),
    ("car", 14.2, 15.0),
    ("car", 14.2, 15.0),
    ("lamp", 8.0, 8.6),
    ("tree", 15.8, 16.2),
    ("bench", 7.8, 8.4),
)
_RADII = {"tree": 0.5, "lamp": 0.35, "bench": 0.9, "planter": 0.8, "column": 0.9, "car": 1.6, "pane": 1.2}
_TINTS: tuple[Colour, ...] = ((150, 96, 50), (70, 70, 160), (160, 160, 164), (70, 110, 70), (50, 140, 200))
PANE = (-1.5, 1.5, 0.25, 2.45)  # the glass of a shelter: left, right, low and high, metres


def arrange(rng: np.random.Generator, stands: Stands) -> tuple[Prop, ...]:
    """Spread props over the ground, each in its own strip of an image twice as wide as its focal length."""
    strips = rng.permutation(np.linspace(-0.42, 0.42, len(stands))) + rng.uniform(-0.04, 0.04, len(stands))
    tints = rng.permutation(len(_TINTS))
    props = []
    for i, (kind, near, far) in enumerate(stands):
        z = float(rng.uniform(near, far))
        props.append(Prop(kind, float(strips[i]) * z, z, _RADII[kind], _TINTS[tints[i % len(_TINTS)]]))
    return tuple(props)


def _tree(canvas: Canvas, tint: Colour) -> None:
    rng = np.random.default_rng(tint)
    canvas.limb((0.0, 0.0), (0.05, 2.9), (0.2, 0.13), (58, 78, 102))
    canvas.limb((0.03, 2.2), (-0.6, 3.2), (0.08, 0.05), (58, 78, 102))
    canvas.ellipse((0.0, 3.9), (1.5, 0.95), (44, 92, 62))
    for _ in range(46):
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1) ** 0.5
        x, height = 1.5 * far * np.cos(angle), 3.9 + 1.05 * far * np.sin(angle)
        tone = shade((62, 128, 86), 0.72 + 0.16 * (height - 2.8) + rng.uniform(-0.06, 0.06))
        canvas.ellipse((x, height), (0.42, 0.36), tone)
        canvas.ellipse((x - 0.1, height + 0.1), (0.22, 0.18), shade(tone, 1.13))


def _lamp(canvas: Canvas, tint: Colour) -> None:
    canvas.limb((0.0, 0.0), (0.0, 0.5), (0.13, 0.11), (70, 72, 70))
    canvas.limb((0.0, 0.3), (0.0, 4.4), (0.075, 0.055), (78, 80, 78))
    canvas.limb((0.0, 4.4), (0.8, 4.6), (0.05, 0.05), (78, 80, 78))
    canvas.ellipse((0.85, 4.55), (0.28, 0.1), (190, 226, 236))


def _bench(canvas: Canvas, tint: Colour) -> None:
    for x in (-0.75, 0.75):
        canvas.limb((x, 0.0), (x, 0.85), (0.05, 0.04), (54, 54, 56))
    for height in (0.42, 0.62, 0.8):
        canvas.limb((-0.95, height), (0.95, height), (0.075, 0.075), (58, 104, 150))


def _planter(canvas: Canvas, tint: Colour) -> None:
    rng = np.random.default_rng(tint)
    for _ in range(40):
        x, height = rng.uniform(-0.7, 0.7), rng.uniform(0.55, 1.15)
        tone = shade((58, 120, 74), rng.uniform(0.75, 1.2))
        canvas.ellipse((x * (1.5 - height * 0.6), height), (0.16, 0.14), tone)
    for x in rng.uniform(-0.6, 0.6, 9):
        canvas.ellipse((float(x), float(rng.uniform(0.65, 1.1))), (0.06, 0.06), tint)
    canvas.polygon([(-0.8, 0.6), (0.8, 0.6), (0.7, 0.0), (-0.7, 0.0)], (126, 134, 140))
    canvas.polygon([(-0.84, 0.62), (0.84, 0.62), (0.82, 0.5), (-0.82, 0.5)], (152, 160, 166))


def _column(canvas: Canvas, tint: Colour) -> None:
    canvas.limb((0.0, 0.55), (0.0, 2.0), (0.55, 0.55), (176, 190, 198))
    canvas.polygon([(-0.55, 0.0), (0.55, 0.0), (0.55, 2.2), (-0.55, 2.2)], (150, 164, 174))
    canvas.polygon([(-0.5, 0.5), (0.15, 0.5), (0.15, 2.1), (-0.5, 2.1)], tint)
    canvas.polygon([(-0.42, 1.5), (0.07, 1.5), (0.07, 1.95), (-0.42, 1.95)], shade(tint, 1.5))
    canvas.polygon([(0.22, 0.5), (0.52, 0.5), (0.52, 2.1), (0.22, 2.1)], (190, 214, 222))
    canvas.ellipse((0.0, 2.35), (0.68, 0.2), (70, 84, 66))
    canvas.ellipse((0.0, 2.55), (0.4, 0.22), (82, 98, 78))


def _car(canvas: Canvas, tint: Colour) -> None:
    canvas.polygon([(-1.5, 0.8), (-0.95, 1.42), (0.75, 1.42), (1.45, 0.85)], shade(tint, 0.85))
    for glass in (
        [(-1.25, 0.86), (-0.85, 1.34), (-0.12, 1.34), (-0.12, 0.86)],
        [(0.0, 0.86), (0.0, 1.34), (0.68, 1.34), (1.15, 0.86)],
    ):
        canvas.polygon(glass, (150, 132, 112))
    body = [(-2.1, 0.3), (-2.12, 0.72), (-1.45, 0.88), (1.35, 0.9), (2.05, 0.75), (2.12, 0.3)]
    canvas.polygon(body, tint)
    canvas.polygon([(-2.1, 0.25), (2.12, 0.25), (2.1, 0.45), (-2.1, 0.45)], shade(tint, 0.7))
    for x in (-1.3, 1.3):
        canvas.ellipse((x, 0.32), (0.33, 0.33), (34, 34, 36))
        canvas.ellipse((x, 0.32), (0.18, 0.18), (150, 152, 154))
    canvas.ellipse((-2.05, 0.62), (0.08, 0.07), (190, 230, 240))
    canvas.ellipse((2.06, 0.65), (0.06, 0.08), (50, 50, 200))


def _pane(canvas: Canvas, tint: Colour) -> None:
    left, right, low, high = PANE
    canvas.polygon([(left, low), (right, low), (right, high), (left, high)], (128, 116, 102))
    for x in (left + 0.4, 0.5):
        canvas.polygon([(x, low), (x + 0.3, low), (x + 0.9, high), (x + 0.6, high)], (146, 136, 122))
    for x in (left, 0.0, right):
        canvas.limb((x, 0.0), (x, high), (0.05, 0.05), (84, 84, 84))
    canvas.polygon(
        [(left - 0.3, high), (right + 0.3, high), (right + 0.3, high + 0.25), (left - 0.3, high + 0.25)], tint
    )


_DRAWINGS: dict[str, Callable[[Canvas, Colour], None]] = {
    "tree": _tree,
    "lamp": _lamp,
    "bench": _bench,
    "planter": _planter,
    "column": _column,
    "car": _car,
    "pane": _pane,
}
