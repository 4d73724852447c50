"""How long the stages of an experiment take and what they write, from plain formulas with measured constants.

Times are of two free cores (AMD EPYC with AVX-512, torch 2.13), one wall-clock second for both; larger detectors are
scaled from `s` by their arithmetic. They tell minutes from days and no more. GPUs are not measured.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import tables
from pipeline.data.layout import Data, Layout
from pipeline.inference.features import Features
from pipeline.models.darknet import Size
from pipeline.models.yolox import level_channels
from pipeline.training.detector import DetectorTraining
from pipeline.training.reid import ReIDTraining

_MEASURED_PIXELS = 256 * 448
_IMAGES_PER_S: Mapping[Size, tuple[float, float]] = {"nano": (38.0, 131.0), "tiny": (16.0, 53.0), "s": (9.5, 32.0)}
# GFLOP of a 640x640 image, by the model zoo of Megvii/YOLOX: what scales m, l and x from s.
_GFLOP: Mapping[Size, float] = {"s": 26.8, "m": 73.8, "l": 155.6, "x": 281.9}
_MILLION_WEIGHTS: Mapping[Size, float] = {"nano": 0.9, "tiny": 5.1, "s": 9.0, "m": 25.3, "l": 54.2, "x": 99.1}
# Targets a second in training and inference, of (ROI height, channels of the head).
_TARGETS_PER_S: Mapping[tuple[int, int], tuple[float, float]] = {
    (16, 48): (840.0, 2790.0),
    (16, 96): (480.0, 1590.0),
    (16, 256): (168.0, 450.0),
    (32, 48): (57.0, 141.0),
    (32, 96): (45.0, 102.0),
    (32, 256): (30.0, 105.0),
}
_COPIES = 5  # of the weights: live, averaged, momentum; and the model in work/ and outside
_FOUND_PER_PERSON = 1.16  # of a good detector, scoring above 0.1: ByteTrack's YOLOX-x on MOT17


@dataclass(frozen=True)
class Amounts:
    """What there is to work on: images, annotated people, and boxes of a detector, given or to be expected."""

    training_images: int
    video_images: int
    evaluated_images: int
    training_people: int
    people: int
    evaluated_people: int
    detections: int
    is_detected: bool  # by the pipeline itself


@dataclass(frozen=True)
class Estimate:
    """A stage: wall seconds, None where nothing was measured; bytes below runs/; what says so."""

    stage: str
    seconds: float | None
    bytes: int
    basis: str = "formula"


def amounts_of(layout: Layout, data: Data) -> Amounts:
    """Count what `prepare` would write."""
    evaluated = pa.array(data.evaluate, pa.string())
    training = pa.array(["train", tables.CROWD])
    truth = layout.ground_truth
    people = truth.filter(pc.and_(truth["considered"], pc.equal(truth["category"], 1)))
    videos = people.filter(pc.not_equal(people["split"], tables.CROWD))
    evaluated_people = _rows(videos, evaluated)
    images = _rows(layout.frames, evaluated)
    given = layout.given.num_rows
    return Amounts(
        training_images=_rows(layout.frames, training),
        video_images=_rows(layout.frames, pa.array(["train", "val", "test"])),
        evaluated_images=images,
        training_people=_rows(videos, pa.array(["train"])),
        people=videos.num_rows if layout.frames.num_rows else 0,
        evaluated_people=evaluated_people if images else 0,
        detections=(given or math.ceil(_FOUND_PER_PERSON * _expected_people(layout, data))) if images else 0,
        is_detected=given == 0,
    )


def amounts_of_world(data: Data) -> Amounts:
    """Count what the synthetic world would hold, every person in every frame."""
    world = data.world
    assert world is not None
    evaluated = world.sequences * (world.frames // 2)
    images = world.sequences * world.frames
    training = images - evaluated
    return Amounts(
        training_images=training,
        video_images=images,
        evaluated_images=evaluated,
        training_people=training * world.people,
        people=images * world.people,
        evaluated_people=evaluated * world.people,
        detections=math.ceil(_FOUND_PER_PERSON * evaluated * world.people),
        is_detected=True,
    )


def estimates(amounts: Amounts, detector: DetectorTraining, features: Features, reid: ReIDTraining) -> list[Estimate]:
    """Each stage that takes long or writes much, in the order of the DAG."""
    training, inference = _detector_rates(detector)
    head = _TARGETS_PER_S.get((features.roi[0], reid.channels))
    heads = len(reid.variants) * len(reid.seeds)
    trained = sum(one.sampler != "none" for one in reid.variants.values()) * len(reid.seeds)
    described = amounts.evaluated_people + amounts.detections
    dim = reid.parts * reid.part_dim + reid.global_dim
    embeddings = 2 * heads * described * dim * 4  # in work/ and in embeddings/
    stores = (amounts.people + amounts.detections) * bytes_of_target(features, detector.size)
    weights = int(_MILLION_WEIGHTS[detector.size] * 4e6) if amounts.training_images else 0
    return [
        Estimate("train_detector", detector.epochs * amounts.training_images / training, _COPIES * weights),
        Estimate("detect", amounts.evaluated_images / inference if amounts.is_detected else 0.0, 0),
        Estimate("features", amounts.video_images / inference, stores),
        Estimate("train_reid", trained * reid.epochs * amounts.training_people / head[0] if head else None, 0),
        Estimate("embed", heads * described / head[1] if head else None, embeddings),
    ]


def bytes_of_target(features: Features, size: Size) -> int:
    """Bytes that the feature store keeps of one target.

    >>> bytes_of_target(Features(), "x")
    286720
    """
    levels = zip(features.levels, features.sizes(), strict=True)
    values = sum(level_channels(level, size) * rows * columns for level, (rows, columns) in levels)
    return values * (2 if features.precision == "half" else 4)


def _detector_rates(detector: DetectorTraining) -> tuple[float, float]:
    """Images a second in training and inference at the detector's own input size."""
    area = _MEASURED_PIXELS / math.prod(detector.input_size)
    slower = 1.0 if detector.size in _IMAGES_PER_S else _GFLOP["s"] / _GFLOP[detector.size]
    training, inference = _IMAGES_PER_S.get(detector.size, _IMAGES_PER_S["s"])
    return training * area * slower, inference * area * slower


def _expected_people(layout: Layout, data: Data) -> int:
    """People of the evaluated splits; where some are not annotated, as many a frame as in the others."""
    truth = layout.ground_truth.filter(pc.not_equal(layout.ground_truth["split"], tables.CROWD))
    known = layout.sequences.filter(layout.sequences["has_ground_truth"])
    frames = int(pc.sum(known["frames"]).as_py() or 0)
    evaluated = _rows(layout.frames, pa.array(data.evaluate, pa.string()))
    return round(truth.num_rows / frames * evaluated) if frames else 0


def _rows(table: pa.Table, splits: pa.Array) -> int:
    return int(pc.sum(pc.is_in(table["split"], value_set=splits)).as_py() or 0)
