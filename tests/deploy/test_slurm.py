"""The SLURM script, with stand-ins for SLURM's commands: two nodes of Ray on this machine, a stage over both."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
import small
import swept
from test_job import free_ports

from pipeline.sources import ROOT

# Runs a step here: leaves srun's own options out, and gives two nodes on one machine ports and a CPU each.
SRUN = """#!/usr/bin/env bash
echo "srun $*" >> "$CALLS"
while [[ $1 == --* ]]; do shift; done
case "$*" in
    "hostname --ip-address") echo 127.0.0.1 10.255.255.1 ;;
    *--head*) exec "$@" --num-cpus=1 --object-store-memory=100000000 --temp-dir="$RAY_FOLDER" \\
        --dashboard-port="$PAGE" --ray-client-server-port="$CLIENT" --dashboard-agent-listen-port="$AGENT1" ;;
    *) exec "$@" --num-cpus=1 --object-store-memory=100000000 --dashboard-agent-listen-port="$AGENT2" ;;
esac
"""
SCONTROL = """#!/usr/bin/env bash
[[ $* == "show hostnames node[1-2]" ]] && printf 'node1\\nnode2\\n'
"""


@pytest.fixture
def job(tmp_path):
    """The environment that sbatch gives the script, and a folder for Ray that is removed afterwards."""
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    home = small.copy_of_repository(tmp_path / "home", {"experiments": ["tiny"]})
    folder = tempfile.mkdtemp(prefix="slurm-")
    page, client, one, two = map(str, free_ports(4))
    given = {"PAGE": page, "CLIENT": client, "AGENT1": one, "AGENT2": two, "RAY_FOLDER": folder}
    given |= {"CALLS": str(tmp_path / "calls"), "SLURM_SUBMIT_DIR": str(home), "SLURM_JOB_NODELIST": "node[1-2]"}
    env = small.environment(home) | given | {"SLURM_JOB_ID": str(os.getpid())}
    env.pop("RAY_AUTH_MODE", None)
    yield {**env, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{env['PATH']}"}
    shutil.rmtree(folder, ignore_errors=True)


def script(job: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "deploy/slurm.sh", *command], env=job, capture_output=True, text=True, timeout=500)


@pytest.mark.slow
def test_a_stage_runs_over_all_nodes_and_nothing_stays(job):
    home = Path(job["SLURM_SUBMIT_DIR"])
    shutil.copytree(ROOT / "sweeps", home / "sweeps")
    swept.make(home)
    swept.cluster(home, workers=2)  # one node alone is refused

    done = script(job, "bash", "-c", "dvc repro --single-item sweeps/dvc.yaml:sweep@association && exit 7")
    assert done.returncode == 7, done.stdout + done.stderr  # the command's own
    assert "Ray: 2 nodes" in done.stdout
    assert pq.read_table(home / "reports/sweeps/association/trials.parquet").num_rows == 5

    calls = Path(job["CALLS"]).read_text().splitlines()
    assert sorted(line.split("--nodelist=")[1].split()[0] for line in calls) == ["node1", "node1", "node2"]
    assert all("--nodes=1 --ntasks=1" in line for line in calls)
    left = [one for one in psutil.process_iter(["cmdline"]) if job["RAY_FOLDER"] in " ".join(one.info["cmdline"] or [])]
    _, alive = psutil.wait_procs(left, timeout=30)
    assert alive == []


def test_the_script_says_how_it_is_started(job):
    del job["SLURM_SUBMIT_DIR"]
    done = script(job)
    assert done.returncode != 0
    assert "expected to be started by sbatch. Use sbatch deploy/slurm.sh" in done.stderr
