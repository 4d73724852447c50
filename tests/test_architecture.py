"""Layers, doors and DAG are as ARCHITECTURE.md says."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from pipeline.params import experiments
from pipeline.sources import ROOT, reach

MODULES = sorted((ROOT / "pipeline").rglob("*.py")) + sorted((ROOT / "stages").glob("*.py"))
SWEEP = yaml.safe_load((ROOT / "sweeps/dvc.yaml").read_text())["stages"]["sweep"]["do"]
STAGES = {**yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"], "sweep": SWEEP}

BASE = {"params", "tables", "boxes", "fingerprint", "sources", "progress", "entry", "folders", "storage", "versions"}
BELOW = {
    "world": set(),
    "data": {"world"},
    "models": set(),
    "losses": set(),
    "tracking": set(),
    "training": {"data", "models", "losses", "tracking"},
    "inference": {"data", "models", "losses", "tracking"},
    "evaluation": {"data", "models", "losses", "tracking", "inference"},
    "sweeps": {"data", "models", "losses", "tracking", "training", "inference", "evaluation"},
    "cluster": {"data", "models", "losses", "tracking", "training", "inference", "evaluation", "sweeps"},
    "reports": {"data", "models", "losses", "tracking", "training", "inference", "evaluation", "sweeps"},
}
DOORS = {
    "ray": {"pipeline/cluster"},
    "trackeval": {"pipeline/evaluation/trackeval.py"},
    "motmetrics": {"pipeline/evaluation/motmetrics.py"},
    "pycocotools": {"pipeline/evaluation/detection.py"},
    "dvc": {"pipeline/reports/revisions.py"},
    "lap": {"pipeline/tracking/matching.py"},
    "optuna": {"pipeline/sweeps/optimizer.py"},
}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def package(path: Path) -> str:
    parts = path.relative_to(ROOT / "pipeline").parts
    return parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", [p for p in MODULES if "pipeline" in p.parts], ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_only_what_lies_below_it(path):
    own = package(path)
    allowed = BASE | BELOW.get(own, set()) | {own} if own in BELOW or own in BASE else None
    if allowed is None:
        return  # the command line and the choosers stand above everything
    used = {name.split(".")[1] for name in imported(path) if name.startswith("pipeline.")}
    assert used <= allowed


@pytest.mark.parametrize(("framework", "doors"), DOORS.items())
def test_a_framework_has_one_door(framework, doors):
    using = [path for path in MODULES if any(name.split(".")[0] == framework for name in imported(path))]
    users = {str(path.relative_to(ROOT)) for path in using}
    assert users, f"nothing imports {framework}: remove it from DOORS"
    assert {user for user in users if not any(user.startswith(door) for door in doors)} == set()


def test_tracking_computes_without_torch():
    for path in reach("pipeline.tracking.sequence"):
        assert not any(name.split(".")[0] == "torch" for name in imported(path)), path


def test_packages_hold_docstrings_only():
    for path in MODULES:
        if path.name == "__init__.py":
            body = ast.parse(path.read_text()).body
            assert len(body) == 1, path


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_exactly_the_code_that_it_reaches(stage):
    declared = {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")}
    reached = {str(path.relative_to(ROOT)) for path in reach(f"stages.{stage}")}
    assert declared == reached


@pytest.mark.parametrize("stage", STAGES)
def test_every_path_of_a_command_is_declared(stage):
    outs = [next(iter(out)) for out in STAGES[stage]["outs"]]
    outs += [next(iter(out)) for out in STAGES[stage].get("metrics", [])]
    declared = {*STAGES[stage]["deps"], *outs, "runs/${item.experiment}/work"}
    used = re.findall(r"(?<=\s)(?:runs|data|reports)\S*", STAGES[stage]["cmd"])
    assert [path for path in used if path not in declared and not any(one.startswith(path) for one in declared)] == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_only_the_parameters_that_it_declares(stage):
    source = (ROOT / "stages" / f"{stage}.py").read_text()
    read = set(re.findall(r'params\.section\(\s*experiment, "([\w.]+)"', source))
    declared = {name.split("}", 1)[1].lstrip(".") for name in STAGES[stage].get("params", []) if "}" in name}
    assert all("" in declared or name in declared for name in read)
    assert "" in declared or declared == read


@pytest.mark.parametrize("stage", STAGES)
def test_earlier_outputs_stay_until_they_are_replaced(stage):
    assert all(out[next(iter(out))]["persist"] for out in STAGES[stage]["outs"])


def test_stages_hold_no_logic():
    for path in (ROOT / "stages").glob("*.py"):
        loops = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, (ast.While, ast.ClassDef))]
        assert loops == [], path
        assert len(path.read_text().splitlines()) <= 80, path


def test_functions_are_short_and_files_are_one_noun():
    for path in MODULES:
        assert len(path.read_text().splitlines()) <= 400, path


def test_the_shipped_parameters_run_the_embedded_experiment():
    assert experiments(ROOT / "params.yaml") == ["synthetic"]
