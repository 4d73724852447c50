"""Start and end of Ray: one place that owns its address, environment, signals and noise."""

import fcntl
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import params
from pipeline.sources import ROOT
from pipeline.storage import Storage

CLUSTER = Path("cluster.yaml")
_CONNECT_S = 10.0
_PATIENCE_S = 900.0  # for nodes that died: batch systems and autoscalers bring others within minutes, or never
_LOOK_S = 1.0
_LONGEST_PLACE = 11  # characters of a folder for temporary files: a socket's path has 107, of which 96 follow
_OBJECT_STORE_BYTES = 2**30  # tables and results only; frames and features never pass through it

# Set before Ray is imported, because it reads them then. Each was measured to be needed: a driver under `uv run` would
# upload the working folder, a local start turns token authentication on for later clusters, short epochs would drain at
# one report in two seconds, and Ray's own handler would record an interrupted sweep as finished.
_ENVIRONMENT = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_COLOR_PREFIX": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}
# Of a Ray that is started on this machine: no token, and its ports on the loopback interface alone. Whatever its name
# says, the second makes Ray take 127.0.0.1 for this machine's address; without it, it listens on all interfaces.
_PRIVATE = {"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
if sys.platform == "linux":
    _PRIVATE["GLOO_SOCKET_IFNAME"] = "lo"


@dataclass(frozen=True)
class Cluster:
    """What changes only the clock: cluster.yaml.

    `workers` processes run side by side, each with `cpus_per_worker` and `gpus_per_worker`; 0 workers means no Ray, all
    in this process. `address` is a running Ray cluster's, null starts one on this machine; RAY_ADDRESS overrides it.
    `storage` carries files to and from nodes of it that do not see the working directory (pipeline.storage).
    """

    address: str | None
    workers: int
    cpus_per_worker: float
    gpus_per_worker: float
    storage: str | None = None

    def __post_init__(self) -> None:
        _refuse_credentials(self.address or "", where="address")
        if self.workers < 0 or self.cpus_per_worker <= 0 or self.gpus_per_worker < 0:
            raise ValueError(
                f"workers {self.workers}, cpus_per_worker {self.cpus_per_worker}, gpus_per_worker "
                f"{self.gpus_per_worker}: expected workers >= 0, each with CPUs and 0 or more GPUs. Correct the file."
            )
        if self.storage is not None:
            Storage(self.storage)  # refuses what is no address, or holds credentials


def settings(path: Path = CLUSTER) -> Cluster:
    """Read cluster.yaml.

    Raises:
        ValueError: no such file, or keys or values are not `Cluster`'s.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file, expected the cluster's settings. Run from the repository's root.")
    return params.parse(params.load(path), Cluster, where=str(path))


def address_of(cluster: Cluster) -> str:
    """Where Ray runs: host:port, or `local`, which is started for a session on this machine alone.

    Raises:
        ValueError: RAY_ADDRESS holds a user or password.
    """
    given = os.environ.get("RAY_ADDRESS", "")
    _refuse_credentials(given, where="RAY_ADDRESS")
    return given or cluster.address or "local"


@contextmanager
def session(cluster: Cluster) -> Iterator[None]:
    """Ray, up for the block: joined where an address is given, else started on this machine and ended after it.

    Raises:
        ValueError: the cluster cannot hold the workers, or cannot be reached or started.
    """
    address = address_of(cluster)
    is_private = address == "local"
    with _environment(_ENVIRONMENT | (_PRIVATE if is_private else {})):
        import ray

        if ray.is_initialized():
            yield
            return
        _refuse_unreachable(address)
        with _folder_of_session() if is_private else nullcontext() as folder:
            context = _started(address, folder)
            # Ray installs its own SIGTERM handler, which dumps a stack: ours ends the run as Ctrl-C does.
            previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                print(_where(address, context.dashboard_url, folder), flush=True)
                _refuse_too_many(cluster)
                yield
            finally:
                ray.shutdown()
                signal.signal(signal.SIGTERM, previous)


def _started(address: str, folder: Path | None) -> Any:
    import ray

    try:
        return ray.init(address=address, log_to_driver=False, logging_level="ERROR", **_options(folder))
    except Exception as error:  # Ray raises plain ones, as when a busy machine took longer than 30 s
        ray.shutdown()
        text = " ".join(str(error).split())[:300]
        raise ValueError(f"Ray at {address}: did not start: {text} Run again, with less beside it.") from error


def _options(folder: Path | None) -> dict[str, Any]:
    if folder is None:
        return {"runtime_env": {"py_modules": [str(ROOT / "pipeline")]}}  # nodes run this code, whatever they have
    return {"object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False, "_temp_dir": str(folder)}


@contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    """The environment with these variables, where it has them not, for the block alone."""
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


class Watch:
    """Sees to it that work does not wait for ever, and without a word, for nodes that died: Ray would."""

    def __init__(self, cluster: Cluster, workers: int) -> None:
        """Of work that goes on with so many workers at once."""
        self._cluster, self._workers = cluster, workers
        self._next = 0.0
        self._since: float | None = None

    def look(self) -> None:
        """Say that nodes are missing; to be called now and then while the work is under way.

        Raises:
            ValueError: they were missing for a quarter of an hour.
        """
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _LOOK_S
        room = _room(self._cluster)
        if room >= self._workers:
            self._since = None
            return
        lack, patience = f"nodes died, room for {room} of {self._workers} workers is left", f"{_PATIENCE_S / 60:g} min"
        if self._since is None:
            self._since = now
            print(f"ray: {lack}; waiting up to {patience} for others", flush=True)
        elif now - self._since > _PATIENCE_S:
            raise ValueError(
                f"cluster.yaml:workers: {lack} since {patience}, expected others to join. Add nodes or lower "
                "`workers`, and run again: what is finished is kept."
            )


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder for the block. One of a process that was killed goes with the next session."""
    folder = Path(tempfile.mkdtemp(prefix=_prefix(), dir=_temporary()))
    try:
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _folder_of_session() -> Iterator[Path]:
    """A folder for the sockets and logs of a Ray on this machine; those of earlier sessions of this repository go.

    The last one stays, so that the log of a worker that died can be read. A folder is in use while its lock is held,
    which ends with the process, however that ends.
    """
    for earlier in Path(_temporary()).glob(f"{_prefix()}*"):
        with suppress(OSError), _locked(earlier):
            shutil.rmtree(earlier, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_prefix(), dir=_temporary()))
    with _locked(folder):
        yield folder / "ray"  # Ray opens it to everybody, which the folder around it does not


