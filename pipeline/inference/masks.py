"""Pictures of what MPMG attends to: global mask and part masks over a few people, as in the paper's figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float, Float64, UInt8

from pipeline import boxes, params, tables
from pipeline.data.frames import PAD, Image, read_image
from pipeline.inference.features import Features, sequence_features
from pipeline.inference.heads import load_head, settings_of
from pipeline.inference.sequences import load_detector
from pipeline.inference.targets import SequenceFrames, sequences_of
from pipeline.models.folder import load_card

Masks = Float[np.ndarray, "people parts rows columns"]

_PEOPLE = 8  # on a sheet, at most
_WHOLE = 0.9  # share of a box that is enough to be seen
_CELL, _GAP, _LINE = 128, 4, 16  # pixels: height of a cell, space between cells, height of a line of text
_FONT, _PAPER, _INK = cv2.FONT_HERSHEY_SIMPLEX, 255, (40, 40, 40)


@dataclass(frozen=True, eq=False)
class Person:
    """Someone to show: a frame, its image file and the box in it, x1 y1 x2 y2 in its pixels."""

    name: str
    path: Path
    image: Image
    box: Float64[np.ndarray, "4"]


def mask_sheets(
    reid: Path, detector: Path, frames: pa.Table, ground_truth: pa.Table, splits: Sequence[str]
) -> dict[str, Image]:
    """One sheet for each variant that has masks, made by its first seed; none where there is nobody to show.

    `reid` holds model folders `<variant>/seed<k>`, `detector` is the one whose features they were trained on. It sees
    the chosen frames again, so that no feature store is needed, and on the CPU, so that a GPU changes no picture.

    Raises:
        ValueError: an image cannot be read, or a model folder is not whole.
    """
    models = _models_with_masks(reid)
    people = people_to_show(frames, ground_truth, splits) if models else []
    if not people:
        return {}
    card = load_card(next(iter(models.values())))  # the features are the same for all
    levels = _levels(detector, people, params.parse(card["features"], Features, where=f"{reid}:features"))
    return {variant: sheet(people, _masks(folder, levels)) for variant, folder in models.items()}


def write_sheets(sheets: Mapping[str, Image], folder: Path) -> None:
    """Write each sheet as `masks-<variant>.png`, whole or not at all; equal sheets give equal bytes."""
    for variant, image in sheets.items():
        with tables.replacing(folder / f"masks-{variant}.png") as temporary:
            temporary.write_bytes(cv2.imencode(".png", image, (cv2.IMWRITE_PNG_COMPRESSION, 9))[1].tobytes())


def people_to_show(frames: pa.Table, ground_truth: pa.Table, splits: Sequence[str]) -> list[Person]:
    """One person of each evaluated sequence that has images, of eight at most: the largest in its middle frame.

    The middle one of the frames with annotated people counts. People of whom less than nine tenths are visible and
    inside the image come after all others, the most visible one first.
    """
    is_shown = pc.is_in(ground_truth["split"], pa.array(splits, pa.string()))
    is_person = pc.and_(ground_truth["considered"], pc.equal(ground_truth["category"], 1))
    people = tables.groups(ground_truth.filter(pc.and_(is_shown, is_person)), "split", "sequence")
    videos = [video for video in sequences_of(frames) if (video.split, video.sequence) in people]
    return [_person_of(video, people[video.split, video.sequence]) for video in videos[:_PEOPLE]]


def sheet(people: Sequence[Person], masks: Masks) -> Image:
    """A row a person: the box stretched to the masks' shape, then the global mask and the parts as heat over it.

    Heat goes from each mask's least value (blue) to its greatest (red), which stand below it: pooling is relative.
    """
    size = (max(round(_CELL * masks.shape[3] / masks.shape[2]), 1), _CELL)
    titles = ["box", "global", *(f"part {number}" for number in range(1, masks.shape[1] + 1))]
    lines = [_beside([_text(title, size[0]) for title in titles])]
    for person, parts in zip(people, masks, strict=True):
        box, every = _cut(person, size), [parts.max(axis=0), *parts]
        ranges = ["", *(f"{mask.min():.2f}-{mask.max():.2f}" for mask in every)]
        lines.append(_text(person.name, lines[0].shape[1]))
        lines.append(_beside([box, *(_heat(box, mask) for mask in every)]))
        lines.append(_beside([_text(text, size[0]) for text in ranges]))
    return np.concatenate(lines)


def _models_with_masks(reid: Path) -> dict[str, Path]:
    """The folder of the first seed of each variant whose head has parts, by name."""
    first: dict[str, Path] = {}
    for card in sorted(reid.glob("*/seed*/card.json"), key=lambda path: int(path.parent.name.removeprefix("seed"))):
        first.setdefault(card.parent.parent.name, card.parent)
    heads = {name: settings_of(load_card(folder), where=str(folder)).heads for name, folder in first.items()}
    return {name: first[name] for name in sorted(first) if heads[name]}


def _person_of(video: SequenceFrames, people: pa.Table) -> Person:
    numbers = np.unique(people["frame"].to_numpy())
    number = int(numbers[len(numbers) // 2])
    present = people.filter(pc.equal(people["frame"], number))
    image = read_image(video.paths[number - 1])
    corners, areas = tables.boxes(present), boxes.area(tables.boxes(present))
    inside = boxes.area(np.clip(corners, 0, np.tile(image.shape[1::-1], 2))) / np.maximum(areas, 1)
    seen = np.minimum(inside * present["visibility"].to_numpy(), _WHOLE)
    best = np.lexsort((areas, seen))[-1]
    return Person(f"{video.sequence}, {video.split} frame {number}", video.paths[number - 1], image, corners[best])


def _levels(detector: Path, people: Sequence[Person], settings: Features) -> tuple[torch.Tensor, ...]:
    """What the stored features of these people hold, level by level."""
    model, card = load_detector(detector)
    rows = [np.zeros(1, np.int64)] * len(people)
    found = sequence_features(
        model,
        [one.path for one in people],
        [one.box[None] for one in people],
        rows,
        rows,
        settings=settings,
        input_size=tuple(card["input_size"]),
        convention=card["convention"],
        device=torch.device("cpu"),
    )
    levels = zip(*(frame.levels for frame in found), strict=True)
    return tuple(torch.from_numpy(np.concatenate(level)).float() for level in levels)


@torch.inference_mode()
def _masks(folder: Path, levels: tuple[torch.Tensor, ...]) -> Masks:
    model, _ = load_head(folder)
    return model(levels).masks.numpy()


def _cut(person: Person, size: tuple[int, int]) -> Image:
    """The box at `size` (width, height); grey where it is outside the image."""
    x1, y1, x2, y2 = person.box
    across, down = size[0] / max(x2 - x1, 1), size[1] / max(y2 - y1, 1)
    to_cell = np.array([[across, 0, -x1 * across], [0, down, -y1 * down]])
    return cv2.warpAffine(person.image, to_cell, size, borderMode=cv2.BORDER_CONSTANT, borderValue=(PAD, PAD, PAD))


def _heat(box: Image, mask: Float[np.ndarray, "rows columns"]) -> Image:
    relative = (mask - mask.min()) / max(float(np.ptp(mask)), 1e-6)
    cells = np.rint(255 * relative).astype(np.uint8)
    colours = cv2.applyColorMap(cv2.resize(cells, box.shape[1::-1]), cv2.COLORMAP_TURBO)
    return cv2.addWeighted(colours, 0.6, box, 0.4, 0)


def _text(text: str, width: int) -> Image:
    line = np.full((_LINE, width, 3), _PAPER, np.uint8)
    return cv2.putText(line, text, (1, _LINE - 5), _FONT, 0.35, _INK, 1, cv2.LINE_AA)


def _beside(cells: Sequence[Image]) -> UInt8[np.ndarray, "height total 3"]:
    apart = [cv2.copyMakeBorder(cell, 0, 0, 0, _GAP, cv2.BORDER_CONSTANT, value=(_PAPER,) * 3) for cell in cells]
    return np.concatenate(apart, axis=1)
