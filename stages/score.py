"""Score everything an experiment made: tracks, retrieval, detections.

Reads   sequences, frames, ground_truth   what is true
        detector, detections              model folder; one row a box
        reid, embeddings                  <variant>/seed<k>: model folders; ground_truth.parquet
        tracks                            <variant>/seed<k>/<sequence>.txt
        work                              how long each stage took
Writes  out                               tables of pipeline.evaluation.schemas; pictures/
Params  the whole experiment: provenance records it
"""

import operator
from pathlib import Path

from pipeline import params, tables
from pipeline.cluster import parallel
from pipeline.cluster.session import settings as cluster
from pipeline.entry import run
from pipeline.evaluation import experiment as scoring
from pipeline.evaluation import moments
from pipeline.evaluation.provenance import Provenance
from pipeline.evaluation.schemas import MOMENTS
from pipeline.evaluation.scores import write_scores
from pipeline.evaluation.trackeval import Benchmark
from pipeline.folders import replacing_folder
from pipeline.inference.masks import mask_sheets, write_sheets
from pipeline.reports.clips import write_pictures


def main(
    experiment: str,
    sequences: Path,
    frames: Path,
    ground_truth: Path,
    detector: Path,
    detections: Path,
    reid: Path,
    embeddings: Path,
    tracks: Path,
    work: Path,
    out: Path,
) -> None:
    """Score every variant and seed on its own, in parallel."""
    settings = params.section(experiment, "score", scoring.Score)
    evaluate = params.section(experiment, "data.evaluate", tuple[str, ...])
    benchmark = params.section(experiment, "data.benchmark", Benchmark)
    overrides = params.section(experiment, "track.overrides", bool)

    truth = tables.read(ground_truth, tables.GROUND_TRUTH)
    images = tables.read(frames, tables.FRAMES)
    videos = tables.read(sequences, tables.SEQUENCES)
    found = tables.read(detections, tables.DETECTIONS)

    for name in scoring.left_out(videos, evaluate):
        print(f"{name}: no ground truth, left out")
    prepared = scoring.prepared_ground_truth(videos, truth, evaluate, benchmark)
    jobs = scoring.jobs(prepared, truth, tracks=tracks, embeddings=embeddings, splits=evaluate, settings=settings)
    jobs += moments.jobs(prepared, truth, videos, tracks)
    rows = parallel.map_ordered(operator.call, jobs, what="score", name=scoring.name_of, reads=parallel.paths_of)
    detection = scoring.detection_scores(images, truth, found, evaluate, settings)
    curves = scoring.curves(detector, reid, detection)

    inputs = (sequences, frames, ground_truth, detections)
    detected = scoring.frames_of(images, evaluate)
    provenance = Provenance(experiment, inputs=inputs, work=work, workers=cluster().workers, frames=detected)
    write_scores(out, rows, detection, curves, provenance, overrides=overrides)

    kept = tables.read(out / "moments.parquet", MOMENTS)
    with replacing_folder(out / "pictures") as folder:
        write_sheets(mask_sheets(reid, detector, images, truth, evaluate), folder)
        write_pictures(folder, kept, tracks, frames=images, sequences=videos, ground_truth=truth, splits=evaluate)


if __name__ == "__main__":
    run(main)
