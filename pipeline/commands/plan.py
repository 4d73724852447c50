"""`finetrack plan`: what experiments need, what of it is missing, and what they will take, before any long work."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from pipeline import params
from pipeline.cluster.session import CLUSTER, Cluster
from pipeline.cluster.session import settings as cluster_settings
from pipeline.commands.estimates import Amounts, Estimate, amounts_of, amounts_of_world, estimates
from pipeline.commands.printing import Printed, to_terminal
from pipeline.data.faults import faults_of_crowds, faults_of_split
from pipeline.data.layout import Data, read_layout
from pipeline.data.supplied import supplied_detections, supplied_embeddings, supplied_weights
from pipeline.entry import seconds_of_stages
from pipeline.evaluation.experiment import Score
from pipeline.inference.embed import Embed
from pipeline.inference.features import Features
from pipeline.inference.sequences import Detect
from pipeline.inference.tracks import refuse_undescribed
from pipeline.models.checkpoint import load_checkpoint
from pipeline.models.yolox import YOLOX
from pipeline.tracking.sequence import Tracking
from pipeline.training.detector import DetectorTraining
from pipeline.training.reid import ReIDTraining
from pipeline.training.worker import refuse_uneven

SECTIONS = {  # of an experiment, and what each means
    "data": Data,
    "detector": DetectorTraining,
    "detect": Detect,
    "features": Features,
    "reid": ReIDTraining,
    "embed": Embed,
    "track": Tracking,
    "score": Score,
}
_MEMINFO = Path("/proc/meminfo")
_OBJECT_STORE = Path("/dev/shm")
_OBJECT_STORE_BYTES = 2**30  # as pipeline.cluster.session asks for


@dataclass(frozen=True)
class Given:
    """What lies elsewhere than in data/<experiment>/, as `make repro` takes it."""

    source: Path | None = None
    detections: Path | None = None
    embeddings: Path | None = None
    weights: Path | None = None


@dataclass
class Findings:
    """What is missing, what is only worth knowing, and the table of stages, of one experiment or of the machine."""

    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stages: list[Estimate] = field(default_factory=list)


def run(
    experiments: list[str],
    source: Path | None,
    detections: Path | None,
    embeddings: Path | None,
    weights: Path | None,
) -> int:
    """Print the plan of each experiment; 1 if anything is missing. Nothing is linked, written or rendered.

    Data is looked for where `make repro` would find it: in `source`, else in data/<experiment>/.

    Raises:
        ValueError: params.yaml cannot be read, or `source` and the like come with several experiments.
    """
    names = experiments or params.experiments()
    given = Given(source, detections, embeddings, weights)
    if given != Given() and len(names) != 1:
        raise ValueError(
            f"EXPERIMENTS: found {names}, expected one for SOURCE, DETECTIONS, EMBEDDINGS or WEIGHTS. Name it."
        )
    every = {"this machine": machine_findings()}
    for name in names:
        every[name] = experiment_findings(name, given)
    written = sum(one.bytes for findings in every.values() for one in findings.stages)
    _check_disk(every["this machine"], written)
    for name, findings in every.items():
        print(_text(name, findings), end="")
    missing = sum(len(findings.missing) for findings in every.values())
    print(f"{missing} missing" if missing else "nothing is missing")
    return 1 if missing else 0


def machine_findings() -> Findings:
    """Whether cluster.yaml's workers find their CPUs and GPUs here, and how much memory is free."""
    result = Findings()
    try:
        cluster = cluster_settings()
    except ValueError as error:
        result.missing.append(str(error))
        return result
    if os.environ.get("RAY_ADDRESS") or cluster.address:
        result.notes.append("cluster.yaml:address: a cluster's CPUs and GPUs are checked when it is joined")
    else:
        result.missing += _missing_devices(cluster)
    gpus = torch.cuda.device_count()
    if gpus and not cluster.gpus_per_worker:
        result.notes.append(f"{gpus} GPUs are there and cluster.yaml:gpus_per_worker is 0: they stay idle")
    if (free := _free_memory()) is not None:
        result.notes.append(f"{free / 1e9:.1f} GB of memory free; `synthetic` takes 2.9 GiB, others are not measured")
    if cluster.workers and _OBJECT_STORE.is_dir() and shutil.disk_usage(_OBJECT_STORE).free < _OBJECT_STORE_BYTES:
        result.notes.append(f"{_OBJECT_STORE}: less than 1 GiB free, so Ray's object store goes to /tmp")
    return result


