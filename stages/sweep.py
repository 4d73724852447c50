"""Try many settings of an experiment, from its stored features and embeddings on.

Reads   sequences, ground_truth, detections   tables                                       (pipeline.tables)
        features                              card of the feature stores
        embeddings                            <variant>/seed<k>/detections.parquet
Writes  out                                   trials.parquet, index.html
        kept                                  finished trials, and Re-ID runs as stage train_reid keeps them
Params  sweeps.<sweep>, the whole experiment
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from pipeline import tables
from pipeline.cluster import tune
from pipeline.entry import run
from pipeline.folders import replacing_folder
from pipeline.reports.sweep import write_page
from pipeline.sweeps import study as studies
from pipeline.sweeps.material import Files
from pipeline.sweeps.records import Ended, Report
from pipeline.sweeps.results import trials
from pipeline.sweeps.trial import Study


def main(
    sweep: str,
    sequences: Path,
    ground_truth: Path,
    detections: Path,
    features: Path,
    embeddings: Path,
    kept: Path,
    out: Path,
) -> None:
    """Try what is missing, and write all."""
    study = studies.prepared(sweep, Files(sequences, ground_truth, detections, features, embeddings, kept))
    finish(sweep, study, out, ended=lambda told: studies.settle(study, [Ended({}, told)]))


def finish(
    name: str, study: Study, out: Path, *, ended: Callable[[Report], object], storage: str | None = None
) -> None:
    """Try what is missing, first what is known beforehand, then what a searcher suggests; write table and page.

    `ended` hears each trial's end, `storage` is where nodes take what trials read if not that of cluster.yaml.
    """
    search = tune.Search(
        partial(studies.evaluate, study=study),
        study.sweep,
        study.epochs,
        what=f"sweep {name}",
        ended=ended,
        reads=studies.reads(study),
        storage=storage,
    )
    lost = studies.settle(study, tune.try_all(search, studies.missing(study)))
    left = studies.suggestions_left(study)
    lost += studies.settle(study, tune.try_suggested(search, studies.scored(study), left))

    found = trials(name, study, lost)
    with replacing_folder(out) as new:
        tables.write(found, new / "trials.parquet", found.schema)
        write_page(found, study.sweep, new)


if __name__ == "__main__":
    run(main)
