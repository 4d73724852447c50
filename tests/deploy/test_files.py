"""The files for real clusters say what was run of them, and are what their readers take."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from pipeline.cluster.session import Cluster
from pipeline.params import load, parse
from pipeline.sources import code_digest
from pipeline.storage import Storage

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CONTAINERS = sorted(DEPLOY.glob("*.Dockerfile"))
PINNED = dict(re.findall(r"^([\w.-]+)==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))


def tool(name: str, path: Path) -> str:
    """What a checker among the development packages says, nothing if all is well."""
    return subprocess.run([Path(sys.executable).parent / name, path], capture_output=True, text=True, timeout=60).stdout


def rayjob() -> dict:
    return yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())["spec"]


def pods() -> dict[str, dict]:
    """The container of each group of the RayJob, by its name."""
    spec = rayjob()["rayClusterSpec"]
    templates = [spec["headGroupSpec"]["template"], *(one["template"] for one in spec["workerGroupSpecs"])]
    return {one["name"]: one for template in templates for one in template["spec"]["containers"]}


@pytest.mark.parametrize("path", sorted(DEPLOY.iterdir()), ids=lambda path: path.name)
def test_each_file_says_first_what_was_run_and_what_was_not(path):
    first = next(line for line in path.read_text().splitlines() if not line.startswith("#!"))
    assert first.startswith("# ")
    assert "tests/deploy" in first
    assert re.search(r"\b(never|not)\b", first)


def test_the_cluster_file_is_one_that_ray_takes():
    config = prepare_config(yaml.safe_load((DEPLOY / "ray-up.yaml").read_text()))
    validate_config(config)
    assert config["available_node_types"][config["head_node_type"]]["min_workers"] == 2


def test_a_cluster_file_with_an_unknown_field_is_refused():
    config = yaml.safe_load((DEPLOY / "ray-up.yaml").read_text())
    with pytest.raises(Exception, match="workers"):
        validate_config(prepare_config({**config, "workers": 3}))


def test_every_start_of_ray_asks_for_a_token_and_keeps_the_dashboard_at_home():
    config = yaml.safe_load((DEPLOY / "ray-up.yaml").read_text())
    starts = [one for kind in ("head", "worker") for one in config[f"{kind}_start_ray_commands"] if "ray start" in one]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in one for one in starts)
    script = (DEPLOY / "slurm.sh").read_text()
    assert "RAY_AUTH_MODE=token" in script
    assert rayjob()["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    for text in (starts[0], script):
        assert "--dashboard-host=127.0.0.1" in text
    assert not any("0.0.0.0" in path.read_text() for path in DEPLOY.iterdir())


def test_the_script_passes_shellcheck():
    assert tool("shellcheck", DEPLOY / "slurm.sh") == ""


def test_commands_of_the_cluster_file_are_shell():
    config = yaml.safe_load((DEPLOY / "ray-up.yaml").read_text())
    for name in ("setup_commands", "head_start_ray_commands", "worker_start_ray_commands"):
        for command in config[name]:
            subprocess.run(["bash", "-n", "-c", command], check=True)


def test_the_job_is_a_rayjob_of_the_pinned_ray():
    manifest = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayJob")
    assert manifest["spec"]["rayClusterSpec"]["rayVersion"] == PINNED["ray"]
    # the fields of KubeRay's RayJobSpec that are used, spelt as its reference has them
    assert set(manifest["spec"]) == {
        "entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec"
    }  # fmt: skip


def test_the_jobs_pods_ask_for_what_they_may_take_and_run_without_rights():
    for one in pods().values():
        assert one["resources"]["requests"] == one["resources"]["limits"]
        assert one["securityContext"] == {"runAsNonRoot": True, "allowPrivilegeEscalation": False}
        assert not any("KEY" in str(variable) for variable in one.get("env", []))
    assert pods()["ray-worker"]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_the_jobs_entrypoint_is_a_command_that_is_there():
    command = shlex.split(rayjob()["entrypoint"])
    assert command[:2] == ["python", "-m"]
    told = subprocess.run([sys.executable, *command[1:3], "--help"], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0
    options = dict(zip(command[3::2], command[4::2], strict=True))
    assert set(options) == set(re.findall(r"--[a-z][\w-]*(?= [A-Z])", told.stdout))
    assert options["--sweep"] in load(ROOT / "params.yaml")["sweeps"]
    Storage(options["--storage"])  # an address of a kind that there is


@pytest.mark.parametrize("path", CONTAINERS, ids=lambda path: path.name)
def test_a_container_file_passes_hadolint(path):
    assert tool("hadolint", path) == ""


@pytest.mark.parametrize("path", CONTAINERS, ids=lambda path: path.name)
def test_a_container_installs_what_is_pinned_from_wherever_its_builder_says(path):
    text = path.read_text()
    assert "pip install . -c constraints.txt" in text
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", text)
    users = re.findall(r"^USER (\S+)$", text, re.MULTILINE)
    assert users == ["1000"]


def test_the_containers_differ_in_torch_and_the_driver_only():
    gpu, cpu = ((DEPLOY / f"{kind}.Dockerfile").read_text().splitlines() for kind in ("gpu", "cpu"))
    only = {line for line in {*gpu} ^ {*cpu} if not line.startswith("#")}
    assert all(re.match(r"ARG PIP_EXTRA_INDEX_URL|ENV |\s+OMP_NUM_THREADS", line) for line in only), only


@pytest.mark.slow
@pytest.mark.parametrize("path", CONTAINERS, ids=lambda path: path.name)
def test_what_a_container_copies_is_a_package_that_runs(path, tmp_path):
    """The files of its COPY lines alone make the package, and that runs beside params.yaml without the repository."""
    source, work, site = (tmp_path / name for name in ("source", "work", "site"))
    _copy(path, {"/source": source, "/finetrack": work})
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", site]
    subprocess.run([*pip, "."], cwd=source, check=True, timeout=300)
    command = [
        sys.executable,
        "-c",
        "import pipeline.sources as s; print(s.ROOT); print(s.code_digest('stages.sweep'))",
    ]
    given = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"}
    told = subprocess.run(command, cwd=work, env=given, check=True, capture_output=True, text=True, timeout=60).stdout
    assert told.split() == [str(site), code_digest("stages.sweep")]  # trials of the image are those of this tree
    assert parse(yaml.safe_load((work / "cluster.yaml").read_text()), Cluster, where="cluster.yaml")


def _copy(path: Path, places: dict[str, Path]) -> None:
    """What the COPY lines of a container file do, below the places of its WORKDIRs."""
    here = Path()
    for line in path.read_text().splitlines():
        if line.startswith("WORKDIR "):
            here = places[line.split()[1]]
            here.mkdir(exist_ok=True)
        if line.startswith("COPY "):
            *names, target = [one for one in line.split()[1:] if not one.startswith("--")]
            for name in names:
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, here / target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / name, here)
