"""Read an experiment's sequences, or render them, and write what they hold as tables.

Reads   data              data/<experiment>/: sequences; beside them detections/, embeddings/ and weights/, where given
Writes  sequences         one row a sequence and split        (tables.SEQUENCES)
        frames            one row an image                    (tables.FRAMES)
        ground_truth      one row an annotated box            (tables.GROUND_TRUTH)
        given             one row a given detection, or none  (tables.DETECTIONS)
        given_embeddings  <model>/seed0/detections.parquet    (tables.embeddings_schema)
        weights           card of the weights to start from
        work              rendered frames of the synthetic world, extracted frames of videos
Params  data
"""

from functools import partial
from pathlib import Path

from pipeline import params, tables
from pipeline.cluster import parallel
from pipeline.data import synthetic
from pipeline.data.layout import Data, read_layout, videos_of
from pipeline.data.supplied import supplied_detections, supplied_embeddings, supplied_weights, write_weights_card
from pipeline.data.video import extract_frames
from pipeline.entry import run
from pipeline.fingerprint import fingerprint
from pipeline.folders import replacing_folder
from pipeline.sources import code_digest


def main(
    experiment: str,
    data: Path,
    work: Path,
    sequences: Path,
    frames: Path,
    ground_truth: Path,
    given: Path,
    given_embeddings: Path,
    weights: Path,
) -> None:
    """Check everything an experiment reads before any long work."""
    settings = params.section(experiment, "data", Data)

    root = data
    if settings.world is not None:
        root = work / "frames" / fingerprint(world=settings.world, code=code_digest("pipeline.data.synthetic"))
        folder = root / str(settings.folders["train"])
        missing = [name for name in synthetic.names(settings.world) if not (folder / name).exists()]
        render = partial(synthetic.render_sequence, settings.world, folder=folder)
        parallel.map_ordered(render, missing, what="render", makes=lambda name: [folder / name])
    code = code_digest("pipeline.data.video")
    films = {
        film: work / "frames" / fingerprint(video=film, code=code) / film.stem for film in videos_of(root, settings)
    }
    missing_films = {folder: film for film, folder in films.items()}
    parallel.make_missing(extract_frames, missing_films, what="extract", reads=lambda film: [film])
    layout = read_layout(
        root, settings, detections=supplied_detections(data), embeddings=supplied_embeddings(data), videos=films
    )

    for note in layout.notes:
        print(note)
    tables.write(layout.sequences, sequences, tables.SEQUENCES)
    tables.write(layout.frames, frames, tables.FRAMES)
    tables.write(layout.ground_truth, ground_truth, tables.GROUND_TRUTH)
    tables.write(layout.given, given, tables.DETECTIONS)
    with replacing_folder(given_embeddings) as new:
        for name, rows in layout.embeddings.items():
            tables.write(rows, new / name / "seed0" / "detections.parquet", rows.schema)
    write_weights_card(supplied_weights(data), weights)


if __name__ == "__main__":
    run(main)
