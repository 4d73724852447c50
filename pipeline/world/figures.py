"""Drawn people: a jointed body in metres, dressed from small palettes, seen from any side.

The body frame has its origin on the ground under the hips; x points forward, y to the person's left, z up, in shares
of the person's height; canvases are in metres. Colours are BGR.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from pipeline.world.sprites import Canvas, Colour, Point, shade

Joint = tuple[float, float, float]

TILT = 0.22  # rise on screen per metre of depth: a camera some three metres up that looks a dozen metres away
SHIRTS: tuple[Colour, ...] = (
    (52, 48, 196),  # red, blue, yellow, white, black, purple
    (176, 92, 38),
    (62, 196, 238),
    (236, 236, 232),
    (58, 50, 48),
    (150, 60, 140),
)
TROUSERS: tuple[Colour, ...] = ((98, 62, 34), (44, 40, 40), (108, 146, 178), (92, 92, 98))
HAIRS: tuple[Colour, ...] = ((24, 24, 30), (36, 66, 104), (92, 160, 208))
SKINS: tuple[Colour, ...] = ((164, 190, 232), (130, 168, 214), (84, 122, 170), (58, 84, 122))
SHOES: tuple[Colour, ...] = ((30, 28, 28), (232, 232, 236))
ACCENTS: tuple[Colour, ...] = ((60, 170, 250), (70, 60, 210), (226, 226, 226), (80, 48, 26))
DETAILS = ("plain", "stripe", "backpack", "bag", "hat")


class Pose(NamedTuple):
    """Joint angles in radians, zero for standing upright; hip and arm angles grow forward, pairs are left and right."""

    left_hip: float = 0.0
    right_hip: float = 0.0
    left_knee: float = 0.04
    right_knee: float = 0.04
    splay: float = 0.04
    left_arm: float = 0.0
    right_arm: float = 0.0
    left_raise: float = 0.1
    right_raise: float = 0.1
    left_elbow: float = 0.15
    right_elbow: float = 0.15
    left_bend: float = 0.0
    right_bend: float = 0.0
    lean: float = 0.0
    lift: float = 0.0

    def blend(self, other: "Pose", share: float) -> "Pose":
        """The pose `share` of the way from this one to the other."""
        return Pose(*(a + share * (b - a) for a, b in zip(self, other, strict=True)))


SITTING = Pose(1.45, 1.4, 1.5, 1.3, 0.12, 0.35, 0.5, 0.12, 0.12, 1.0, 0.8, -0.2, -0.2, lean=-0.05)


def walking(phase: float, speed: float) -> Pose:
    """The pose at `phase` radians of a gait of two steps, at `speed` metres per second; at rest, standing."""
    swing = stride_angle(speed)
    left, right = swing * np.sin(phase), -swing * np.sin(phase)
    bend = 2.1 * swing * np.maximum(0, np.cos([phase, phase + np.pi])) ** 1.3
    knees = 0.06 + bend + 0.3 * swing
    return Pose(
        left_hip=left + 0.35 * bend[0],
        right_hip=right + 0.35 * bend[1],
        left_knee=knees[0],
        right_knee=knees[1],
        left_arm=right * 0.9,
        right_arm=left * 0.9,
        left_elbow=0.2 + 0.4 * swing + 0.4 * max(right, 0.0),
        right_elbow=0.2 + 0.4 * swing + 0.4 * max(left, 0.0),
        lean=0.03 + 0.03 * speed,
    )


def stride_angle(speed: float) -> float:
    """Amplitude of the hips' swing at a walking speed, in radians."""
    return float(0.48 * min(speed / 1.3, 1.4) ** 0.6)


@dataclass(frozen=True)
class Look:
    """What one person looks like; `height` is in metres, `build` widens the body, `detail` is one of `DETAILS`."""

    shirt: Colour
    trousers: Colour
    hair: Colour
    detail: str
    accent: Colour
    skin: Colour
    shoes: Colour
    is_skirt: bool
    is_long_haired: bool
    is_sleeveless: bool
    height: float
    build: float
    wristband: Colour | None = None