def experiment_findings(name: str, given: Given) -> Findings:
    """Check an experiment's settings, packages, weights and data, and estimate its stages.

    Raises:
        ValueError: params.yaml cannot be read.
    """
    result = Findings()
    sections = {}
    for section, cls in SECTIONS.items():
        try:
            sections[section] = params.section(name, section, cls)
        except ValueError as error:
            result.missing.append(str(error))
    if "score" in sections and "motmetrics" in sections["score"].evaluators and not _is_installed("motmetrics"):
        result.missing.append("motmetrics: not installed, score.evaluators names it. pip install '.[motmetrics]'")
    if {"track", "embed", "reid"} <= sections.keys() and sections["reid"].variants:
        result.missing += _refusal(refuse_undescribed, sections["track"], sections["embed"].min_score)
    if "detector" in sections and CLUSTER.is_file():
        result.missing += _refusal(_refuse_uneven_step, sections["detector"])
    if "data" not in sections:
        return result
    root = Path("data") / name
    amounts = _check_data(result, sections["data"], given, root)
    if "reid" in sections:
        result.missing += _refusal(_refuse_clash, given.embeddings or root / "embeddings", sections["reid"].variants)
    if "detector" in sections and amounts is not None and amounts.training_images:
        _check_weights(result, sections["detector"], given.weights, root)
    if amounts is not None and {"detector", "features", "reid"} <= sections.keys():
        result.stages = estimates(amounts, sections["detector"], sections["features"], sections["reid"])
        result.stages = list(_with_seconds(result.stages, Path("runs") / name, has_gpu=torch.cuda.is_available()))
    return result


def _check_data(result: Findings, data: Data, given: Given, own: Path) -> Amounts | None:
    """Read the data as `prepare` does; where it refuses, list everything that is wrong."""
    root = given.source or own
    if data.world is not None:
        return amounts_of_world(data)
    try:
        detections = given.detections or supplied_detections(own)
        embeddings = given.embeddings or supplied_embeddings(own)
        if embeddings and not detections:
            raise ValueError(f"{embeddings}: embeddings without detections, expected both. Give DETECTIONS too.")
        layout = read_layout(root, data, detections=detections, embeddings=embeddings)
        result.notes += layout.notes
        return amounts_of(layout, data)
    except ValueError as error:
        found = list(_all_faults(root, data))
        result.missing += found if str(error) in found else [str(error), *found]
        return None


def _all_faults(root: Path, data: Data) -> Iterator[str]:
    for split in data.folders:
        yield from faults_of_split(root, split, data, is_annotated=split == "train")
    yield from faults_of_crowds(root, data.crowds)


def _check_weights(result: Findings, detector: DetectorTraining, weights: Path | None, root: Path) -> None:
    try:
        path = weights or supplied_weights(root)
        if path is None:
            result.notes.append("no weights: the detector starts from random ones (the paper: from COCO)")
        else:
            load_checkpoint(YOLOX.build(detector.size), path, strict=False)
    except ValueError as error:
        result.missing.append(str(error))


def _refuse_clash(embeddings: Path, variants: Collection[str]) -> None:
    names = sorted(path.name for path in embeddings.iterdir() if path.name in variants) if embeddings.is_dir() else []
    if names:
        raise ValueError(f"{embeddings}: {names} are variants of reid too, expected other names. Rename the folders.")


def _refuse_uneven_step(detector: DetectorTraining) -> None:
    refuse_uneven(detector.batch, max(cluster_settings().workers, 1), what="detector.batch")


def _refusal(check: Callable[..., object], *arguments: object) -> list[str]:
    try:
        check(*arguments)
    except ValueError as error:
        return [str(error)]
    return []


def _check_disk(result: Findings, written: int) -> None:
    free = shutil.disk_usage(Path()).free
    line = f"{Path().resolve()}: {free / 1e9:.1f} GB free, the experiments write about {written / 1e9:.1f} GB"
    if free < written:
        result.missing.append(f"{line}. Make room, or run fewer variants.")
    else:
        result.notes.append(line)


def _missing_devices(cluster: Cluster) -> Iterator[str]:
    cpus, gpus = cluster.workers * cluster.cpus_per_worker, cluster.workers * cluster.gpus_per_worker
    for what, wanted, found in (("CPUs", cpus, os.cpu_count() or 1), ("GPUs", gpus, torch.cuda.device_count())):
        if wanted > found:
            yield f"cluster.yaml: its workers ask for {wanted:g} {what}, found {found}. Lower `workers`."


def _with_seconds(stages: list[Estimate], folder: Path, *, has_gpu: bool) -> Iterator[Estimate]:
    """Estimates replaced by what a stage last took here, and the stages that have only that; no formula is for GPUs."""
    noted = seconds_of_stages(folder / "work")
    for one in stages:
        seconds = None if has_gpu else one.seconds
        basis = "last run here" if one.stage in noted else one.basis
        yield Estimate(one.stage, noted.pop(one.stage, seconds), one.bytes, basis)
    for name, seconds in noted.items():
        yield Estimate(name, seconds, 0, "last run here")


def _text(name: str, findings: Findings) -> str:
    lines = [f"missing: {one}" for one in findings.missing] + [f"note: {one}" for one in findings.notes]
    rows = [[one.stage, _duration(one.seconds), f"{one.bytes / 1e9:.1f}", one.basis] for one in findings.stages]
    table = Printed(name, ("stage", "time", "GB", "by"), rows)
    return "\n".join([*([to_terminal([table]).rstrip()] if rows else [name]), *(f"  {line}" for line in lines), ""])


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "not measured"
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _free_memory() -> int | None:
    if not _MEMINFO.is_file():
        return None
    entries = dict(line.split(":", 1) for line in _MEMINFO.read_text(encoding="utf-8").splitlines())
    return int(entries["MemAvailable"].split()[0]) * 1024


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
