"""Detector training: restartable to the bit, the same through any runner, refusing what cannot be trained on."""

import dataclasses
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import DETECTOR as SETTINGS

from pipeline.data.augmentation import Augmentation
from pipeline.models.folder import load_card, load_model
from pipeline.models.yolox import YOLOX
from pipeline.training import detector as training
from pipeline.training.detector import TrainingImages, train_detector
from pipeline.training.worker import Worker


@pytest.fixture
def images(pictures) -> TrainingImages:
    return pictures


def train(images: TrainingImages, folder: Path, **changes) -> None:
    train_detector(
        Worker(), images=images, settings=dataclasses.replace(SETTINGS, **changes), initial=None, folder=folder
    )


class Killed(BaseException):
    """Stands for the end of the process: nothing may catch it."""


def test_a_run_killed_after_any_epoch_ends_with_the_weights_of_an_unbroken_one(images, tmp_path):
    train(images, tmp_path / "whole")
    for fatal in (1, 2):

        def tell(run, done, total, note, fatal=fatal):
            if done == fatal:
                raise Killed

        with pytest.raises(Killed):
            train_detector(Worker(tell=tell), images=images, settings=SETTINGS, initial=None, folder=tmp_path / "cut")
        train(images, tmp_path / "cut")
        whole, cut = load_model(tmp_path / "whole" / "model"), load_model(tmp_path / "cut" / "model")
        assert all(torch.equal(whole[0][name], cut[0][name]) for name in whole[0])
        assert whole[1] == cut[1]
        for path in (tmp_path / "cut").iterdir():
            shutil.rmtree(path)


def test_the_loss_falls(images, tmp_path):
    still = Augmentation(mosaic_probability=0.0, colour_probability=0.0)
    train(images, tmp_path, epochs=25, plain_epochs=0, rate_per_image=0.005, augmentation=still)
    curve = load_card(tmp_path / "model")["curve"]
    assert curve[-1]["total"] < 0.7 * curve[0]["total"]


def test_two_workers_take_the_images_that_one_would(images):
    def batch(rank: int, world: int):
        return next(training.training_batches(Worker(rank=rank, world=world), images, SETTINGS, 0, plain=False))

    pixels, labels = batch(0, 1)
    (first, first_labels), (second, second_labels) = batch(0, 2), batch(1, 2)
    assert torch.equal(pixels[0::2], first)
    assert torch.equal(pixels[1::2], second)
    assert torch.equal(labels, torch.stack([first_labels, second_labels], dim=1).flatten(0, 1))


