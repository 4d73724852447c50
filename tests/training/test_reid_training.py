"""Re-ID training from stores: restartable to the bit, runs independent of each other and of the workers."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pipeline.data import samplers, store
from pipeline.data.frames import letterbox, network_input, read_image
from pipeline.data.store import FrameFeatures, SequenceFeatures
from pipeline.inference.features import Features, level_shapes, sequence_features, target_features
from pipeline.losses.reid import ReIDLossWeights, reid_loss
from pipeline.models.folder import load_card, load_model
from pipeline.models.reid import Classifiers, FineTrackReID
from pipeline.models.yolox import YOLOX
from pipeline.training.reid import (
    ReIDRun,
    ReIDTraining,
    Variant,
    identity_labels,
    runs_of,
    train_reid,
    train_runs,
)
from pipeline.training.worker import Worker

SHAPES = ((4, 8, 4), (6, 4, 2))
SETTINGS = ReIDTraining(
    channels=8,
    mask_per_head=4,
    parts=2,
    part_dim=8,
    global_dim=8,
    rectify=False,
    chunk=0,
    loss=ReIDLossWeights(),
    epochs=3,
    group_size=4,
    rate=0.01,
    rate_factor=0.1,
    milestone=2,
    seeds=(0, 1),
    variants={
        "finetrack": Variant("fafpn", "mpmg", "sgs"),
        "baseline": Variant("fpn", "gap", "shuffle"),
        "untrained": Variant("fafpn", "mpmg", "none"),
    },
)


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> dict[str, Path]:
    """Two videos of ten frames, three people each with looks of their own; the fifth frame is empty."""
    folder = tmp_path_factory.mktemp("stores")
    paths = {}
    for name, seed in (("a", 0), ("b", 1)):
        rng = np.random.default_rng(seed)
        looks = [rng.normal(size=(3, *shape)) for shape in SHAPES]
        frames = []
        for number in range(1, 11):
            people = np.arange(0 if number == 5 else 3)
            levels = tuple((look[people] + 0.3 * rng.normal(size=(len(people), *look.shape[1:]))) for look in looks)
            frames.append(FrameFeatures(number, people, people + 1, tuple(x.astype(np.float32) for x in levels)))
        paths[name] = folder / f"{name}.arrow"
        store.write(paths[name], SHAPES, frames, half=False)
    return paths


def a_run(folder: Path, variant: str = "finetrack", seed: int = 0) -> ReIDRun:
    return ReIDRun(variant, SETTINGS.variants[variant], seed, folder)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(folder / "model")[0]


class Killed(BaseException):
    """Stands for the end of the process: nothing may catch it."""


def test_a_run_killed_after_any_epoch_ends_with_the_weights_of_an_unbroken_one(stores, tmp_path):
    train_reid(Worker(), run=a_run(tmp_path / "whole"), stores=stores, settings=SETTINGS)
    for fatal in (1, 2):

        def tell(run, done, total, note, fatal=fatal):
            if done == fatal:
                raise Killed

        with pytest.raises(Killed):
            train_reid(Worker(tell=tell), run=a_run(tmp_path / "cut"), stores=stores, settings=SETTINGS)
        train_reid(Worker(), run=a_run(tmp_path / "cut"), stores=stores, settings=SETTINGS)
        whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
        assert all(torch.equal(whole[name], cut[name]) for name in whole)
        assert load_card(tmp_path / "whole" / "model") == load_card(tmp_path / "cut" / "model")
        shutil.rmtree(tmp_path / "cut")


def test_training_brings_one_person_together_and_two_apart(stores, tmp_path):
    settings = dataclasses.replace(SETTINGS, epochs=15, milestone=15)
    train_reid(Worker(), run=a_run(tmp_path), stores=stores, settings=settings)
    curve = load_card(tmp_path / "model")["curve"]
    assert curve[-1]["total"] < 0.5 * curve[0]["total"]
    assert curve[-1]["part_triplet"] < curve[0]["part_triplet"]


def test_the_workers_share_the_runs_and_each_comes_out_the_same(stores, tmp_path):
    alone = runs_of(SETTINGS, stores, tmp_path / "alone")
    train_runs(Worker(), runs=alone, stores=stores, settings=SETTINGS)
    together = runs_of(SETTINGS, stores, tmp_path / "together")
    for rank in (0, 1):
        train_runs(Worker(rank=rank, world=2), runs=together, stores=stores, settings=SETTINGS)
    assert len(alone) == 6
    for one, other in zip(alone, together, strict=True):
        first, second = weights(one.folder), weights(other.folder)
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_failing_run_ends_none_of_the_others_and_is_named(stores, tmp_path):
    settings = dataclasses.replace(SETTINGS, rate=1e30)
    runs = runs_of(settings, stores, tmp_path)
    with pytest.raises(ValueError, match=r"train_reid: 4 of 6 runs failed: .*finetrack seed 0: loss nan in epoch \d"):
        train_runs(Worker(), runs=runs, stores=stores, settings=settings)
    assert [run.name for run in runs if run.model.exists()] == ["untrained", "untrained"]


def test_a_run_is_trained_anew_only_when_something_it_depends_on_changes(stores, tmp_path):
    def folders(settings) -> dict[tuple[str, int], Path]:
        return {(run.name, run.seed): run.folder for run in runs_of(settings, stores, tmp_path)}

    before = folders(SETTINGS)
    variants = {**SETTINGS.variants, "baseline": Variant("fpn", "gap", "sgs")}
    changed = folders(dataclasses.replace(SETTINGS, variants=variants, seeds=(0, 1, 2)))
    assert {key for key, folder in before.items() if changed[key] != folder} == {("baseline", 0), ("baseline", 1)}
    other_loss = folders(dataclasses.replace(SETTINGS, loss=ReIDLossWeights(alpha=1.0)))
    assert all(other_loss[key] != folder for key, folder in before.items())
    elsewhere = {name: tmp_path / "other-features" / path.name for name, path in stores.items()}
    assert all(run.folder not in before.values() for run in runs_of(SETTINGS, elsewhere, tmp_path))


def test_the_untrained_control_is_the_head_as_built(stores, tmp_path):
    train_reid(Worker(), run=a_run(tmp_path, "untrained"), stores=stores, settings=SETTINGS)
    assert load_card(tmp_path / "model")["curve"] == []


def test_only_the_head_is_saved(stores, tmp_path):
    train_reid(Worker(), run=a_run(tmp_path), stores=stores, settings=SETTINGS)
    assert not any("classifier" in name for name in weights(tmp_path))
    assert load_card(tmp_path / "model")["identities"] == 6


def test_people_of_two_sequences_are_two_people(stores):
    labels = identity_labels({name: SequenceFeatures(path) for name, path in stores.items()})
    assert sorted(labels) == [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2), ("b", 3)]
    assert sorted(labels.values()) == list(range(6))


def test_a_train_split_without_people_is_refused(tmp_path):
    nobody = FrameFeatures(1, np.zeros(0, int), np.zeros(0, int), tuple(np.zeros((0, *s), np.float32) for s in SHAPES))
    store.write(tmp_path / "empty.arrow", SHAPES, [nobody], half=True)
    with pytest.raises(ValueError, match="the train split has no identities"):
        train_reid(Worker(), run=a_run(tmp_path / "run"), stores={"empty": tmp_path / "empty.arrow"}, settings=SETTINGS)


INPUT = (64, 96)
ROI = Features(roi=(8, 4), precision="single")
BOXES = np.array([[5.0, 5.0, 35.5, 60.0], [50.0, 8.0, 75.0, 80.25], [80.0, 2.0, 99.0, 50.0]])


@pytest.fixture(scope="module")
def detector() -> YOLOX:
    torch.manual_seed(0)
    return YOLOX(depth=0.33, width=0.125).eval()


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> list[Path]:
    """Nine pictures in which three people stay where they are."""
    folder, rng = tmp_path_factory.mktemp("video"), np.random.default_rng(0)
    still = rng.integers(0, 200, (8, 10, 3), dtype=np.uint8)
    for number in range(9):
        noisy = still + rng.integers(0, 50, still.shape, dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(noisy, (100, 85)))
    return sorted(folder.iterdir())


@torch.inference_mode()
def seen(detector: YOLOX, path: Path) -> tuple[torch.Tensor, ...]:
    """A frame's targets straight from the backbone, as a training without a store computes them."""
    image, ratio = letterbox(read_image(path), INPUT)
    planes = torch.from_numpy(network_input(image, "bytetrack"))[None].contiguous(memory_format=torch.channels_last)
    boxes = torch.from_numpy((BOXES * ratio).astype(np.float32))
    return target_features(detector, planes, boxes, torch.zeros(len(boxes), dtype=torch.int64), ROI)


