"""Detector training: restartable to the bit, the same through any runner, refusing what cannot be trained on."""

import dataclasses
import math
import shutil
from pathlib import Path

import pytest
import torch
from tiny import DETECTOR as SETTINGS

from pipeline.data.augmentation import Augmentation
from pipeline.models.folder import load_card, load_model
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
    from pipeline.training.detector import _batches

    def batch(rank: int, world: int):
        return next(iter(_batches(Worker(rank=rank, world=world), images, SETTINGS, 0, 2, plain=False)))

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
    with pytest.raises(ValueError, match=r"loss nan in epoch 3, step \d+, expected a finite number"):
        train(images, tmp_path, epochs=4, rate_per_image=math.inf)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_an_image_that_cannot_be_read_in_a_later_epoch_is_named(images, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"")
    paths = [*images.paths[:-1], broken]
    with pytest.raises(ValueError, match=r"broken\.png"):
        train(TrainingImages(paths, images.boxes), tmp_path / "run")


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


def test_sizes_change_every_ten_steps_and_are_multiples_of_32(images):
    from pipeline.training.detector import _size

    settings = dataclasses.replace(SETTINGS, random_size=(2, 6), input_size=(64, 96))
    sizes = [_size(settings, step) for step in range(60)]
    assert len(set(sizes)) > 1
    assert all(sizes[10 * i : 10 * i + 10] == [sizes[10 * i]] * 10 for i in range(6))
    assert all(height % 32 == 0 and width % 32 == 0 for height, width in sizes)
