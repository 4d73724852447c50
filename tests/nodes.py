"""A Ray cluster of several nodes on this machine that share nothing but a network and, if asked, a storage folder.

Every node but the driver's is a namespace of its own: it sees neither the driver's folder nor this
project's code nor the head's files, and ends with all its processes at once, as a machine that loses power.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from pipeline.sources import ROOT

# A dead node, which refuses connections, is noticed in two seconds instead of half a minute; a slow one is not dead.
_ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "20000",
    "RAY_health_check_failure_threshold": "4",
    # On a busy machine a node's agents need longer to start than it would wait for them.
    "RAY_agent_register_timeout_ms": "180000",
    "OMP_NUM_THREADS": "1",
}
_RAY = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--disable-usage-stats"]
_PORTS = ["--min-worker-port=0", "--max-worker-port=0"]
_HIDDEN = [ROOT / "pipeline", ROOT / "stages", ROOT / "data", ROOT / "runs"]


@dataclass
class Nodes:
    """The cluster, with the driver on its head; `storage` is all that the other nodes see of its disk."""

    base: Path
    address: str
    processes: list[subprocess.Popen] = field(default_factory=list)

    def folder(self, name: str) -> Path:
        """A place for a repository of the driver; other nodes find nothing there."""
        return self.base / "head" / name

    @property
    def storage(self) -> Path:
        """The only folder that all nodes see."""
        return self.base / "storage"

    @property
    def environment(self) -> dict[str, str]:
        """What the environment of commands that join the cluster holds besides."""
        return {**_ENVIRONMENT, "RAY_ADDRESS": self.address, "TMPDIR": f"{self.base}/head/tmp"}

    def add(self, *, cpus: int = 2, read_only: bool = False) -> subprocess.Popen:
        """A node, from now on; all of it dies with the process. It may only read the storage, if asked."""
        own = self.base / "head"
        hide = "".join(f"mount -t tmpfs none {path}; " for path in [own, *_HIDDEN] if path.exists())
        if read_only:
            hide += f"mount --bind {self.storage} {self.storage}; mount -o remount,ro,bind {self.storage}; "
        number = len(self.processes) + 1
        start = [*_RAY, *_PORTS, f"--address={self.address}", f"--num-cpus={cpus}", "--object-store-memory=200000000"]
        start += [f"--node-ip-address=127.0.0.{number}"]
        script = f"set -e; {hide} mkdir -p {own}/tmp {own}/ray; cd {own}; exec {' '.join(start)}"
        alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "sh", "-c", script]
        environment = {**os.environ, **_ENVIRONMENT, "TMPDIR": f"{own}/tmp"}
        for name in ("PYTHONPATH", "RAY_ADDRESS"):
            environment.pop(name, None)
        return self._start(alone, environment)

    def start_head(self, port: int, cpus: int) -> None:
        """The node of the driver."""
        start = [*_RAY, *_PORTS, "--head", f"--port={port}", f"--num-cpus={cpus}", "--include-dashboard=false"]
        start += ["--node-ip-address=127.0.0.1", f"--temp-dir={self.base}/head/ray", "--object-store-memory=200000000"]
        self._start([*start, f"--ray-client-server-port={_free_port()}"], {**os.environ, **_ENVIRONMENT})

    def wait(self, nodes: int, seconds: float = 180) -> None:
        """Until so many nodes that take work are there, and no other."""
        look = (
            f"import ray; ray.init('{self.address}', log_to_driver=False, logging_level='ERROR'); "
            "print(sum(one['Alive'] and one['Resources'].get('CPU', 0) > 0 for one in ray.nodes()))"
        )
        deadline = time.monotonic() + seconds
        while True:
            asked = [sys.executable, "-c", look]
            done = subprocess.run(
                asked, env={**os.environ, **self.environment}, capture_output=True, text=True, cwd=self.base
            )
            if done.stdout.strip().endswith(str(nodes)):
                return
            told = done.stdout[-500:] + done.stderr[-1500:] + self.logs()
            assert self.processes[0].poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(0.5)

    def logs(self) -> str:
        """What the nodes printed."""
        return "\n".join(path.read_text()[-2000:] for path in sorted(self.base.glob("node-*.log")))

    def _start(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen:
        with (self.base / f"node-{len(self.processes)}.log").open("w") as log:
            process = subprocess.Popen(
                command, env=environment, cwd=self.base, stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(process)
        return process


def kill(process: subprocess.Popen) -> None:
    """End a node with all its processes, at once."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    for one in [process, *family]:
        try:
            one.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    process.wait(30)
    psutil.wait_procs(family, 30)


@contextmanager
def cluster(*, head_cpus: int = 0) -> Iterator[Nodes]:
    """A head, which holds no work unless it gets CPUs, and no other node yet; nothing of it stays.

    Skips where namespaces are not allowed.
    """
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True).returncode:
        pytest.skip("unshare is not allowed here: nodes would share their disk")
    base = Path(tempfile.mkdtemp(prefix="ft-", dir="/tmp"))  # Ray's sockets have names of 107 characters at most
    port = _free_port()
    nodes = Nodes(base, f"127.0.0.1:{port}")
    (base / "head" / "tmp").mkdir(parents=True)
    nodes.storage.mkdir()
    try:
        nodes.start_head(port, head_cpus)
        nodes.wait(int(head_cpus > 0))
        yield nodes
    finally:
        for process in reversed(nodes.processes):
            kill(process)
        shutil.rmtree(base, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