def losses_in_the_loop(detector: YOLOX, video: list[Path]) -> list[float]:
    """The mean loss of each epoch where images are read and the backbone works in every step."""
    torch.manual_seed(0)
    head = SETTINGS.head(SETTINGS.variants["finetrack"])
    shapes = level_shapes(detector, ROI)
    model = FineTrackReID(head, tuple(shape[0] for shape in shapes))
    classifiers = Classifiers(len(BOXES), head)
    optimizer = torch.optim.Adam([*model.parameters(), *classifiers.parameters()], lr=SETTINGS.rate)
    means = []
    for epoch in range(SETTINGS.epochs):
        optimizer.param_groups[0]["lr"] = SETTINGS.rate * (SETTINGS.rate_factor if epoch >= SETTINGS.milestone else 1)
        losses = []
        for group in samplers.sgs({"a": len(video)}, size=SETTINGS.group_size, seed=0, epoch=epoch):
            levels = zip(*(seen(detector, video[index]) for _, index in group), strict=True)
            embeddings = model(tuple(torch.cat(level) for level in levels))
            people = torch.arange(len(BOXES)).repeat(len(group))
            loss = reid_loss(embeddings, classifiers(embeddings), people, SETTINGS.loss).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        means.append(sum(losses) / len(losses))
    return means


