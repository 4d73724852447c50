"""Read an experiment's sequences, or render them, and write what they hold as tables.

Reads   data          data/<experiment>/: MOTChallenge folders; beside them detections/ and weights/, where given
Writes  sequences     one row a sequence and split        (tables.SEQUENCES)
        frames        one row an image                    (tables.FRAMES)
        ground_truth  one row an annotated box            (tables.GROUND_TRUTH)
        given         one row a given detection, or none  (tables.DETECTIONS)
        weights       card of the weights to start from
        work          rendered frames of the synthetic world
Params  data
"""

from functools import partial
from pathlib import Path

from pipeline import params, tables
from pipeline.cluster import parallel
from pipeline.data import synthetic
from pipeline.data.layout import Data, read_layout
from pipeline.data.supplied import supplied_detections, supplied_weights, write_weights_card
from pipeline.entry import run
from pipeline.fingerprint import fingerprint
from pipeline.sources import code_digest


def main(
    experiment: str,
    data: Path,
    work: Path,
    sequences: Path,
    frames: Path,
    ground_truth: Path,
    given: Path,
    weights: Path,
) -> None:
    """Check everything an experiment reads before any long work."""
    settings = params.section(experiment, "data", Data)

    root = data
    if settings.world is not None:
        root = work / "frames" / fingerprint(world=settings.world, code=code_digest("pipeline.data.synthetic"))
        folder = root / settings.folders["train"]
        missing = [name for name in synthetic.names(settings.world) if not (folder / name).exists()]
        parallel.map_ordered(partial(synthetic.render_sequence, settings.world, folder=folder), missing, what="render")
    layout = read_layout(root, settings, detections=supplied_detections(data))

    tables.write(layout.sequences, sequences, tables.SEQUENCES)
    tables.write(layout.frames, frames, tables.FRAMES)
    tables.write(layout.ground_truth, ground_truth, tables.GROUND_TRUTH)
    tables.write(layout.given, given, tables.DETECTIONS)
    write_weights_card(supplied_weights(data), weights)


if __name__ == "__main__":
    run(main)
