"""Frame by frame gives what the stages give."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.data.frames import letterbox, network_input
from pipeline.inference.detect import Postprocess, detect_frames
from pipeline.inference.features import Features, sequence_features
from pipeline.inference.online import Detector, Watcher
from pipeline.inference.video import open_clip
from pipeline.models.folder import save_model
from pipeline.models.reid import FineTrackReID, ReIDHead
from pipeline.models.yolox import YOLOX, level_channels

SIZE = (64, 96)
HEAD = ReIDHead(channels=8, mask_per_head=2, parts=2, part_dim=4, global_dim=4)
FEATURES = Features(roi=(8, 4))
CHANNELS = tuple(level_channels(level, "nano") for level in FEATURES.levels)


@pytest.fixture
def model() -> YOLOX:
    torch.manual_seed(0)
    model = YOLOX.build("nano")
    for layer in (*model.head.cls_preds, *model.head.obj_preds):
        torch.nn.init.constant_(layer.bias, 1.0)
    return model.eval()


@pytest.fixture
def head() -> FineTrackReID:
    torch.manual_seed(1)
    return FineTrackReID(HEAD, CHANNELS).eval()


@pytest.fixture
def watcher(model: YOLOX, head: FineTrackReID, tmp_path: Path) -> Watcher:
    card = {"kind": "yolox", "size": "nano", "classes": 1, "convention": "bytetrack", "input_size": SIZE}
    save_model(tmp_path / "detector", model.state_dict(), {**card, "person_class": 0})
    described = {"levels": ["dark2", "dark3", "dark4"], "roi": [8, 4], "sampling": 2, "precision": "half"}
    card = {"kind": "reid", "head": {**vars(HEAD)}, "in_channels": CHANNELS, "features": described}
    save_model(tmp_path / "reid", head.state_dict(), card)
    return Watcher(Detector.of_folder(tmp_path / "detector"), tmp_path / "reid", Postprocess())


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    import cv2

    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    found = [tmp_path / "images" / f"{number}.png" for number in range(3)]
    for path in found:
        cv2.imwrite(str(path), cv2.resize(rng.integers(0, 255, (8, 12, 3), dtype=np.uint8), (150, 100)))
    return found


def test_detections_are_those_of_the_stage(watcher, model, paths):
    stage = detect_frames(
        model,
        paths,
        input_size=SIZE,
        convention="bytetrack",
        postprocess=Postprocess(),
        batch=1,
        device="cpu",
    )
    seen = list(watcher.watch(open_clip(paths[0].parent).read(), 0.1))
    assert len(seen) == len(paths)
    for one, (boxes, scores) in zip(seen, stage, strict=True):
        np.testing.assert_allclose(one.boxes, boxes, atol=1e-4)
        np.testing.assert_allclose(one.scores, scores, atol=1e-6)
        assert len(scores) > 5


def test_embeddings_are_those_of_the_stages_and_zero_below_the_score(watcher, model, head, paths):
    seen = list(watcher.watch(open_clip(paths[0].parent).read(), 0.5))
    chosen = [np.flatnonzero(one.scores > 0.5) for one in seen]
    stored = sequence_features(
        model,
        paths,
        [one.boxes[rows] for one, rows in zip(seen, chosen, strict=True)],
        chosen,
        chosen,
        settings=FEATURES,
        input_size=SIZE,
        convention="bytetrack",
        device=torch.device("cpu"),
    )
    for one, rows, features in zip(seen, chosen, stored, strict=True):
        with torch.inference_mode():
            expected = head(tuple(torch.from_numpy(level).float() for level in features.levels)).descriptor
        np.testing.assert_allclose(one.embeddings[rows], expected.numpy(), atol=2e-3)
        others = np.setdiff1d(np.arange(len(one.scores)), rows)
        assert len(rows) > 0
        assert not one.embeddings[others].any()


def test_no_images_give_nothing(watcher):
    assert list(watcher.watch([], 0.1)) == []


def test_a_frame_in_which_nothing_scores_enough_has_no_described_rows(watcher, paths):
    for one in watcher.watch(open_clip(paths[0].parent).read(), 1.0):
        assert one.embeddings.shape == (len(one.scores), HEAD.dim)
        assert not one.embeddings.any()


def test_the_network_sees_the_frame_letterboxed(watcher, paths):
    image = next(open_clip(paths[0].parent).read())
    fitted, ratio = letterbox(image, SIZE)
    _, planes, found = watcher._read(image)
    assert found == ratio
    np.testing.assert_array_equal(planes[0].numpy(), network_input(fitted, "bytetrack"))