def losses_from_a_store(detector: YOLOX, video: list[Path], folder: Path, *, half: bool) -> list[float]:
    settings = dataclasses.replace(ROI, precision="half" if half else "single")
    people = [np.arange(len(BOXES))] * len(video)
    frames = sequence_features(
        detector,
        video,
        [BOXES] * len(video),
        people,
        [one + 1 for one in people],
        settings=settings,
        input_size=INPUT,
        convention="bytetrack",
        device=torch.device("cpu"),
    )
    store.write(folder / "a.arrow", level_shapes(detector, settings), frames, half=half)
    train_reid(Worker(), run=a_run(folder), stores={"a": folder / "a.arrow"}, settings=SETTINGS)
    return [row["total"] for row in load_card(folder / "model")["curve"]]


def test_a_single_precision_store_gives_the_losses_of_features_in_the_loop_to_the_bit(detector, video, tmp_path):
    stored = losses_from_a_store(detector, video, tmp_path, half=False)
    assert len(stored) == SETTINGS.epochs
    assert stored == losses_in_the_loop(detector, video)


def test_a_half_precision_store_gives_the_first_epochs_loss_of_features_in_the_loop_within_a_thousandth(
    detector, video, tmp_path
):
    """Of later epochs the losses drift apart, as those of any two trainings that rounding tells apart."""
    stored = losses_from_a_store(detector, video, tmp_path, half=True)
    np.testing.assert_allclose(stored[0], losses_in_the_loop(detector, video)[0], rtol=1e-3)


LARGE = ((160, 32, 16), (320, 16, 8), (640, 8, 4))  # dark2 to dark4 of YOLOX-x
UNDER_A_LIMIT = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[3]), int(sys.argv[3])))  # memory of its own; no file pages
sys.path.insert(0, sys.argv[4])
import test_reid_training as test
test.train_large(Path(sys.argv[1]), whole=sys.argv[2] == "whole")
"""


def train_large(folder: Path, *, whole: bool) -> None:
    """Train an epoch from `large.arrow`, first bringing all of it into memory where `whole`."""
    torch.set_num_threads(1)
    video = SequenceFeatures(folder / "large.arrow")
    kept = [np.array(video.frame(index).levels[0]) for index in range(video.frames if whole else 0)]
    settings = dataclasses.replace(SETTINGS, epochs=1, group_size=8)
    train_reid(Worker(), run=a_run(folder / "run"), stores={"large": folder / "large.arrow"}, settings=settings)
    assert len(kept) == (video.frames if whole else 0)


@pytest.mark.slow
def test_a_store_of_gigabytes_is_trained_from_in_less_memory_than_it_has(tmp_path):
    rng = np.random.default_rng(0)
    people = np.arange(20)
    noise = [rng.normal(size=(len(people), *shape)).astype(np.float16) for shape in LARGE]
    frames = (FrameFeatures(number, people, people + 1, tuple(noise)) for number in range(1, 401))
    store.write(tmp_path / "large.arrow", LARGE, frames, half=True)
    size = (tmp_path / "large.arrow").stat().st_size
    assert size > 2e9

    def under_a_limit(how: str) -> int:
        command = [
            sys.executable,
            "-c",
            UNDER_A_LIMIT,
            str(tmp_path),
            how,
            str(1_500_000_000),
            str(Path(__file__).parent),
        ]
        return subprocess.run(command, capture_output=True, timeout=300, check=False).returncode

    assert under_a_limit("whole") != 0  # the limit is one
    assert not (tmp_path / "run" / "model").exists()
    assert under_a_limit("mapped") == 0
    assert (tmp_path / "run" / "model").exists()
    (tmp_path / "large.arrow").unlink()
