"""`ray job submit` on a cluster with a token: stopped and submitted again, it ends with the trials of `dvc repro`."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import small
import swept

from pipeline.sources import ROOT

OUT = Path("reports/sweeps/association")
BIN = Path(sys.executable).parent


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def token() -> dict[str, str]:
    """The environment in which Ray wants a token, and has one."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.fixture(scope="module")
def dashboard(token) -> Iterator[str]:
    """The address to which jobs are submitted: a head node of its own, two CPUs, all on loopback."""
    port, page, client, agent = free_ports(4)
    folder = tempfile.mkdtemp(prefix="head-")  # short: a socket's path has 107 characters at most
    options = {"port": port, "dashboard-port": page, "ray-client-server-port": client, "num-cpus": 2}
    options |= {"dashboard-agent-listen-port": agent, "temp-dir": folder, "object-store-memory": 10**8}
    options |= {"node-ip-address": "127.0.0.1", "dashboard-host": "127.0.0.1"}
    given = [f"--{name}={value}" for name, value in options.items()]
    log = Path(folder) / "start.log"
    with log.open("w") as file:
        head = subprocess.Popen([BIN / "ray", "start", "--head", "--block", *given], stdout=file, stderr=file,
                                env={**small.environment(ROOT), **token}, start_new_session=True)  # fmt: skip
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                socket.create_connection(("127.0.0.1", page), timeout=1).close()
                break
            except OSError:
                assert head.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.5)
        yield f"http://127.0.0.1:{page}"
    finally:
        os.killpg(head.pid, signal.SIGTERM)
        head.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(tmp_path) -> Path:
    """A repository of Git and DVC in which the experiment `tiny` was run."""
    home = tmp_path / "home"
    small.copy_of_repository(home, {"experiments": ["tiny"]})
    shutil.copytree(ROOT / "sweeps", home / "sweeps")
    swept.make(home)
    return home


def call(home: Path, *command: str | Path, **environment: str) -> str:
    """What a command in the repository prints; it must succeed."""
    env = {**small.environment(home), **environment}
    done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def submitted(home: Path, *command: str | Path, **environment: str) -> None:
    """Submit a job, again while the head's agent, which takes jobs, is not up yet."""
    env = {**small.environment(home), **environment}
    deadline = time.monotonic() + 180
    while (done := subprocess.run(command, cwd=home, env=env, capture_output=True, text=True)).returncode:
        assert "No available agent" in (said := done.stdout + done.stderr), said
        assert time.monotonic() < deadline, said
        time.sleep(1)


def rows(home: Path) -> list[dict]:
    return pq.read_table(home / OUT / "trials.parquet").drop_columns(["seconds"]).to_pylist()


def kept(shared: Path) -> int:
    """Trials in the storage, 0 before there are any."""
    return max((len(list(one.glob("*.json"))) for one in shared.glob("runs/tiny/work/sweeps/*/.*")), default=0)


@pytest.mark.slow
def test_a_job_that_is_stopped_and_submitted_again_ends_with_the_trials_of_dvc(
    dashboard, token, home, tmp_path, monkeypatch
):
    monkeypatch.chdir(home)
    swept.change("association", trials=60)
    swept.cluster(home, workers=2)
    shared = tmp_path / "shared"
    shared.mkdir()
    finetrack = [sys.executable, "-m", "pipeline.cli"]
    submit = [BIN / "ray", "job", "submit", "--address", dashboard, "--working-dir", "."]
    sweep = ["--", "python", "-m", "stages.sweep_job", "--sweep", "association", "--storage", str(shared)]

    call(home, *finetrack, "send", "association", "--to", str(shared))
    submitted(home, *submit, "--no-wait", "--submission-id", "first", *sweep, **token)
    deadline = time.monotonic() + 300
    while kept(shared) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    call(home, BIN / "ray", "job", "stop", "--address", dashboard, "first", **token)
    assert 5 <= kept(shared) < 61
    assert not (shared / OUT).exists()

    told = call(home, *submit, *sweep, **token)
    assert f"finetrack collect '{shared}' --into {OUT}" in told
    assert not (home / OUT).exists()

    assert f"{OUT}: 61 trials" in call(home, *finetrack, "collect", str(shared), "--into", str(OUT))
    collected = rows(home)

    target = "sweeps/dvc.yaml:sweep@association"
    dvc = [sys.executable, "-m", "dvc"]
    call(home, *dvc, "commit", "--force", target)
    assert "up to date" in call(home, *dvc, "status", target)
    call(home, *dvc, "repro", "--single-item", "--force", target)
    assert rows(home) == collected


@pytest.mark.slow
def test_who_has_no_token_submits_nothing(dashboard, home):
    command = [BIN / "ray", "job", "submit", "--address", dashboard, "--", "python", "--version"]
    env = {**small.environment(home), "RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": ""}
    done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "401" in done.stdout + done.stderr or "auth" in (done.stdout + done.stderr).lower()