def test_a_batch_that_workers_cannot_share_is_refused_before_training(images, tmp_path):
    with pytest.raises(ValueError, match=r"cluster\.yaml:workers: found 3, expected a divisor of detector\.batch = 4"):
        train_detector(Worker(world=3), images=images, settings=SETTINGS, initial=None, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_not_finite_names_the_step_and_keeps_finished_epochs(images, tmp_path):
    train(images, tmp_path, epochs=2)
    for path in tmp_path.glob("model"):
        shutil.rmtree(path)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"loss nan, .* in epoch 3, step \d+, expected finite numbers"):
        train(images, tmp_path, epochs=4, rate_per_image=math.inf)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_gradient_that_is_not_finite_in_an_epochs_last_step_reaches_no_checkpoint(images, tmp_path, monkeypatch):
    true_loss, calls = training.detection_loss, []

    def loss(*arguments, **options):
        calls.append(true_loss(*arguments, **options))
        if len(calls) == 4:  # the second step of the second epoch
            calls[-1].total.register_hook(lambda gradient: gradient * math.nan)
        return calls[-1]

    monkeypatch.setattr(training, "detection_loss", loss)
    with pytest.raises(ValueError, match=r"loss \d.*, its gradient's norm nan in epoch 2, step 2, expected finite"):
        train(images, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-00001"]
    assert all(value.isfinite().all() for value in load_model(tmp_path / "epoch-00001")[0].values())


def test_an_image_that_is_emptied_before_epoch_3_is_named_and_once_it_is_back_nothing_is_lost(images, tmp_path):
    paths = [Path(shutil.copy(path, tmp_path)) for path in images.paths]
    copies, folder = TrainingImages(paths, images.boxes), tmp_path / "run"
    train(copies, tmp_path / "whole")

    def empty_one(run: str, done: int, total: int, note: str) -> None:
        if done == 2:
            paths[5].write_bytes(b"")

    with pytest.raises(ValueError, match=rf"{paths[5].name}: 0 bytes, expected an image"):
        train_detector(Worker(tell=empty_one), images=copies, settings=SETTINGS, initial=None, folder=folder)
    assert [path.name for path in folder.iterdir()] == ["epoch-00002"]

    shutil.copy(images.paths[5], paths[5])
    train(copies, folder)
    whole, mended = load_model(tmp_path / "whole" / "model")[0], load_model(folder / "model")[0]
    assert all(torch.equal(value, mended[name]) for name, value in whole.items())


def test_fewer_images_than_a_batch_are_refused(images, tmp_path):
    few = TrainingImages(images.paths[:3], images.boxes[:3])
    with pytest.raises(ValueError, match=r"detector\.batch: 4, expected at most 3, the training images"):
        train(few, tmp_path)


def test_frozen_statistics_stay_as_they_were(images, tmp_path):
    train(images, tmp_path, epochs=1, plain_epochs=0, warmup_epochs=0, freeze_statistics=True)
    weights, _ = load_model(tmp_path / "model")
    means = [value for name, value in weights.items() if name.endswith("running_mean")]
    assert means
    assert all(torch.equal(value, torch.zeros_like(value)) for value in means)


def test_the_number_of_threads_that_make_batches_changes_nothing(images, monkeypatch):
    def epoch() -> list[tuple[torch.Tensor, torch.Tensor]]:
        return list(training.training_batches(Worker(), images, SETTINGS, 0, plain=False))

    alone = epoch()
    monkeypatch.setitem(training._THREADS, "cpu", 4)
    together = epoch()
    assert len(alone) == len(together) == 2
    for one, other in zip(alone, together, strict=True):
        assert all(torch.equal(*same) for same in zip(one, other, strict=True))


def test_initial_weights_without_statistics_get_those_of_the_training_images_and_others_keep_their_own(
    images, tmp_path
):
    """Statistics are frozen, so that what the run ends with is what it started from."""
    torch.manual_seed(0)
    folded = YOLOX.build("nano")
    for block in folded.modules():
        if isinstance(block, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(block.running_var, 1 - block.eps)

    def means_after(name: str, initial: dict[str, torch.Tensor]) -> torch.Tensor:
        torch.save({"model": initial}, tmp_path / f"{name}.pth")
        settings = dataclasses.replace(SETTINGS, epochs=1, plain_epochs=0, warmup_epochs=0, freeze_statistics=True)
        path, folder = tmp_path / f"{name}.pth", tmp_path / name
        train_detector(Worker(), images=images, settings=settings, initial=path, folder=folder)
        return means(load_model(folder / "model")[0])

    def means(weights: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat([weights[name] for name in sorted(weights) if name.endswith("running_mean")])

    assert means_after("folded", folded.state_dict()).abs().min() > 0
    folded.backbone.backbone.stem.conv.bn.running_mean += 0.1
    torch.testing.assert_close(means_after("own", folded.state_dict()), means(folded.state_dict()))


def test_sizes_change_every_ten_steps_and_are_multiples_of_32():
    settings = dataclasses.replace(SETTINGS, random_size=(2, 6), input_size=(64, 96))
    sizes = [training._size(settings, step) for step in range(60)]
    assert len(set(sizes)) > 1
    assert all(sizes[10 * i : 10 * i + 10] == [sizes[10 * i]] * 10 for i in range(6))
    assert all(height % 32 == 0 and width % 32 == 0 for height, width in sizes)


@pytest.mark.parametrize("size", ["nano", "s"])
def test_only_weights_of_convolutions_decay_as_in_the_original(size):
    with torch.device("meta"):
        model = YOLOX.build(size)
    decayed, plain = training._optimizer(model, SETTINGS).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names[id(parameter)] for parameter in decayed["params"]}
    # Megvii's three groups: weights of BatchNorm and biases without decay, all other weights with it.
    assert found == {name for name in names.values() if name.endswith("weight") and ".bn." not in name}
    assert {id(parameter) for group in (decayed, plain) for parameter in group["params"]} == set(names)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (SETTINGS.weight_decay, 0.0)
    assert decayed["nesterov"]


def test_sizes_stay_within_the_range_and_keep_the_inputs_aspect():
    settings = dataclasses.replace(SETTINGS, random_size=(18, 32), input_size=(800, 1440))
    sizes = {training._size(settings, 10 * i) for i in range(200)}
    assert {height // 32 for height, _ in sizes} == set(range(18, 33))
    assert all(width == 32 * int(height / 32 * 1.8) for height, width in sizes)


TRAINING = """
import sys
from pathlib import Path
import tiny
from pipeline.training.detector import train_detector
from pipeline.training.worker import Worker
pictures, folder = map(Path, sys.argv[1:])
train_detector(
    Worker(), images=tiny.draw_pictures(pictures), settings=tiny.DETECTOR, initial=None, folder=folder
)
"""


@pytest.mark.slow
def test_a_process_killed_again_and_again_ends_with_the_weights_of_an_unbroken_one(root, tmp_path):
    """SIGKILL at moments that no code of ours chooses, in the midst of a step or of writing."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(root), str(root / "tests"))),
        "OMP_NUM_THREADS": "1",
    }
    rng, kills = np.random.default_rng(0), 0

    def start(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", TRAINING, str(tmp_path), str(tmp_path / name)]
        return subprocess.Popen(command, env=environment)

    for epoch in (1, 2, 3):
        process = start("cut")
        while process.poll() is None and not (tmp_path / "cut" / f"epoch-{epoch:05d}").exists():
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills
    assert [start("cut").wait(), start("whole").wait()] == [0, 0]
    whole, cut = load_model(tmp_path / "whole" / "model"), load_model(tmp_path / "cut" / "model")
    assert all(torch.equal(value, cut[0][name]) for name, value in whole[0].items())
    assert whole[1] == cut[1]
