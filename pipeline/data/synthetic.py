"""The embedded world: a small seeded tracking dataset of drawn people, rendered in MOTChallenge's layout.

People are made of parts in colours from small palettes, so that they share most parts and differ in details; they hide
one another, pass behind things, leave and come back. Boxes are amodal and tight around everything a person is drawn
with, whole pixels from 0; visibility is counted on the pixels.
"""

import dataclasses
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from pipeline.world.figures import SITTING, Look, dance_looks, draw_person, street_looks
from pipeline.world.motion import FACING, Motion, dance, stroll
from pipeline.world.props import PANE, draw_prop
from pipeline.world.scenery import WALL, Camera, Place, stage_place, street_place, view
from pipeline.world.sprites import Canvas, Stamp

JPEG_QUALITY = 92
PEDESTRIAN, STATIC, REFLECTION = 1, 7, 12  # MOTChallenge's classes
GLASS = 0.45  # opacity of a reflection
SHADE = 0.42  # light that a shadow takes

Image = Float32[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class World:
    """Size and seed of the dataset.

    `sequences` counts all of them, `dances` those on a stage, where all wear one costume; of the streets the second
    has a moving camera. `people` walk in each street, three quarters as many dance. Sizes are pixels.
    """

    seed: int = 1
    sequences: int = 6
    dances: int = 2
    frames: int = 120
    width: int = 448
    height: int = 256
    people: int = 12
    frame_rate: int = 15

    def __post_init__(self) -> None:
        if not 0 <= self.dances <= self.sequences:
            raise ValueError(
                f"dances is {self.dances}, expected from 0 to sequences = {self.sequences}. Correct the section."
            )
        least = {"seed": 0, "sequences": 1, "frames": 2, "width": 96, "height": 96, "people": 2, "frame_rate": 1}
        for name, minimum in least.items():
            found = getattr(self, name)
            if found < minimum:
                raise ValueError(f"{name} is {found}, expected at least {minimum}. Correct the section.")


@dataclass(frozen=True)
class Annotation:
    """One row of gt.txt; `left`, `top`, `width`, `height` in pixels, `visibility` in [0, 1]."""

    frame: int
    identity: int
    left: int
    top: int
    width: int
    height: int
    category: int
    visibility: float

    def line(self) -> str:
        """The row as MOTChallenge writes it; only pedestrians are considered."""
        considered = int(self.category == PEDESTRIAN)
        box = f"{self.left},{self.top},{self.width},{self.height}"
        return f"{self.frame},{self.identity},{box},{considered},{self.category},{self.visibility:.4f}"


@dataclass(frozen=True)
class _Person:
    """Someone to annotate: who, what they look like and what they do."""

    identity: int
    category: int
    look: Look
    motion: Motion


@dataclass(frozen=True)
class _Scene:
    """A whole sequence before it is drawn, but for its props: no camera comes nearer to them, so one drawing serves."""

    place: Place
    props: tuple[Canvas, ...]
    cameras: tuple[Camera, ...]
    people: tuple[_Person, ...]


@dataclass(frozen=True)
class _Item:
    """A drawing in one frame, `z` metres away, standing at row `foot`; `identity` 0 is a thing."""

    z: float
    foot: float
    stamp: Stamp
    identity: int = 0
    category: int = 0


def names(world: World) -> list[str]:
    """Names of the world's sequences, streets before dances.

    >>> names(World(sequences=4, dances=1))
    ['street-01', 'street-02-moving', 'street-03', 'dance-04']
    """
    streets = world.sequences - world.dances
    kinds = [f"street-{i:02d}" + ("-moving" if i == 2 else "") for i in range(1, streets + 1)]
    return kinds + [f"dance-{i:02d}" for i in range(streets + 1, world.sequences + 1)]


def render_sequence(world: World, name: str, folder: Path) -> None:
    """Render one sequence into `folder/name`, whole or not at all; the same world gives the same bytes.

    Each sequence depends on the seed and its own name only, so sequences may be rendered in any order and in parallel.

    Raises:
        ValueError: the world has no sequence of that name.
    """
    if name not in names(world):
        raise ValueError(f"{name}: the world's sequences are {names(world)}, expected one of them. Correct the name.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}.") as temporary:
        fresh, target = Path(temporary) / "fresh", folder / name
        _write_sequence(world, name, fresh)
        if target.exists():
            target.rename(Path(temporary) / "replaced")
        fresh.rename(target)


def _write_sequence(world: World, name: str, folder: Path) -> None:
    for part in ("img1", "gt"):
        (folder / part).mkdir(parents=True)
    lines = []
    for number, (image, annotations) in enumerate(draw_frames(world, name), start=1):
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        (folder / "img1" / f"{number:06d}.jpg").write_bytes(encoded.tobytes())
        lines += [annotation.line() for annotation in annotations]
    (folder / "gt" / "gt.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "seqinfo.ini").write_text(_seqinfo(world, name), encoding="utf-8")


def _seqinfo(world: World, name: str) -> str:
    return (
        f"[Sequence]\nname={name}\nimDir=img1\nframeRate={world.frame_rate}\nseqLength={world.frames}\n"
        f"imWidth={world.width}\nimHeight={world.height}\nimExt=.jpg\n"
    )


def draw_frames(world: World, name: str) -> Iterator[tuple[UInt8[np.ndarray, "height width 3"], list[Annotation]]]:
    """Images (BGR) of a sequence in order, each with the rows of the people in it, by identity."""
    digest = hashlib.sha256(name.encode()).digest()
    rng = np.random.default_rng(np.random.SeedSequence([world.seed, int.from_bytes(digest[:8], "big")]))
    scene = _street(rng, world, name) if name.startswith("street") else _stage(rng, world)
    film = _Film(rng, scene, world.frames)
    empty = None
    for index, camera in enumerate(scene.cameras):
        if empty is None or camera != scene.cameras[index - 1]:
            empty = view(scene.place, camera)
        items = _items(scene, index)
        image = empty * (1 - SHADE * _shadows(items, scene.place, camera))[:, :, None]
        for item in items:
            _paint(image, item.stamp)
        yield film.develop(image, index), _annotate(items, index + 1, camera)


def _street(rng: np.random.Generator, world: World, name: str) -> _Scene:
    cameras = _cameras(rng, world, is_moving=name.endswith("moving"))
    place = street_place(rng, style=int(name.split("-")[1]) - 1)
    motions = stroll(rng, world.people, cameras, float(world.frame_rate), place.props)
    *looks, seated = street_looks(rng, world.people + 1)
    people = [_Person(i, PEDESTRIAN, *pair) for i, pair in enumerate(zip(looks, motions, strict=True), start=1)]
    bench = next(prop for prop in place.props if prop.kind == "bench")
    seat = Motion(
        positions=np.tile([bench.x + rng.uniform(-0.4, 0.4), bench.z - 0.1], (world.frames, 1)),
        headings=np.full(world.frames, FACING + rng.choice([-0.6, 0.6])),
        poses=(SITTING,) * world.frames,
    )
    people.append(_Person(world.people + 1, STATIC, seated, seat))
    props = tuple(draw_prop(prop, cameras[0].scale(prop.z)) for prop in place.props)
    return _Scene(place, props, cameras, tuple(people))


def _stage(rng: np.random.Generator, world: World) -> _Scene:
    cameras = _cameras(rng, world, is_moving=False)
    dancers = max(2, round(world.people * 3 / 4))
    motions = dance(rng, dancers, cameras[0], world.frames, float(world.frame_rate))
    pairs = zip(dance_looks(rng, dancers), motions, strict=True)
    people = tuple(_Person(i, PEDESTRIAN, look, motion) for i, (look, motion) in enumerate(pairs, start=1))
    return _Scene(stage_place(rng), (), cameras, people)


def _cameras(rng: np.random.Generator, world: World, *, is_moving: bool) -> tuple[Camera, ...]:
    """A camera for each frame: all the same, or carried sideways by unsteady hands at a slow walk."""
    if not is_moving:
        return (Camera(world.width, world.height),) * world.frames
    time = np.arange(world.frames) / world.frame_rate
    path = 2.2 * np.sin(2 * np.pi * time / 11.0 + rng.uniform(0, 2 * np.pi))
    beat = 2 * np.pi * np.outer(time, [0.5, 1.1, 1.9]) + rng.uniform(0, 2 * np.pi, 3)
    across = world.height / 256 * (np.sin(beat) * [5.0, 1.5, 0.6]).sum(axis=1)
    along = world.height / 256 * (np.cos(1.3 * beat) * [1.2, 0.8, 0.5]).sum(axis=1)
    shakes = zip(path, across, along, strict=True)
    return tuple(Camera(world.width, world.height, float(x), (float(u), float(v))) for x, u, v in shakes)


def _items(scene: _Scene, index: int) -> list[_Item]:
    """Everything to draw in a frame, the farthest first."""
    camera = scene.cameras[index]
    items = []
    for prop, canvas in zip(scene.place.props, scene.props, strict=True):
        column, row = camera.project(prop.x, prop.z)
        items.append(_Item(prop.z, row, canvas.stamp(column, row)))
    for person in scene.people:
        x, z = (float(value) for value in person.motion.positions[index])
        column, row = camera.project(x, z)
        stamp = _drawn(person, index, camera.scale(z)).stamp(column, row)
        items.append(_Item(z, row, stamp, person.identity, person.category))
    items += _reflections(scene, index)
    return sorted(items, key=lambda item: -item.z)


def _drawn(person: _Person, index: int, scale: float, *, mirrored: bool = False) -> Canvas:
    heading = float(person.motion.headings[index])
    return draw_person(person.look, person.motion.poses[index], -heading if mirrored else heading, scale)


def _reflections(scene: _Scene, index: int) -> list[_Item]:
    """People in front of a pane of glass, seen again in it; their identities follow those of everybody else."""
    camera, items = scene.cameras[index], []
    for pane in (prop for prop in scene.place.props if prop.kind == "pane"):
        left, top = camera.project(pane.x + PANE[0], pane.z, PANE[3])
        right, low = camera.project(pane.x + PANE[1], pane.z, PANE[2])
        window = (round(left), round(top), round(right), round(low))
        for person in scene.people:
            x, z = (float(value) for value in person.motion.positions[index])
            if person.category != PEDESTRIAN or not 0.8 < pane.z - z < 5.0:
                continue
            column, row = camera.project(x, 2 * pane.z - z)
            if left < column < right:
                whole = _drawn(person, index, camera.scale(2 * pane.z - z), mirrored=True).stamp(column, row)
                stamp = dataclasses.replace(whole, strength=GLASS, window=window)
                items.append(_Item(pane.z - 0.01, row, stamp, len(scene.people) + person.identity, REFLECTION))
    return items


def _shadows(items: Sequence[_Item], place: Place, camera: Camera) -> Float32[np.ndarray, "height width"]:
    """How much every pixel of the ground lies in somebody's shadow, in [0, 1]."""
    shadow = np.zeros((camera.height, camera.width), np.float32)
    right, up = place.sun
    for item in items:
        if item.category == REFLECTION:
            continue
        rise = item.foot - item.stamp.top
        cast = np.array([[1, -right, item.stamp.left + right * rise], [0, up, item.foot - up * rise]], np.float32)
        size = (camera.width, camera.height)
        shadow = np.maximum(shadow, cv2.warpAffine(item.stamp.pixels[:, :, 3], cast, size).astype(np.float32))
    shadow[: max(0, int(camera.project(0.0, WALL)[1]))] = 0
    return cv2.GaussianBlur(shadow / 255, (5, 5), 0)


def _paint(image: Image, stamp: Stamp) -> None:
    """Lay a drawing over the image, in place."""
    inside, part = _overlap(stamp, image.shape[0], image.shape[1])
    pixels = stamp.pixels[part].astype(np.float32) * stamp.strength
    image[inside] = image[inside] * (1 - pixels[:, :, 3:] / 255) + pixels[:, :, :3]


def _overlap(stamp: Stamp, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a drawing is seen in the image, and which part of the drawing that is."""
    rows, columns = stamp.pixels.shape[:2]
    first_column, first_row, end_column, end_row = stamp.window or (0, 0, width, height)
    left, top = max(stamp.left, first_column, 0), max(stamp.top, first_row, 0)
    right = max(left, min(stamp.left + columns, end_column, width))
    low = max(top, min(stamp.top + rows, end_row, height))
    inside = (slice(top, low), slice(left, right))
    return inside, (slice(top - stamp.top, low - stamp.top), slice(left - stamp.left, right - stamp.left))


def visible_shares(stamps: Sequence[Stamp], height: int, width: int) -> Float[np.ndarray, " stamps"]:
    """The share of each drawing's own pixels that nothing drawn later hides and that lie in the image."""
    owner = np.zeros((height, width), np.intp)
    for number, stamp in enumerate(stamps, start=1):
        inside, part = _overlap(stamp, height, width)
        owner[inside][stamp.mask[part]] = number
    visible = np.bincount(owner.ravel(), minlength=len(stamps) + 1)[1:]
    drawn = np.array([stamp.mask.sum() for stamp in stamps], np.float64)
    return np.divide(visible, drawn, out=np.zeros(len(stamps)), where=drawn > 0)


def _annotate(items: Sequence[_Item], frame: int, camera: Camera) -> list[Annotation]:
    """Rows of the people whose box reaches into the image, by identity."""
    shares = visible_shares([item.stamp for item in items], camera.height, camera.width)
    rows = []
    for item, share in zip(items, shares, strict=True):
        x, y, width, height = cv2.boundingRect(item.stamp.mask.astype(np.uint8))
        left, top = item.stamp.left + x, item.stamp.top + y
        is_inside = left < camera.width and left + width > 0 and top < camera.height and top + height > 0
        if item.identity and is_inside:
            rows.append(Annotation(frame, item.identity, left, top, width, height, item.category, float(share)))
    return sorted(rows, key=lambda row: row.identity)


class _Film:
    """What lens, light and sensor do to the images of one sequence."""

    def __init__(self, rng: np.random.Generator, scene: _Scene, frames: int) -> None:
        time = np.arange(frames) / frames
        self._rng, self._cameras = rng, scene.cameras
        self._noise = rng.uniform(2.0, 4.0)
        cloud = 1 / (1 + np.exp(-40 * (np.abs(time - rng.uniform(0.3, 0.7)) - rng.uniform(0.08, 0.15))))
        self._gain = (0.86 + 0.14 * cloud) * (1 + 0.05 * np.sin(2 * np.pi * (2 * time + rng.random())))
        self._tint = np.array(scene.place.warmth, np.float32)
        out_of_focus = np.exp(-(((time - rng.uniform(0.1, 0.9)) / 0.03) ** 2))
        self._blur = rng.uniform(0.35, 0.55) + 0.55 * out_of_focus

    def develop(self, image: Image, index: int) -> UInt8[np.ndarray, "height width 3"]:
        """The picture taken: smeared by the camera's motion, unsharp, tinted and grainy."""
        before, now = self._cameras[max(index - 1, 0)], self._cameras[index]
        smear = abs(now.project(0.0, 12.0)[0] - before.project(0.0, 12.0)[0])
        image = cv2.blur(image, (1 + round(0.4 * smear), 1))
        image = cv2.GaussianBlur(image, (0, 0), float(self._blur[index]))
        image = image * (self._gain[index] * self._tint)
        grain = self._rng.standard_normal(image.shape, np.float32) * self._noise
        return np.clip(np.rint(image + grain), 0, 255).astype(np.uint8)
