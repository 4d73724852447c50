"""One experiment on nodes that share nothing but a storage: the same tables, and nothing lost when a node dies."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nodes as machines
import psutil
import pyarrow.parquet as pq
import pytest
import small
import swept
import yaml
from nodes import Nodes
from s3_server import s3_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TABLES = [f"reports/{name}.parquet" for name in ("tracking", "reid", "detection", "curves", "moments")]
WORK = "runs/synthetic/work"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with machines.cluster() as nodes:
        yield nodes


@pytest.fixture
def node(cluster) -> subprocess.Popen:
    """The only node that takes work."""
    alive = [one for one in cluster.processes[1:] if one.poll() is None]
    if len(alive) == 1:
        return alive[0]
    for one in alive:
        machines.kill(one)
    added = cluster.add()
    cluster.wait(1)
    return added


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """The experiment after a run on this machine alone."""
    folder = small.copy_of_repository(tmp_path_factory.mktemp("alone"), small.small_params())
    done = small.repro(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def digests(folder: Path, *names: str) -> dict[str, str]:
    files = [path for name in names for path in sorted([folder / name, *(folder / name).rglob("*")]) if path.is_file()]
    assert files
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def copy(undisturbed: Path, folder: Path, storage: str, *without: str) -> Path:
    """The finished experiment on the driver's node, without what is to be made again."""
    shutil.copytree(undisturbed, folder, symlinks=True)
    for path in (one for name in without for one in folder.glob(name)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    settings = yaml.safe_load((folder / "cluster.yaml").read_text()) | {"storage": storage}
    (folder / "cluster.yaml").write_text(yaml.safe_dump(settings))
    return folder


def start(cluster: Nodes, folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", *arguments],
        cwd=folder,
        env={**small.environment(folder), **cluster.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(run: subprocess.Popen) -> str:
    told, _ = run.communicate(timeout=600)
    assert run.returncode == 0, told[-4000:]
    return told


def wait_for(found, run: subprocess.Popen, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert run.poll() is None, run.communicate()[0][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def at_work(node: subprocess.Popen, title: str) -> bool:
    names = (" ".join(one.cmdline()) for one in psutil.Process(node.pid).children(recursive=True) if one.is_running())
    try:
        return any(title in name for name in names)
    except psutil.NoSuchProcess:
        return False


def let_it_be_missed(cluster: Nodes) -> None:
    """Until a node that was killed counts as dead, and a driver has looked."""
    cluster.wait(0)
    time.sleep(3)


def test_nodes_that_share_a_storage_folder_make_the_tables_of_one_machine(cluster, node, undisturbed):
    folder = small.copy_of_repository(cluster.folder("shared"), small.small_params(), storage=str(cluster.storage))
    finish(start(cluster, folder))
    assert digests(folder, *TABLES) == digests(undisturbed, *TABLES)
    assert digests(folder, "runs/synthetic/tracks") == digests(undisturbed, "runs/synthetic/tracks")
    assert list(cluster.storage.glob(f"{WORK}/detector/*/.current"))  # the other node was at work
    assert list((folder / "runs/.driver").iterdir()) == []


def test_nodes_that_share_a_bucket_make_the_tables_of_one_machine(cluster, node, undisturbed):
    with s3_server() as url:
        made = [f"runs/synthetic/{name}" for name in ("reid", "embeddings", "tracks", "scores")]
        made += [f"{WORK}/{name}" for name in ("reid", "embeddings", "tracks")]
        folder = copy(undisturbed, cluster.folder("bucket"), url, *made, "reports/*")
        told = finish(start(cluster, folder))
    assert "Running stage 'train_reid@synthetic'" in told
    assert digests(folder, *TABLES) == digests(undisturbed, *TABLES)
    assert "no-secret-in-this" not in told
    logs = cluster.base.glob("head/ray/session_*/logs/**/*")
    assert not [path for path in logs if path.is_file() and "no-secret-in-this" in path.read_text(errors="ignore")]


def test_a_node_that_dies_in_training_is_replaced_and_the_weights_are_the_same(cluster, node, undisturbed):
    storage = cluster.storage / "training"
    storage.mkdir()
    made = ("runs/synthetic/detector", f"{WORK}/detector")
    folder = copy(undisturbed, cluster.folder("training"), str(storage), *made)
    run = start(cluster, folder, "--single-item", "--force", "train_detector@synthetic")
    wait_for(lambda: list(storage.glob(f"{WORK}/detector/*/.current")), run)
    machines.kill(node)
    assert not list(folder.glob(f"{WORK}/detector/*"))  # nothing of it was made where the driver is
    let_it_be_missed(cluster)
    cluster.add()
    assert "ray: nodes died, room for 0 of 2 workers is left; waiting up to 15 min for others" in finish(run)
    assert digests(folder, "runs/synthetic/detector") == digests(undisturbed, "runs/synthetic/detector")


def test_a_group_on_the_drivers_node_and_another_starts_from_one_checkpoint_again(undisturbed):
    made = ("runs/synthetic/detector", f"{WORK}/detector")
    with machines.cluster(head_cpus=1) as mixed:
        node = mixed.add(cpus=1)
        mixed.wait(2)
        folder = copy(undisturbed, mixed.folder("mixed"), str(mixed.storage), *made)
        run = start(mixed, folder, "--single-item", "--force", "train_detector@synthetic")
        wait_for(lambda: list(mixed.storage.glob(f"{WORK}/detector/*/.current")), run)
        machines.kill(node)
        mixed.add(cpus=1)  # of the other worker's checkpoints it has none
        finish(run)
        assert digests(folder, "runs/synthetic/detector") == digests(undisturbed, "runs/synthetic/detector")


def test_a_node_that_dies_in_tracking_is_replaced_and_the_tracks_are_the_same(cluster, node, undisturbed):
    storage = cluster.storage / "tracking"
    storage.mkdir()
    made = ("runs/synthetic/tracks", f"{WORK}/tracks")
    folder = copy(undisturbed, cluster.folder("tracking"), str(storage), *made)
    run = start(cluster, folder, "--single-item", "--force", "track@synthetic")
    wait_for(lambda: at_work(node, "ray::_apply"), run)
    machines.kill(node)
    let_it_be_missed(cluster)
    cluster.add()
    assert "ray: nodes died, room for 0 of 1 workers is left; waiting up to 15 min for others" in finish(run)
    assert digests(folder, "runs/synthetic/tracks") == digests(undisturbed, "runs/synthetic/tracks")


def test_a_storage_that_takes_nothing_is_one_line_and_once_mended_the_command_goes_on(cluster, node, undisturbed):
    storage = cluster.storage / "mended"
    storage.mkdir()
    machines.kill(node)
    broken = cluster.add(read_only=True)
    cluster.wait(1)
    folder = copy(undisturbed, cluster.folder("mended"), str(storage), f"{WORK}/tracks")
    before = digests(folder, "runs/synthetic/tracks")
    run = start(cluster, folder, "--single-item", "--force", "track@synthetic")
    told, _ = run.communicate(timeout=300)
    assert run.returncode != 0
    assert "storage: cannot put" in told
    assert "Make it writable and run again" in told
    assert "Traceback" not in told
    assert digests(folder, "runs/synthetic/tracks") == before
    assert not list(folder.glob(f"{WORK}/tracks/*/*"))
    machines.kill(broken)
    cluster.add()
    cluster.wait(1)
    finish(start(cluster, folder, "--single-item", "--force", "track@synthetic"))
    assert digests(folder, "runs/synthetic/tracks") == digests(undisturbed, "runs/synthetic/tracks")


def test_a_node_that_does_not_see_the_repository_is_refused_without_a_storage(cluster, node, undisturbed):
    folder = copy(undisturbed, cluster.folder("unseen"), "", f"{WORK}/tracks")
    settings = yaml.safe_load((folder / "cluster.yaml").read_text()) | {"storage": None}
    (folder / "cluster.yaml").write_text(yaml.safe_dump(settings))
    run = start(cluster, folder, "--single-item", "--force", "track@synthetic")
    told, _ = run.communicate(timeout=300)
    assert run.returncode != 0
    assert f"does not see {folder}, expected every node to. Set `storage`" in told
    assert "127.0.0." in told


def test_trials_on_another_node_are_kept_where_the_driver_is(cluster, node):
    folder = cluster.folder("sweep")
    folder.mkdir()
    storage = cluster.storage / "sweep"
    storage.mkdir()
    swept.make(folder)
    settings = {"address": None, "workers": 2, "cpus_per_worker": 1, "gpus_per_worker": 0, "storage": str(storage)}
    (folder / "cluster.yaml").write_text(yaml.safe_dump(settings))
    made = Path("runs/tiny")
    files = {name: made / f"{name}.parquet" for name in ("sequences", "ground-truth", "detections")}
    files["ground-truth"] = made / "ground_truth.parquet"
    files |= {"features": made / "features.json", "embeddings": made / "embeddings", "kept": made / "work"}
    arguments = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    command = [sys.executable, "-m", "stages.sweep", "--sweep", "reid", *arguments, "--out", "reports/sweeps/reid"]
    environment = {**small.environment(small.ROOT), **cluster.environment}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = pq.read_table(folder / "reports/sweeps/reid/trials.parquet").to_pylist()
    assert [row["status"] for row in rows] == ["finished"] * 3
    kept = [json.loads(path.read_text()) for path in (folder / "runs/tiny/work/sweeps").rglob("*.json")]
    assert [one["status"] for one in kept] == ["finished"] * 3
    assert not (folder / "runs/tiny/work/reid").exists()  # they were trained elsewhere
