"""Describe every annotated person of the evaluated splits, and every detection, by every trained head.

Reads   reid              <variant>/seed<k>: model folders
        features          card of the feature stores
        given_embeddings  <model>/seed0/detections.parquet, kept as they are        (tables.embeddings_schema)
Writes  out               out/<variant>/seed<k>/{ground_truth,detections}.parquet   (tables.embeddings_schema)
        work              finished tables under their fingerprints
Params  embed, data.evaluate
"""

import shutil
from functools import partial
from pathlib import Path

from pipeline import params
from pipeline.cluster import parallel
from pipeline.data.embeddings import given_files
from pipeline.entry import run
from pipeline.folders import replacing_folder
from pipeline.inference.embed import Embed, embed_stores, embedding_jobs


def main(experiment: str, reid: Path, features: Path, given_embeddings: Path, work: Path, out: Path) -> None:
    """Embed with every model on its own, in parallel."""
    settings = params.section(experiment, "embed", Embed)
    evaluate = params.section(experiment, "data.evaluate", tuple[str, ...])

    jobs = embedding_jobs(reid, features, evaluate, settings, folder=work / "embeddings")
    files = {name: path for name, (path, _) in jobs.items()}
    files |= given_files(given_embeddings, taken={name.split("/")[0] for name in files})

    parallel.make_missing(
        partial(embed_stores, batch=settings.batch),
        dict(jobs.values()),
        what="embed",
        reads=lambda job: [job.model, *(path for _, _, path in job.stores)],
    )

    with replacing_folder(out) as new:
        for name, path in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, new / name)


if __name__ == "__main__":
    run(main)
