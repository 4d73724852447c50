"""Where the driver works, and how a worker gets there: the same folder, or a node's own that the storage fills."""

import hashlib
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.cluster.session import Cluster, address_of
from pipeline.storage import Storage, private_folder

_MARKS = Path("runs/.driver")  # DVC does not look at hidden names there
_CREDENTIALS = ("AWS_", "GOOGLE_")


@dataclass(frozen=True)
class Place:
    """The driver's folder `home`, with a `mark` in it by which workers know it, and what nodes elsewhere live from.

    `mark` is None where Ray runs on this machine alone, `storage` where all nodes see the folder: then nothing is
    carried. `environment` has the storage's credentials; they travel with the tasks, because Ray logs the environments
    that it sets up itself.
    """

    home: Path
    mark: str | None = None
    storage: Storage | None = None
    environment: dict[str, str] = field(default_factory=dict, repr=False)

    def enter(self) -> Storage | None:
        """Go to the driver's folder and give None, or else to this node's own and give the storage that fills it.

        Raises:
            ValueError: this node does not see the driver's folder, and nothing is carried.
        """
        os.environ.update(self.environment)
        if self.is_seen():
            os.chdir(self.home)
            return None
        if self.storage is None:
            raise ValueError(_unseen(self, [_node()]))
        key = hashlib.sha256(f"{self.home}\0{self.storage.url}".encode()).hexdigest()[:16]
        os.chdir(private_folder("nodes", key))
        return self.storage

    def is_seen(self) -> bool:
        """Whether this process sees the driver's folder."""
        return self.mark is None or (self.home / _MARKS / self.mark).is_file()

    def holds(self, path: Path) -> bool:
        """Whether anyone put the path, where anything is carried."""
        return self.storage is not None and self.storage.has(path)

    def send(self, paths: Iterable[Path]) -> None:
        """Put what others are to read, where anything is carried."""
        if self.storage is not None:
            for path in paths:
                self.storage.put(path)

    def fetch(self, paths: Iterable[Path]) -> None:
        """Get what others put, where anything is carried."""
        if self.storage is not None:
            for path in paths:
                self.storage.get(path)


@contextmanager
def place(cluster: Cluster) -> Iterator[Place]:
    """The working directory as the place of work of a session's workers, for as long as the block.

    Raises:
        ValueError: a node does not see it, and cluster.yaml names no storage.
    """
    home = Path.cwd()
    if address_of(cluster) == "local":
        yield Place(home)
        return
    _MARKS.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=_MARKS, prefix=".") as mark:
        storage = Storage(cluster.storage) if cluster.storage else None
        credentials = {name: value for name, value in os.environ.items() if storage and name.startswith(_CREDENTIALS)}
        here = Place(home, Path(mark.name).name, storage, credentials)
        blind = _blind_nodes(here, cluster)
        if blind and storage is None:
            raise ValueError(_unseen(here, blind))
        yield here if blind else Place(home, here.mark)


def fetch_finished(paths: Iterable[Path], cluster: Cluster) -> None:
    """Get those of the paths that some node finished; they are named for all that they depend on."""
    if cluster.storage is not None and address_of(cluster) != "local":
        storage = Storage(cluster.storage)
        for path in paths:
            if storage.has(path):
                storage.get(path)


def _blind_nodes(here: Place, cluster: Cluster) -> list[str]:
    """The nodes that may get work and do not see the driver's folder."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    able = [one["NodeID"] for one in ray.nodes() if one["Alive"] and one["Resources"].get("CPU", 0) > 0]
    look = ray.remote(num_cpus=0, max_retries=0)(_blind)
    asked = [
        look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(here) for node in able
    ]
    found = []
    for answer in asked:
        try:
            found.append(ray.get(answer))
        except ray.exceptions.RayTaskError:
            raise
        except ray.exceptions.RayError:  # it died just now
            continue
    return [name for name in found if name is not None]


def _blind(here: Place) -> str | None:
    return None if here.is_seen() else _node()


def _node() -> str:
    import ray

    return f"{socket.gethostname()} ({ray.util.get_node_ip_address()})"


def _unseen(here: Place, nodes: list[str]) -> str:
    return (
        f"cluster.yaml:storage: found null, or a node that came later: {', '.join(nodes)} does not see {here.home}, "
        "expected every node to. Set `storage` to a folder or bucket that all nodes reach, and run again."
    )
