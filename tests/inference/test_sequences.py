from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pipeline import tables
from pipeline.data.store import SequenceFeatures
from pipeline.inference.detect import Postprocess, detect_frames
from pipeline.inference.features import Features, sequence_features
from pipeline.inference.sequences import Detect, detect_sequence, load_detector, store_features
from pipeline.inference.targets import SequenceFrames, SequenceTargets
from pipeline.models.folder import save_model
from pipeline.models.yolox import YOLOX

CARD = {
    "kind": "yolox",
    "size": "nano",
    "classes": 2,
    "input_size": [64, 96],
    "convention": "yolox011",
    "person_class": 1,
}
LIKELY = Postprocess(confidence=0.0001, nms=0.3)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a detector that was never trained."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "detector"
    save_model(folder, YOLOX.build("nano", 2).state_dict(), CARD)
    return folder


@pytest.fixture
def frames(tmp_path: Path) -> SequenceFrames:
    rng = np.random.default_rng(0)
    for number in (1, 2, 3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), rng.integers(0, 255, (120, 160, 3), dtype=np.uint8))
    return SequenceFrames("val", "a", tuple(tmp_path / f"{number}.png" for number in (1, 2, 3)))


def targets(frames: SequenceFrames) -> SequenceTargets:
    boxes = (np.array([[5.0, 5, 60, 100], [70, 0, 120, 90]]), np.zeros((0, 4)), np.array([[30.0, 30, 80, 119]]))
    rows = (np.array([0, 3]), np.zeros(0, np.int64), np.array([1]))
    return SequenceTargets(frames, boxes, rows, tuple(row + 7 for row in rows))


def test_detections_are_written_as_a_table_in_order_of_frames(
    frames: SequenceFrames, detector: Path, tmp_path: Path
) -> None:
    detect_sequence(frames, tmp_path / "out.parquet", detector=detector, settings=Detect(2, LIKELY))
    found = tables.groups(tables.read(tmp_path / "out.parquet", tables.DETECTIONS), "split", "sequence", "frame")
    model, _ = load_detector(detector)
    expected = list(
        detect_frames(
            model,
            frames.paths,
            input_size=(64, 96),
            convention="yolox011",
            postprocess=LIKELY,
            batch=2,
            device="cpu",
            person_class=1,
        )
    )
    with_boxes = {("val", "a", n): one for n, one in enumerate(expected, start=1) if len(one[1])}
    assert len(with_boxes) > 1
    assert list(found) == list(with_boxes)
    for key, (boxes, scores) in with_boxes.items():
        assert np.array_equal(tables.boxes(found[key]), boxes)
        assert np.array_equal(found[key]["score"].to_numpy(), scores)


def test_a_sequence_without_detections_is_an_empty_table(
    frames: SequenceFrames, detector: Path, tmp_path: Path
) -> None:
    settings = Detect(2, Postprocess(confidence=1.0, nms=0.7))
    detect_sequence(frames, tmp_path / "out.parquet", detector=detector, settings=settings)
    assert tables.read(tmp_path / "out.parquet", tables.DETECTIONS).num_rows == 0


def test_an_unreadable_image_leaves_no_table(frames: SequenceFrames, detector: Path, tmp_path: Path) -> None:
    frames.paths[1].write_bytes(b"")
    with pytest.raises(ValueError, match=r"2.png: 0 bytes"):
        detect_sequence(frames, tmp_path / "out.parquet", detector=detector, settings=Detect(1, LIKELY))
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("precision", ["half", "single"])
def test_a_store_holds_the_features_of_every_target(
    frames: SequenceFrames, detector: Path, tmp_path: Path, precision: str
) -> None:
    settings = Features(roi=(8, 4), precision=precision)  # type: ignore[arg-type]
    one = targets(frames)
    store_features(one, tmp_path / "a.arrow", detector=detector, settings=settings)
    found = SequenceFeatures(tmp_path / "a.arrow")
    model, _ = load_detector(detector)
    expected = sequence_features(
        model,
        frames.paths,
        one.boxes,
        one.rows,
        one.identities,
        settings=settings,
        input_size=(64, 96),
        convention="yolox011",
        device=torch.device("cpu"),
    )
    for index, wanted in enumerate(expected):
        frame = found.frame(index)
        assert np.array_equal(frame.rows, wanted.rows)
        assert np.array_equal(frame.identities, wanted.identities)
        assert all(np.array_equal(a, b) for a, b in zip(frame.levels, wanted.levels, strict=True))
    assert found.frames == 3


def test_a_loaded_detector_is_ready_to_detect(detector: Path) -> None:
    model, card = load_detector(detector)
    assert not model.training
    assert (model.classes, card) == (2, CARD)


def test_a_folder_without_a_detector_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path / "none", {}, {"kind": "none"})
    with pytest.raises(ValueError, match=r"none: holds 'none', expected a YOLOX. Give images, and run"):
        load_detector(tmp_path / "none")
    with pytest.raises(ValueError, match="expected a model folder"):
        load_detector(tmp_path / "nothing")
