"""Start and end of Ray: one place that owns its address, environment, signals and noise."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline import params

CLUSTER = Path("cluster.yaml")
_CONNECT_S = 10.0
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


@dataclass(frozen=True)
class Cluster:
    """What changes only the clock: cluster.yaml.

    `workers` processes run side by side, each with `cpus_per_worker` and `gpus_per_worker`; 0 workers means no Ray, all
    in this process. `address` is a running Ray cluster's, null starts one on this machine; RAY_ADDRESS overrides it.
    """

    address: str | None
    workers: int
    cpus_per_worker: float
    gpus_per_worker: float

    def __post_init__(self) -> None:
        if "@" in (self.address or ""):  # messages and logs show the address
            raise ValueError("address: holds a user or password, expected HOST:PORT alone. Use RAY_AUTH_TOKEN.")
        if self.workers < 0 or self.cpus_per_worker <= 0 or self.gpus_per_worker < 0:
            raise ValueError(
                f"workers {self.workers}, cpus_per_worker {self.cpus_per_worker}, gpus_per_worker "
                f"{self.gpus_per_worker}: expected workers >= 0, each with CPUs and 0 or more GPUs. Correct the file."
            )


def settings(path: Path = CLUSTER) -> Cluster:
    """Read cluster.yaml.

    Raises:
        ValueError: no such file, or keys or values are not `Cluster`'s.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file, expected the cluster's settings. Run from the repository's root.")
    return params.parse(params.load(path), Cluster, where=str(path))


@contextmanager
def session(cluster: Cluster) -> Iterator[None]:
    """Ray, up for the block: joined where an address is given, else started on this machine and ended after it.

    Raises:
        ValueError: the cluster cannot hold the workers, or cannot be reached.
    """
    os.environ.update({name: value for name, value in _ENVIRONMENT.items() if name not in os.environ})
    address = os.environ.get("RAY_ADDRESS") or cluster.address or "local"
    if address == "local":
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    import ray

    if ray.is_initialized():
        yield
        return
    _refuse_unreachable(address)
    private = {"object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False} if address == "local" else {}
    ray.init(address=address, log_to_driver=False, logging_level="ERROR", **private)
    # Ray installs its own SIGTERM handler, which dumps a stack: ours ends the run as Ctrl-C does.
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _refuse_too_many(cluster, ray.cluster_resources())
        yield
    finally:
        ray.shutdown()
        signal.signal(signal.SIGTERM, previous)


def _refuse_unreachable(address: str) -> None:
    """Refuse an address `host:port` where nothing listens; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise ValueError(
            f"cluster.yaml:address: no Ray cluster answers at {address} ({error}). Start it, or set null."
        ) from error


def _refuse_too_many(cluster: Cluster, resources: dict[str, float]) -> None:
    for kind, each in (("CPU", cluster.cpus_per_worker), ("GPU", cluster.gpus_per_worker)):
        have, want = resources.get(kind, 0.0), cluster.workers * each
        if want > have:
            raise ValueError(
                f"cluster.yaml:workers: {cluster.workers} x {each:g} {kind} = {want:g}, found {have:g} on the cluster. "
                "Lower `workers` or add nodes; Ray would wait for them for ever."
            )