def _temporary() -> str:
    return tempfile.gettempdir() if len(tempfile.gettempdir()) <= _LONGEST_PLACE else "/tmp"


def _prefix() -> str:
    """How temporary folders of this repository begin."""
    return f"finetrack-{zlib.crc32(os.fsencode(Path.cwd())):08x}-"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _where(address: str, dashboard: str | None, folder: Path | None) -> str:
    if folder is not None:
        return f"ray: on this machine, logs in {folder}/session_latest/logs"
    return f"ray: joined {address}, " + (f"dashboard http://{dashboard}" if dashboard else "without a dashboard")


def _refuse_credentials(address: str, *, where: str) -> None:
    if "@" in address:  # messages and logs show the address
        raise ValueError(f"{where}: holds a user or password, expected HOST:PORT alone. Use RAY_AUTH_TOKEN.")


def _refuse_unreachable(address: str) -> None:
    """Refuse an address `host:port` where nothing listens; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise ValueError(
            f"cluster.yaml:address, RAY_ADDRESS: no Ray cluster answers at {address} ({error}). Start it or unset it."
        ) from error


def _refuse_too_many(cluster: Cluster) -> None:
    if (room := _room(cluster)) < cluster.workers:
        raise ValueError(
            f"cluster.yaml:workers: found {cluster.workers} with {cluster.cpus_per_worker:g} CPU and "
            f"{cluster.gpus_per_worker:g} GPU each, expected at most {room}, for which the nodes have room. "
            "Lower `workers` or add nodes; Ray would wait for them for ever."
        )


def _room(cluster: Cluster) -> int:
    """How many workers the living nodes hold, each on one of them."""
    import ray

    wanted = {"CPU": cluster.cpus_per_worker, "GPU": cluster.gpus_per_worker}
    living = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(min(int(have.get(kind, 0) / each + 1e-6) for kind, each in wanted.items() if each) for have in living)
