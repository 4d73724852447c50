"""A sweep over time: what is finished is kept in a file a trial, what is missing is tried."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from pipeline import params
from pipeline.evaluation.trackeval import Benchmark
from pipeline.fingerprint import fingerprint
from pipeline.sources import code_digest
from pipeline.sweeps.declaration import declared
from pipeline.sweeps.material import Files, gather
from pipeline.sweeps.records import Ended, Record, Report, Status, report
from pipeline.sweeps.settings import overridden
from pipeline.sweeps.space import Configuration
from pipeline.sweeps.trial import Outcome, Study, run_trial
from pipeline.tables import write_text


def prepared(name: str, files: Files) -> Study:
    """The sweep `name` of params.yaml, with all that its trials share; everything is checked here.

    Raises:
        ValueError: the declaration is refused (sweeps.declaration), or a file of the experiment is missing.
    """
    sweep, experiment = declared(name)
    benchmark = params.section(sweep.experiment, "data.benchmark", Benchmark)
    described = {} if sweep.is_trained else {seed: files.described(sweep.variant, seed) for seed in sweep.seeds}
    material = gather(files, sweep.split, benchmark, described=described)
    if sweep.is_trained and not material.training:
        raise ValueError(f"{files.features}: no stored people to train on, expected some. Search track.* only.")
    key = fingerprint(
        files=[files.features, files.sequences, files.ground_truth, files.detections, *described.values()],
        made=[sweep.split, sweep.scheduler, sorted(sweep.space), sweep.is_tracked],
        suggested=[sweep.space, sweep.objectives, sweep.seed] if sweep.searcher == "tpe" else None,
        code=code_digest("pipeline.sweeps.trial"),
    )
    return Study(sweep, experiment, material, files.work / "sweeps" / key)


def reads(study: Study) -> list[Path]:
    """The feature stores, which each trial maps into memory; what else it needs comes with the study."""
    material = study.material
    stored = [*material.training.values(), *(path for _, _, path in (*material.people, *material.boxes))]
    return list(dict.fromkeys(stored)) if study.sweep.is_trained else []


def evaluate(asked: Configuration, tell: Callable[[Report], None], *, study: Study) -> Report:
    """Try a configuration with every seed and report; seeds that are kept are read, not tried again.

    Under a scheduler each epoch is told, as if the trial were stopped there. What a stage refuses is kept as failed,
    because it would come again; any other error fails this trial too, and the next run tries it again.
    """
    return report(study.sweep.objectives, [_tried(study, asked, seed, tell) for seed in study.sweep.seeds])


def configurations(study: Study) -> list[Configuration]:
    """All configurations so far, none twice: the known ones in their order, then what was suggested, as it ended."""
    known = study.sweep.configurations()
    if study.sweep.searcher == "tpe":
        paths = sorted(study.folder.glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
        asked = [_read(path).asked for path in paths]
        known += [one for one in asked if one and len(kept(study, one)) == len(study.sweep.seeds)]
    first: dict[str, Configuration] = {}
    for one in known:
        first.setdefault(_key(study, one), one)
    return list(first.values())


def missing(study: Study) -> list[Configuration]:
    """Those of the configurations of which a seed is not kept."""
    return [one for one in configurations(study) if len(kept(study, one)) < len(study.sweep.seeds)]


def suggestions_left(study: Study) -> int:
    """How many more configurations are to be suggested."""
    return (study.sweep.trials or 0) + 1 - len(configurations(study)) if study.sweep.searcher == "tpe" else 0


def scored(study: Study) -> list[tuple[Configuration, list[float]]]:
    """What a searcher may learn from: kept trials inside the space, as they ran, with means of their objectives."""
    found = []
    for asked in configurations(study):
        records = kept(study, asked)
        if records and all(one.status == "finished" for one in records):
            ran, told = records[0].parameters, report(study.sweep.objectives, records)
            if all(one.contains(ran[name]) for name, one in study.sweep.dimensions.items()):
                found.append((ran, [told[name] for name in study.sweep.objectives]))
    return found


def kept(study: Study, asked: Configuration) -> list[Record]:
    """The records of a configuration, in the order of the seeds; fewer where some are missing."""
    paths = [_path(study, asked, seed) for seed in study.sweep.seeds]
    return [_read(path) for path in paths if path.exists()]


def settle(study: Study, ended: Sequence[Ended]) -> list[Record]:
    """Keep trials that their scheduler stopped, or that finished on another disk.

    Gives the records of failures that are not kept, to be tried again.
    """
    lost = []
    for one in ended:
        for record in one.records:
            if _path(study, record.asked, record.seed).exists():
                continue
            if record.status == "failed":
                lost.append(record)
            else:
                _keep(study, record)
        if one.error:
            done = {record.seed for record in kept(study, one.asked)}
            text = f"its process died: {one.error}"
            lost += [Record(one.asked, seed, "failed", text) for seed in study.sweep.seeds if seed not in done]
    return lost


def _tried(study: Study, asked: Configuration, seed: int, tell: Callable[[Report], None]) -> Record:
    path, started = _path(study, asked, seed), time.monotonic()
    if path.exists():
        return _read(path)

    def record(outcome: Outcome, status: Status) -> Record:
        return Record(asked, seed, status, "", round(time.monotonic() - started, 2), **vars(outcome))

    def after_epoch(outcome: Outcome) -> None:
        tell(report(study.sweep.objectives, [record(outcome, "stopped")]))

    watched = after_epoch if study.sweep.scheduler == "asha" else None
    try:
        found = record(run_trial(study, asked, seed, watched), "finished")
    except Exception as error:  # whatever it is, it is this trial's: it stands in its row
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        text = " ".join(f"{kind}{error}".split())
        found = Record(asked, seed, "failed", text, round(time.monotonic() - started, 2), parameters=asked)
        if kind:
            return found
    _keep(study, found)
    return found


def _keep(study: Study, record: Record) -> None:
    write_text(json.dumps(asdict(record), indent=2) + "\n", _path(study, record.asked, record.seed))


def _read(path: Path) -> Record:
    return Record(**json.loads(path.read_text(encoding="utf-8")))


def _path(study: Study, asked: Configuration, seed: int) -> Path:
    return study.folder / f"{_key(study, asked)}-{seed}.json"


def _key(study: Study, asked: Configuration) -> str:
    return fingerprint(settings=overridden(study.experiment, study.sweep.variant, asked), variant=study.sweep.variant)
