"""Find people in every frame that is to be tracked.

Reads   detector   model folder
        frames     one row an image                                          (tables.FRAMES)
        given      detections that came with the data, kept as they are      (tables.DETECTIONS)
Writes  out        one row a box                                             (tables.DETECTIONS)
        work       finished sequences
Params  detect, data.evaluate
"""

from functools import partial
from pathlib import Path

from pipeline import params, tables
from pipeline.cluster import parallel
from pipeline.entry import run
from pipeline.fingerprint import fingerprint
from pipeline.inference.sequences import Detect, detect_sequence
from pipeline.inference.targets import sequences_of
from pipeline.sources import code_digest
from pipeline.storage import folders_of


def main(experiment: str, detector: Path, frames: Path, given: Path, work: Path, out: Path) -> None:
    """Detect in every sequence on its own, in parallel, unless detections are given."""
    settings = params.section(experiment, "detect", Detect)
    evaluate = params.section(experiment, "data.evaluate", tuple[str, ...])

    supplied = tables.read(given, tables.DETECTIONS)
    images = sequences_of(tables.read(frames, tables.FRAMES)) if supplied.num_rows == 0 else []
    key = fingerprint(
        detector=detector, frames=frames, settings=settings, code=code_digest("pipeline.inference.sequences")
    )
    jobs = {
        work / "detections" / key / f"{one.split}-{one.sequence}.parquet": one
        for one in images
        if one.split in evaluate
    }

    parallel.make_missing(
        partial(detect_sequence, detector=detector, settings=settings),
        jobs,
        what="detect",
        reads=lambda one: [detector, *folders_of(one.paths)],
    )

    found = [tables.read(path, tables.DETECTIONS) for path in jobs]
    tables.write(tables.concat([supplied, *found], tables.DETECTIONS), out, tables.DETECTIONS)


if __name__ == "__main__":
    run(main)
