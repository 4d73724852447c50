"""Compute once what the frozen detector sees of each target that is trained on, retrieved or tracked.

Reads   detector       model folder
        frames         one row an image           (tables.FRAMES)
        ground_truth   one row an annotated box   (tables.GROUND_TRUTH)
        detections     one row a box              (tables.DETECTIONS)
Writes  out            card that names the feature store of each sequence
        work           the stores themselves      (pipeline.data.store)
Params  features, embed.min_score
"""

from functools import partial
from pathlib import Path

from pipeline import params, tables
from pipeline.cluster import parallel
from pipeline.entry import run
from pipeline.fingerprint import fingerprint
from pipeline.inference.features import Features
from pipeline.inference.sequences import store_features
from pipeline.inference.stores import store_paths, write_card
from pipeline.inference.targets import detection_targets, ground_truth_targets
from pipeline.sources import code_digest
from pipeline.storage import folders_of


def main(
    experiment: str, detector: Path, frames: Path, ground_truth: Path, detections: Path, work: Path, out: Path
) -> None:
    """Fill one store a sequence, in parallel; a store is kept as long as what it was made from."""
    settings = params.section(experiment, "features", Features)
    min_score = params.section(experiment, "embed.min_score", float)

    images = tables.read(frames, tables.FRAMES)
    people = ground_truth_targets(images, tables.read(ground_truth, tables.GROUND_TRUTH))
    found = detection_targets(images, tables.read(detections, tables.DETECTIONS), minimum_score=min_score)
    made_from = {
        "detector": detector,
        "frames": frames,
        "settings": settings,
        "code": code_digest("pipeline.inference.sequences"),
    }
    stores = {
        "ground_truth": store_paths(people, work / "features" / fingerprint(boxes=ground_truth, **made_from)),
        "detections": store_paths(
            found, work / "features" / fingerprint(boxes=detections, minimum=min_score, **made_from)
        ),
    }

    jobs = {path: targets for paths in stores.values() for path, targets in paths.items()}
    parallel.make_missing(
        partial(store_features, detector=detector, settings=settings),
        jobs,
        what="features",
        reads=lambda one: [detector, *folders_of(one.frames.paths)],
    )

    write_card(stores, vars(settings), out)


if __name__ == "__main__":
    run(main)
