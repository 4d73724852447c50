"""Where drawn people are and what their bodies do, frame by frame: strollers in a street, dancers on a stage.

Positions are metres on the ground, x to the right and z away from the camera; headings are radians, 0 to the right,
a quarter turn more away from the camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipeline.world.figures import Pose, stride_angle, walking
from pipeline.world.scenery import Camera, Prop

NEAR, FAR = (
    7.4,
    17.3,
)  # people keep between these distances: 110 to 40 pixels tall where the image has 256 rows
ELBOW_ROOM = 0.75  # metres people keep from each other where they can
SPRINT = 4.5  # metres per second at which dancers change places at most, unless their places are too far apart
FACING = -np.pi / 2  # the heading towards the camera

Path = Float[np.ndarray, "frames 2"]


@dataclass(frozen=True)
class Motion:
    """One person through a sequence: a position, a heading and a pose in each frame."""

    positions: Path
    headings: Float[np.ndarray, " frames"]
    poses: tuple[Pose, ...]


def stroll(
    rng: np.random.Generator, people: int, cameras: Sequence[Camera], rate: float, props: Sequence[Prop]
) -> list[Motion]:
    """People who cross a street seen by `cameras`, one a frame at `rate` frames per second.

    Of every six people the first leaves the image and comes back (in turn in the second and the first half), the
    second comes in from outside and the fourth keeps beside the third.
    """
    walkers = [_Walker.enter(rng, index, cameras[0], len(cameras), rate) for index in range(people)]
    paths = np.empty((len(cameras), people, 2))
    for frame, camera in enumerate(cameras):
        paths[frame] = [walker.position for walker in walkers]
        ahead = cameras[min(frame + int(2 * rate), len(cameras) - 1)]
        for index, walker in enumerate(walkers):
            walker.step(1 / rate, frame, camera, ahead, _push(index, paths[frame], props))
    for index in range(3, people, 6):
        beside = np.array([rng.choice([-0.45, 0.45]), rng.choice([-0.4, 0.4])])
        paths[:, index] = paths[:, index - 1] + beside + 0.1 * _wander(rng, len(cameras), rate)
    return [_walk(rng, paths[:, index], rate) for index in range(people)]


class _Walker:
    """A stroller on the way from goal to goal, out of the image during the frames `away`."""

    def __init__(self, rng: np.random.Generator, position: np.ndarray, speed: float, away: range, side: int) -> None:
        self.position = position
        self._rng, self._speed, self._away, self._side = rng, speed, away, side
        self._velocity = np.zeros(2)
        self._goal: np.ndarray | None = None
        self._pause = 0.0

    @classmethod
    def enter(cls, rng: np.random.Generator, index: int, camera: Camera, frames: int, rate: float) -> "_Walker":
        """The walker of this number at the first frame."""
        speed, side, z = rng.uniform(0.85, 1.5), int(rng.choice([-1, 1])), rng.uniform(NEAR, FAR)
        role, edge, away = index % 6, camera.reach(z), range(0)
        if role == 0:
            leave = int((rng.uniform(0.5, 0.56) if index % 12 == 0 else rng.uniform(0, 0.1)) * frames)
            speed, away = rng.uniform(1.25, 1.6), range(leave, leave + int(max(0.25 * frames, 2.0 * rate)))
        offset = {0: edge - rng.uniform(0.4, 1.6), 1: edge + 0.6}.get(role, rng.uniform(0, 0.9) * edge)
        return cls(rng, np.array([camera.x + side * offset, z]), speed, away, side)

    def step(self, seconds: float, frame: int, camera: Camera, ahead: Camera, push: np.ndarray) -> None:
        """Walk on for one frame; `ahead` is the camera by the time a new goal is reached."""
        goal = self._choose_goal(frame, camera, ahead)
        way = goal - self.position
        distance = float(np.hypot(*way))
        if distance < 0.4 and frame not in self._away:
            self._goal = None
            self._pause = self._rng.uniform(0.5, 1.4) if self._rng.random() < 0.35 else 0.0
        self._pause -= seconds
        speed = 0.0 if self._pause > 0 else min(self._speed, 2 * distance)
        wanted = way / max(distance, 1e-6) * speed + push
        self._velocity = self._velocity + (wanted - self._velocity) * min(1.0, seconds / 0.3)
        self.position = self.position + self._velocity * seconds
        self.position[1] = np.clip(self.position[1], NEAR, FAR)

    def _choose_goal(self, frame: int, camera: Camera, ahead: Camera) -> np.ndarray:
        z = self.position[1]
        if frame in self._away:
            self._pause = 0.0
            self._goal = np.array([camera.x + self._side * (camera.reach(z) + 1.0), z])
        elif frame < self._away.start and self._goal is None:
            self._goal = np.array([ahead.x + self._side * (ahead.reach(z) - self._rng.uniform(0.4, 1.6)), z])
        elif frame == self._away.stop or self._goal is None:
            self._goal = self._cross(ahead)
        return self._goal

    def _cross(self, camera: Camera) -> np.ndarray:
        """A place in view, far enough to be worth the walk; people walk across rather than along the view."""
        for _ in range(12):
            z = np.clip(self.position[1] + self._rng.normal(0, 3.0), NEAR, FAR)
            goal = np.array([camera.x + self._rng.uniform(-0.92, 0.92) * camera.reach(z), z])
            if abs(goal[0] - self.position[0]) > 0.8 * camera.reach(z):
                break
        return goal


def _push(index: int, positions: np.ndarray, props: Sequence[Prop]) -> np.ndarray:
    """The velocity by which a person gives way to others and to things, metres per second."""
    others = np.delete(positions, index, axis=0)
    places = np.concatenate([others, np.array([[prop.x, prop.z] for prop in props]).reshape(-1, 2)])
    room = np.array([ELBOW_ROOM] * len(others) + [prop.radius + 0.4 for prop in props])
    away = positions[index] - places
    distance = np.maximum(np.hypot(away[:, 0], away[:, 1]), 1e-3)
    strength = 2.5 * np.maximum(room - distance, 0) / room
    # Half of the push points sideways, or two who meet head on would stop each other for good.
    aside = np.stack([-away[:, 1], away[:, 0]], axis=1)
    return ((away + 0.5 * aside) * (strength / distance)[:, None]).sum(axis=0)


def _walk(rng: np.random.Generator, positions: Path, rate: float) -> Motion:
    """Give a path its headings and a gait whose steps are as long as the path."""
    velocity, speed = _velocity(positions, rate)
    headings = _follow(velocity, speed, limit=4.0 / rate, first=rng.uniform(-np.pi, np.pi))
    phases = rng.uniform(0, 2 * np.pi) + _gait(speed, rate)
    poses = tuple(walking(float(phase), float(pace)) for phase, pace in zip(phases, speed, strict=True))
    return Motion(positions, headings, poses)


def _velocity(positions: Path, rate: float) -> tuple[Path, Float[np.ndarray, " frames"]]:
    velocity = np.gradient(positions, axis=0) * rate
    return velocity, np.hypot(velocity[:, 0], velocity[:, 1])


def _gait(speed: Float[np.ndarray, " frames"], rate: float) -> Float[np.ndarray, " frames"]:
    """The phase of the gait in each frame; two steps cover four leg lengths times the sine of the swing."""
    stride = np.array([4 * 0.85 * np.sin(stride_angle(max(float(pace), 0.2))) for pace in speed])
    return np.cumsum(2 * np.pi * speed / rate / stride)


def _follow(
    velocity: Path, speed: Float[np.ndarray, " frames"], *, limit: float, first: float
) -> Float[np.ndarray, " frames"]:
    """Headings that follow the velocity by at most `limit` radians a frame and keep still at rest."""
    courses = np.arctan2(velocity[:, 1], velocity[:, 0])
    is_moving = speed > 0.25
    heading = float(courses[is_moving][0]) if is_moving.any() else first
    headings = np.empty(len(speed))
    for frame, (course, moves) in enumerate(zip(courses, is_moving, strict=True)):
        if moves:
            turn = (course - heading + np.pi) % (2 * np.pi) - np.pi
            heading += float(np.clip(turn, -limit, limit))
        headings[frame] = heading
    return headings


def _wander(rng: np.random.Generator, frames: int, rate: float) -> Path:
    """A smooth aimless path that stays within one metre of zero."""
    time = np.arange(frames)[:, None, None] / rate
    pitch, phase = rng.uniform(0.4, 1.5, (2, 3)), rng.uniform(0, 2 * np.pi, (2, 3))
    return np.sin(2 * np.pi * pitch * time + phase).mean(axis=2)


def dance(rng: np.random.Generator, people: int, camera: Camera, frames: int, rate: float) -> list[Motion]:
    """Dancers with one choreography who keep changing places, close past each other and unevenly."""
    slots = _formation(people, camera)
    places, beats = [slots[rng.permutation(people)]], [0]
    while beats[-1] < frames:
        # Places are dealt out by where a dancer is plus a random step: most moves are short, and many cross.
        wish = places[-1][:, 0] + rng.normal(0, 1.6, people)
        places.append(slots[np.argsort(np.argsort(wish))])
        beats.append(beats[-1] + max(2, int(rng.uniform(0.9, 1.6) * rate)))
    steps = [_key_pose(rng) for _ in range(int(2 * frames / rate) + 3)]
    trails = np.stack(places)
    return [_dancer(rng, trails[:, index], np.array(beats), steps, frames, rate) for index in range(people)]


def _formation(people: int, camera: Camera) -> Float[np.ndarray, "people 2"]:
    """Places on the stage in three rows, from left to right."""
    z = np.array([9.3, 8.2, 10.4])[np.arange(people) % 3]
    return np.stack([np.linspace(-0.62, 0.62, people) * camera.reach(9.3), z], axis=1)


def _dancer(
    rng: np.random.Generator,
    places: Float[np.ndarray, "beats 2"],
    beats: np.ndarray,
    steps: Sequence[Pose],
    frames: int,
    rate: float,
) -> Motion:
    """One dancer who is at `places[i]` in frame `beats[i]` and strikes two of `steps` a second."""
    time = np.arange(frames, dtype=float)
    block = np.searchsorted(beats, time, side="right") - 1
    share = (time - beats[block]) / (beats[block + 1] - beats[block])
    # A move takes half of its block, or longer where that would be faster than dancers run.
    moves, seconds = np.diff(places, axis=0), np.diff(beats) / rate
    pace = np.clip(1.5 * np.hypot(moves[:, 0], moves[:, 1]) / seconds / SPRINT, rng.uniform(0.45, 0.65, len(moves)), 1)
    start = rng.uniform(0, 1 - pace)
    ease = _smooth((share - start[block]) / pace[block])
    positions = places[block] + ease[:, None] * moves[block]
    positions = positions + 0.3 * _wander(rng, frames, rate)

    _, speed = _velocity(positions, rate)
    spins = 2 * np.pi * rng.choice([-1, 0, 0, 1], len(beats))
    headings = FACING + spins[block] * ease + 0.5 * _wander(rng, frames, rate)[:, 0]

    step, strike = np.divmod(2 * time / rate + rng.uniform(0, 0.25), 1)
    keys = [
        steps[i].blend(steps[i + 1], float(s)) for i, s in zip(step.astype(int), _smooth(1.4 * strike), strict=True)
    ]
    walks = [walking(float(p), float(s)) for p, s in zip(_gait(speed, rate), np.minimum(speed, 2.0), strict=True)]
    shares = np.minimum(speed / 4, 0.6)
    poses = tuple(key.blend(walk, float(s)) for key, walk, s in zip(keys, walks, shares, strict=True))
    return Motion(positions, headings, poses)


def _smooth(share: np.ndarray) -> np.ndarray:
    """Ease from 0 to 1, at rest at both ends and beyond."""
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)


def _key_pose(rng: np.random.Generator) -> Pose:
    """A pose to strike on a beat: knees bent or one leg lifted, arms anywhere."""
    knees = rng.uniform(0.05, 0.8, 2) if rng.random() < 0.7 else rng.permutation([0.1, 1.5])
    return Pose(
        left_hip=0.5 * knees[0],
        right_hip=0.5 * knees[1],
        left_knee=knees[0],
        right_knee=knees[1],
        splay=rng.uniform(0.03, 0.35),
        left_arm=rng.uniform(-0.5, 1.2),
        right_arm=rng.uniform(-0.5, 1.2),
        left_raise=rng.uniform(0.1, 2.5),
        right_raise=rng.uniform(0.1, 2.5),
        left_elbow=rng.uniform(0.1, 1.4),
        right_elbow=rng.uniform(0.1, 1.4),
        left_bend=rng.uniform(-0.4, 0.8),
        right_bend=rng.uniform(-0.4, 0.8),
        lean=rng.uniform(-0.1, 0.3),
        lift=0.1 if rng.random() < 0.2 else 0.0,
    )
