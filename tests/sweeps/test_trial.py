"""A trial runs with what was asked, reuses what the stages made and scores as they do."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from swept import change, study

from pipeline import params, tables
from pipeline.evaluation.experiment import ResultsFolder, Score, prepared_ground_truth, retrieval_rows, tracking_rows
from pipeline.inference.embed import EmbeddingJob, embed_stores
from pipeline.inference.stores import read_card
from pipeline.inference.tracks import track_jobs, track_to_file
from pipeline.models.folder import load_card, load_model
from pipeline.sweeps import trial as trials
from pipeline.sweeps.trial import run_trial
from pipeline.tracking.sequence import Tracking
from pipeline.training.reid import ReIDTraining, runs_of, train_reid
from pipeline.training.worker import Worker

RUNS = Path("runs/tiny")


def models() -> set[Path]:
    return set((RUNS / "work/reid").glob("*/model"))


def test_the_model_of_a_trial_differs_with_the_searched_parameter_and_its_card_says_so(tiny):
    found = {}
    for alpha in (1.0, 5.0):
        before = models()
        outcome = run_trial(study("reid"), {"reid.loss.alpha": alpha, "reid.parts": 3}, 0)
        (model,) = models() - before
        found[alpha] = load_model(model)[0]
        card = load_card(model)
        assert card["training"]["loss"]["alpha"] == alpha
        assert card["head"]["parts"] == 3
        assert outcome.parameters == {"reid.loss.alpha": alpha, "reid.parts": 3}
    assert any(not torch.equal(found[1.0][name], found[5.0][name]) for name in found[1.0])


def test_the_parameters_of_a_trial_are_those_of_the_card_and_not_of_the_request(tiny, monkeypatch):
    def ignoring(worker, *, run, stores, settings):
        loss = dataclasses.replace(settings.loss, alpha=3.0)
        train_reid(worker, run=run, stores=stores, settings=dataclasses.replace(settings, loss=loss))

    monkeypatch.setattr(trials, "train_reid", ignoring)
    with pytest.raises(ValueError, match=r"reid.loss.alpha: ran with 3.0, expected 4.0"):
        run_trial(study("reid"), {"reid.loss.alpha": 4.0, "reid.parts": 2}, 0)


def test_null_is_read_back_as_the_associations_own_value(tiny):
    assert params.section("tiny", "track.match_threshold", float | None) is None
    assert run_trial(study("association"), {}, 0).parameters == {"track.match_threshold": 0.5, "track.buffer": 30}


def test_what_the_experiment_trained_is_not_trained_again_and_scores_the_same(tiny, monkeypatch):
    settings = params.section("tiny", "reid", ReIDTraining)
    stores = {name: path for split, name, path in read_card(RUNS / "features.json", "ground_truth") if split == "train"}
    run = next(one for one in runs_of(settings, stores, RUNS / "work/reid") if one.name == "finetrack")
    train_reid(Worker.local(), run=run, stores=stores, settings=settings)
    monkeypatch.setattr(torch.optim, "Adam", None)  # whoever trains fails
    outcome = run_trial(study("reid"), {}, 0)

    expected = stage_retrieval(run.model) | stage_tracking(run.model)
    assert outcome.metrics == pytest.approx(expected, abs=1e-9)


def test_an_association_scores_as_the_stages_do(tiny):
    outcome = run_trial(study("association"), {"track.match_threshold": 0.3, "track.buffer": 5}, 0)
    found = stage_tracking(None, match_threshold=0.3, buffer=5)
    assert outcome.metrics == {name: found[name] for name in outcome.metrics}
    assert outcome.metrics["HOTA"] > 20


def test_tracks_differ_with_the_searched_parameter(tiny):
    scores = [run_trial(study("association"), {"track.match_threshold": x}, 0).metrics for x in (0.05, 0.8)]
    assert scores[0] != scores[1]


def test_each_epoch_is_told_with_what_it_scores_and_training_ends_the_same(tiny, tmp_path):
    change("reid", objectives={"mAP_gap": "max"})
    told = []
    one = study("reid")
    watched = run_trial(one, {"reid.parts": 1}, 0, told.append)
    assert [outcome.epochs for outcome in told] == [1, 2]
    assert all(np.isfinite(outcome.metrics["mAP_gap"]) for outcome in told)
    assert all(outcome.parameters["reid.parts"] == 1 for outcome in told)
    moved = dataclasses.replace(one, material=dataclasses.replace(one.material, models=tmp_path / "alone"))
    alone = run_trial(moved, {"reid.parts": 1}, 0)
    assert (watched.epochs, watched.metrics) == (3, alone.metrics)


def stage_retrieval(model: Path) -> dict[str, float]:
    """Scores as the stages embed and score make them."""
    job = EmbeddingJob(
        model, tuple(one for one in read_card(RUNS / "features.json", "ground_truth") if one[0] == "val")
    )
    out = RUNS / "embeddings/made/seed0/ground_truth.parquet"
    embed_stores(job, out, batch=params.section("tiny", "embed.batch", int))
    truth = tables.read(RUNS / "ground_truth.parquet", tables.GROUND_TRUTH)
    rows = retrieval_rows(out, truth, ("val",), params.section("tiny", "score", Score))
    return {f"{name}_{row['protocol']}": row[name] for row in rows for name in ("rank1", "rank5", "mAP")}


def stage_tracking(model: Path | None, **changed) -> dict[str, float]:
    """Scores as the stages embed, track and score make them, of a model or of the experiment's own embeddings."""
    variant = "finetrack"
    if model is not None:
        variant = "made"
        stores = tuple(one for one in read_card(RUNS / "features.json", "detections") if one[0] == "val")
        embed_stores(EmbeddingJob(model, stores), RUNS / "embeddings/made/seed0/detections.parquet", batch=256)
    sequences = pq.read_table(RUNS / "sequences.parquet")
    settings = dataclasses.replace(params.section("tiny", "track", Tracking), **changed)
    jobs = track_jobs(
        sequences,
        RUNS / "detections.parquet",
        RUNS / "embeddings",
        ("val",),
        settings=settings,
        min_score=0.1,
        folder=RUNS / "work/tracks",
    )
    path, job = jobs[f"{variant}/seed0/a.txt"]
    track_to_file(job, path, settings=settings)
    truth = tables.read(RUNS / "ground_truth.parquet", tables.GROUND_TRUTH)
    prepared = prepared_ground_truth(sequences, truth, ("val",), "MOT17")["val"]
    rows = tracking_rows(ResultsFolder("val", variant, 0, path.parent), truth=prepared, evaluators=("trackeval",))
    return {name: float(rows[-1][name]) for name in trials.TRACKING}
