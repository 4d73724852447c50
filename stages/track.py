"""Link detections into identities, with motion and, where there are embeddings, appearance.

Reads   sequences    one row a sequence and split                          (tables.SEQUENCES)
        detections   one row a box                                         (tables.DETECTIONS)
        embeddings   <variant>/seed<k>/detections.parquet                  (tables.embeddings_schema)
Writes  out          <variant>/seed<k>/<sequence>.txt in MOTChallenge format
        work         finished files under their fingerprints
Params  track, embed.min_score, data.evaluate
"""

import shutil
from functools import partial
from pathlib import Path

from pipeline import params, tables
from pipeline.cluster import parallel
from pipeline.entry import run
from pipeline.folders import replacing_folder
from pipeline.inference.tracks import track_jobs, track_to_file
from pipeline.tracking.sequence import Tracking


def main(experiment: str, sequences: Path, detections: Path, embeddings: Path, work: Path, out: Path) -> None:
    """Track every sequence of every results row on its own, in parallel."""
    settings = params.section(experiment, "track", Tracking)
    min_score = params.section(experiment, "embed.min_score", float)
    evaluate = params.section(experiment, "data.evaluate", tuple[str, ...])

    jobs = track_jobs(
        tables.read(sequences, tables.SEQUENCES),
        detections,
        embeddings,
        evaluate,
        settings=settings,
        min_score=min_score,
        folder=work / "tracks",
    )

    parallel.make_missing(
        partial(track_to_file, settings=settings),
        dict(jobs.values()),
        what="track",
        reads=lambda job: [path for path in (job.detections, job.embeddings) if path],
    )

    with replacing_folder(out) as new:
        for name, (path, _) in jobs.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, new / name)


if __name__ == "__main__":
    run(main)
