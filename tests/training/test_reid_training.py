"""Re-ID training from stores: restartable to the bit, runs independent of each other and of the workers."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.data import store
from pipeline.data.store import FrameFeatures, SequenceFeatures
from pipeline.losses.reid import ReIDLossWeights
from pipeline.models.folder import load_card, load_model
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
