"""Train the Re-ID head of every variant and seed on the stored features.

Reads   features   card of the feature stores
Writes  out        out/<variant>/seed<k>: model folders with their loss curves
        work       checkpoints, and finished runs under their fingerprints
Params  reid
"""

from functools import partial
from pathlib import Path

from pipeline import params
from pipeline.cluster.train import train
from pipeline.entry import run
from pipeline.folders import replacing_folder
from pipeline.inference.stores import feature_settings, read_card
from pipeline.models.folder import load_model, save_model
from pipeline.training.reid import ReIDTraining, runs_of, train_runs


def main(experiment: str, features: Path, work: Path, out: Path) -> None:
    """Train the runs side by side, one a worker; those finished under the same fingerprint are not trained again."""
    settings = params.section(experiment, "reid", ReIDTraining)

    stores = {sequence: path for split, sequence, path in read_card(features, "ground_truth") if split == "train"}
    runs = runs_of(settings, stores, work / "reid") if stores else []
    missing = [one for one in runs if not one.model.exists()]

    if not stores:
        print(f"train_reid: no images to train on, so {sorted(settings.variants)} are left out; associations remain")
    if missing:
        train(
            partial(train_runs, runs=missing, stores=stores, settings=settings),
            what="train_reid",
            total=settings.epochs * len(missing),
            reads=list(stores.values()),
            makes=[one.folder for one in missing],
        )

    with replacing_folder(out) as new:
        for one in runs:
            weights, card = load_model(one.model)
            save_model(new / one.name / f"seed{one.seed}", weights, {**card, "features": feature_settings(features)})


if __name__ == "__main__":
    run(main)
