"""A sweep away from its repository: what its trials read and the trials that ended, in a storage (pipeline.storage).

A job of `ray job submit` runs in a temporary copy of the repository: nothing of `runs/` comes with it, nothing that it
writes comes back.
"""

import contextlib
import tempfile
import time
from pathlib import Path

from pipeline.storage import Storage
from pipeline.sweeps import study as studies
from pipeline.sweeps.declaration import Sweep, declared
from pipeline.sweeps.material import Files
from pipeline.sweeps.records import Ended, Report
from pipeline.sweeps.trial import Study

_PATIENCE = 10.0  # times as long as it takes to store the trials, they wait before they are stored again
_RETRY_S = 30.0


def outcome(name: str) -> Path:
    """The folder of a sweep's table and page, in the repository and in the storage."""
    return Path("reports/sweeps") / name


def usual_files(experiment: str) -> Files:
    """The files of an experiment where the stages of dvc.yaml make them."""
    runs = Path("runs") / experiment
    return Files(
        sequences=runs / "sequences.parquet",
        ground_truth=runs / "ground_truth.parquet",
        detections=runs / "detections.parquet",
        features=runs / "features.json",
        embeddings=runs / "embeddings",
        work=runs / "work",
    )


def send(name: str, storage: Storage) -> list[Path]:
    """Store all that the trials of a sweep read, and those that are finished here; the paths.

    Raises:
        ValueError: the sweep is refused, its experiment is not finished, or the storage cannot take it.
    """
    sweep, _ = declared(name)
    files = usual_files(sweep.experiment)
    study = studies.prepared(name, files)
    paths = [*_read_by_driver(sweep, files), *studies.reads(study)]
    if study.folder.exists() and not storage.has(study.folder):
        paths.append(study.folder)
    for path in paths:
        storage.put(path)
    return paths


def prepared(name: str, storage: Storage) -> Study:
    """The sweep with its inputs and ended trials from the storage.

    Raises:
        ValueError: the sweep is refused, or its inputs are not in the storage.
    """
    sweep, _ = declared(name)
    files = usual_files(sweep.experiment)
    for path in _read_by_driver(sweep, files):
        storage.get(path)
    study = studies.prepared(name, files)
    for path in studies.reads(study):
        if not path.exists():  # their folders are named for what they hold
            storage.get(path)
    if storage.has(study.folder):
        storage.get(study.folder)
    return study


def kept(name: str, storage: Storage) -> int | None:
    """How many trials of a sweep the storage holds; None without its inputs.

    Raises:
        ValueError: the sweep is refused, or its experiment is not here, by which its trials are named.
    """
    files = usual_files(declared(name)[0].experiment)
    if not storage.has(files.sequences):
        return None
    folder = studies.prepared(name, files).folder
    if not storage.has(folder):
        return 0
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        storage.get(folder)
        return len(list(folder.glob("*.json")))


class Keeper:
    """Stores the trials of a study as they end: a job that is killed loses those that ran, and the last few seconds."""

    def __init__(self, study: Study, storage: Storage) -> None:
        self._study, self._storage, self._next = study, storage, 0.0

    def __call__(self, report: Report) -> None:
        """Keep a trial that is over. A storage that does not answer now will be asked again; `put` insists."""
        studies.settle(self._study, [Ended({}, report)])
        if time.monotonic() < self._next:
            return
        try:
            self.put()
        except ValueError as error:
            self._next = time.monotonic() + _RETRY_S
            print(f"trials are not stored yet: {error}", flush=True)

    def put(self) -> None:
        """Store all trials that are over.

        Raises:
            ValueError: the storage cannot take them.
        """
        started = time.monotonic()
        if self._study.folder.exists():  # unless every trial failed
            self._storage.put(self._study.folder)
        ended = time.monotonic()
        self._next = ended + _PATIENCE * (ended - started)


def _read_by_driver(sweep: Sweep, files: Files) -> list[Path]:
    """What is read once and handed to the trials."""
    described = [] if sweep.is_trained else [files.described(sweep.variant, seed) for seed in sweep.seeds]
    return [files.sequences, files.ground_truth, files.detections, files.features, *described]