def street_looks(rng: np.random.Generator, people: int) -> list[Look]:
    """Clothes of passers-by: every combination is unique, every second person differs from another in a detail only."""
    shirts, trousers = rng.permutation(len(SHIRTS))[:4], rng.permutation(len(TROUSERS))[:3]
    looks: list[Look] = []
    worn: set[tuple] = set()
    while len(looks) < people:
        shirt = SHIRTS[shirts[len(looks) // 2 % len(shirts)]]
        look = _body(rng, shirt, TROUSERS[rng.choice(trousers)])
        if len(looks) % 2:
            own = look
            look = replace(looks[-1], detail=own.detail, accent=own.accent, height=own.height, build=own.build)
        # Choice: beyond the palettes' combinations people repeat each other rather than the draw never ending.
        combination = (look.shirt, look.trousers, look.hair, look.detail, look.accent)
        if combination not in worn or len(worn) >= 60:
            worn.add(combination)
            looks.append(look)
    return looks


def dance_looks(rng: np.random.Generator, people: int) -> list[Look]:
    """One costume for all: dancers differ in body, hair and the colour of a wristband."""
    shirt, trousers = SHIRTS[rng.integers(len(SHIRTS))], TROUSERS[rng.integers(2)]
    shoes, is_sleeveless = SHOES[rng.integers(len(SHOES))], bool(rng.integers(2))
    looks = []
    for _ in range(people):
        look = _body(rng, shirt, trousers)
        band = (*ACCENTS, None)[rng.integers(len(ACCENTS) + 1)]
        costume = replace(look, shoes=shoes, is_sleeveless=is_sleeveless, is_skirt=False, detail="plain")
        looks.append(replace(costume, wristband=band))
    return looks


def _body(rng: np.random.Generator, shirt: Colour, trousers: Colour) -> Look:
    is_long_haired = bool(rng.random() < 0.45)
    return Look(
        shirt=shirt,
        trousers=trousers,
        hair=HAIRS[rng.integers(len(HAIRS))],
        detail=DETAILS[rng.integers(len(DETAILS))],
        accent=ACCENTS[rng.integers(len(ACCENTS))],
        skin=SKINS[rng.integers(len(SKINS))],
        shoes=SHOES[rng.integers(len(SHOES))],
        is_skirt=is_long_haired and bool(rng.random() < 0.4),
        is_long_haired=is_long_haired,
        is_sleeveless=bool(rng.random() < 0.4),
        height=float(rng.uniform(1.56, 1.88)),
        build=float(rng.uniform(0.92, 1.16)),
    )


def draw_person(look: Look, pose: Pose, heading: float, scale: float) -> Canvas:
    """Draw a person at `scale` pixels per metre, seen from the side their `heading` gives.

    Heading 0 faces the right edge of the image, a quarter turn more faces away from the camera.
    """
    canvas = Canvas(scale, reach=0.62 * look.height, above=1.4 * look.height, below=0.2 * look.height)
    _Figure(canvas, look, pose, heading).draw()
    return canvas


class _Figure:
    """One person in one pose, on its way to a canvas; lengths are shares of the person's height."""

    def __init__(self, canvas: Canvas, look: Look, pose: Pose, heading: float) -> None:
        self.canvas, self.look, self.pose = canvas, look, pose
        self.cosine, self.sine = float(np.cos(heading)), float(np.sin(heading))
        self.legs = {side: self._leg(side) for side in (1, -1)}
        ground = min(min(joints[2][2] - 0.04, joints[3][2] - 0.02) for joints in self.legs.values())
        self.base = pose.lift - ground

    def draw(self) -> None:
        """Draw all parts, the farther first."""
        parts: list[tuple[float, Callable[[], None]]] = [(0.0, self._draw_torso), (-0.001, self._draw_head)]
        parts += [(self._depth(self._arm(side)[1]), partial(self._draw_arm, side)) for side in (1, -1)]
        if self.look.is_long_haired:
            parts.append((self._depth((-0.06, 0.0, 0.0)), self._draw_mane))
        if self.look.detail == "backpack":
            parts.append((self._depth((-0.1, 0.0, 0.0)), self._draw_backpack))
        if self.look.detail == "bag":
            parts.append((self._depth((0.0, 0.15, 0.0)), self._draw_bag))
        for side in sorted((1, -1), key=lambda side: -self._depth(self.legs[side][1])):
            self._draw_leg(side)
        for _, draw in sorted(parts, key=lambda part: -part[0]):
            draw()

    def _depth(self, point: Joint) -> float:
        return point[0] * self.sine + point[1] * self.cosine

    def _seen(self, point: Joint) -> Point:
        right = point[0] * self.cosine - point[1] * self.sine
        up = self.base + point[2] + TILT * self._depth(point)
        return right * self.look.height, up * self.look.height

    def _width(self, sideways: float, forward: float) -> float:
        """Half the seen width of an upright cylinder with these two radii."""
        return float(np.hypot(sideways * self.sine, forward * self.cosine)) * self.look.build * self.look.height

    def _thick(self, start: float, end: float) -> Point:
        size = self.look.build * self.look.height
        return start * size, end * size

    def _leg(self, side: int) -> list[Joint]:
        """Hip, knee, ankle and toe, with the hips' height as zero."""
        p = self.pose
        hip, bend = (p.left_hip, p.left_knee) if side > 0 else (p.right_hip, p.right_knee)
        start = (0.0, 0.046 * side * self.look.build, 0.0)
        knee = _along(start, 0.245, hip, side * p.splay)
        ankle = _along(knee, 0.245, hip - bend, side * p.splay)
        pitch = 0.45 * (hip - bend)
        toe = (
            ankle[0] + 0.105 * np.cos(pitch),
            ankle[1] + 0.02 * side,
            ankle[2] + 0.105 * np.sin(pitch) - 0.02,
        )
        return [start, knee, ankle, toe]

    def _arm(self, side: int) -> list[Joint]:
        """Shoulder, elbow and hand."""
        p = self.pose
        swing, lifted, elbow, bend = (
            (p.left_arm, p.left_raise, p.left_elbow, p.left_bend)
            if side > 0
            else (p.right_arm, p.right_raise, p.right_elbow, p.right_bend)
        )
        shoulder = (0.3 * np.sin(p.lean), 0.106 * side * self.look.build, 0.28)
        joint = _along(shoulder, 0.16, swing, side * lifted)
        hand = _along(joint, 0.16, swing + elbow, side * (lifted + bend))
        return [shoulder, joint, hand]

    def _draw_leg(self, side: int) -> None:
        look, (hip, knee, ankle, toe) = self.look, [self._seen(joint) for joint in self.legs[side]]
        dim = 0.86 if self._depth(self.legs[side][1]) > 0 else 1.0
        heel = (ankle[0] - 0.012 * look.height * self.cosine, ankle[1] - 0.012 * look.height)
        self.canvas.limb(heel, toe, self._thick(0.03, 0.023), shade(look.shoes, dim))
        colour = shade(look.skin if look.is_skirt else look.trousers, dim)
        self.canvas.limb(knee, ankle, self._thick(0.043, 0.03), colour)
        self.canvas.limb(hip, knee, self._thick(0.056, 0.045), colour)

    def _draw_torso(self) -> None:
        look, lean = self.look, 0.3 * np.sin(self.pose.lean)
        # Height, half width and half depth of the body at hips, waist, chest and shoulders.
        rings = (
            (-0.045, 0.088, 0.07),
            (0.1, 0.082, 0.062),
            (0.2, 0.1, 0.078),
            (0.285, 0.108, 0.062),
            (0.315, 0.06, 0.045),
        )
        if look.is_skirt:
            self._draw_skirt()
        self._draw_rings(rings, look.shirt, lean)
        if not look.is_skirt:
            self._draw_rings(((-0.075, 0.086, 0.07), (-0.02, 0.088, 0.07)), look.trousers, lean)
        if look.detail == "stripe":
            self._draw_rings(((0.13, 0.086, 0.067), (0.19, 0.098, 0.076)), look.accent, lean)

    def _draw_rings(self, rings: Sequence[Joint], colour: Colour, lean: float) -> None:
        for share, factor, shift in ((1.0, 0.76, 0.0), (0.74, 1.0, -0.14)):
            left, right = [], []
            for height, sideways, forward in rings:
                x, y = self._seen((lean * max(height, 0) / 0.3, 0.0, height))
                half = self._width(sideways, forward)
                left.append((x + half * (shift - share), y))
                right.append((x + half * (shift + share), y))
            self.canvas.polygon(left + right[::-1], shade(colour, factor))

    def _draw_skirt(self) -> None:
        look = self.look
        waist, knees = self._seen((0.0, 0.0, 0.08)), [self._seen(self.legs[side][1]) for side in (1, -1)]
        half, hem = self._width(0.085, 0.065), min(knee[1] for knee in knees) + 0.02 * look.height
        left, right = min(knee[0] for knee in knees), max(knee[0] for knee in knees)
        flare = self._width(0.065, 0.06)
        corners = [
            (waist[0] - half, waist[1]),
            (left - flare, hem),
            (right + flare, hem),
            (waist[0] + half, waist[1]),
        ]
        self.canvas.polygon(corners, shade(look.trousers, 0.85))
        corners = [(x * 0.7 + waist[0] * 0.3 - 0.1 * half, y) for x, y in corners]
        self.canvas.polygon(corners, look.trousers)

    def _draw_arm(self, side: int) -> None:
        look, joints = self.look, self._arm(side)
        shoulder, elbow, hand = (self._seen(joint) for joint in joints)
        dim = 0.84 if self._depth(joints[1]) > 0.04 else 0.96
        sleeve = shade(look.skin if look.is_sleeveless else look.shirt, dim)
        self.canvas.limb(elbow, hand, self._thick(0.027, 0.021), sleeve)
        self.canvas.limb(shoulder, elbow, self._thick(0.034, 0.03), shade(look.shirt, dim))
        tip = (hand[0] + 0.1 * (hand[0] - elbow[0]), hand[1] + 0.1 * (hand[1] - elbow[1]))
        self.canvas.limb(hand, tip, self._thick(0.024, 0.021), shade(look.skin, dim))
        if look.wristband is not None and side > 0:
            wrist = (hand[0] * 0.8 + elbow[0] * 0.2, hand[1] * 0.8 + elbow[1] * 0.2)
            self.canvas.limb(wrist, hand, self._thick(0.028, 0.026), look.wristband)

    def _draw_head(self) -> None:
        look, size = self.look, self.look.height
        lean = 0.34 * float(np.sin(self.pose.lean))
        neck, head = self._seen((lean, 0.0, 0.31)), self._seen((lean + 0.012, 0.0, 0.405))
        self.canvas.limb(neck, (neck[0], neck[1] + 0.03 * size), self._thick(0.03, 0.03), shade(look.skin, 0.9))
        back = (head[0] - 0.012 * self.cosine * size, head[1] + 0.008 * size)
        self.canvas.ellipse(back, (0.062 * size, 0.074 * size), look.hair)
        face = float(np.clip(0.8 - 0.75 * self.sine - 0.25 * abs(self.cosine), 0.0, 1.0))
        if face > 0.1:
            centre = (head[0] + 0.024 * self.cosine * size, head[1] - 0.016 * size)
            self.canvas.ellipse(centre, (0.054 * face**0.5 * size, 0.06 * size), shade(look.skin, 0.88))
            self.canvas.ellipse(
                (centre[0] - 0.006 * size, centre[1]), (0.046 * face**0.5 * size, 0.055 * size), look.skin
            )
        if look.detail == "hat":
            crown, brim = (head[0], head[1] + 0.035 * size), head[1] + 0.03 * size
            front = head[0] + 0.05 * self.cosine * size
            self.canvas.ellipse(crown, (0.066 * size, 0.05 * size), look.accent)
            self.canvas.limb((head[0], brim), (front, brim - 0.006 * size), (0.06 * size, 0.03 * size), look.accent)

    def _draw_mane(self) -> None:
        size, lean = self.look.height, 0.34 * float(np.sin(self.pose.lean))
        top, tip = self._seen((lean - 0.02, 0.0, 0.42)), self._seen((lean - 0.055, 0.0, 0.29))
        self.canvas.limb(top, tip, (0.058 * size, 0.045 * size), self.look.hair)

    def _draw_backpack(self) -> None:
        size = self.look.height
        top, low = self._seen((-0.085, 0.0, 0.26)), self._seen((-0.1, 0.0, 0.12))
        half = float(np.hypot(0.075 * self.sine, 0.05 * self.cosine)) * size
        self.canvas.limb(top, low, (half * 0.9, half), self.look.accent)

    def _draw_bag(self) -> None:
        size, accent = self.look.height, self.look.accent
        strap, hip = self._seen((0.04, -0.08, 0.3)), self._seen((0.02, 0.13, 0.0))
        self.canvas.limb(strap, hip, (0.009 * size, 0.009 * size), shade(accent, 0.8))
        half = float(np.hypot(0.035 * self.sine, 0.075 * self.cosine)) * size
        box = [(hip[0] + x * half, hip[1] + y * size) for x, y in ((-1, 0.02), (1, 0.02), (1.1, -0.09), (-1.1, -0.09))]
        self.canvas.polygon(box, shade(accent, 0.8))
        self.canvas.polygon([(x - 0.1 * half, hip[1] + 0.8 * (y - hip[1])) for x, y in box], accent)


def _along(start: Joint, length: float, swing: float, spread: float) -> Joint:
    """The far end of a bone that hangs down, swung forward and then spread to the left."""
    return (
        start[0] + length * float(np.sin(swing) * np.cos(spread)),
        start[1] + length * float(np.sin(spread)),
        start[2] - length * float(np.cos(swing) * np.cos(spread)),
    )
