"""Ray starts only where it can hold the workers, and leaves nothing behind."""

import ipaddress
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import ray

from pipeline.cluster.session import Cluster, Watch, _folder_of_session, _refuse_too_many, scratch, session, settings
from pipeline.sources import ROOT

ONE = Cluster(address=None, workers=1, cpus_per_worker=1.0, gpus_per_worker=0.0)


def alive(**resources: float) -> dict:
    return {"Alive": True, "Resources": resources}


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_cluster_yaml_as_shipped_is_read():
    assert settings(ROOT / "cluster.yaml") == Cluster(address=None, workers=2, cpus_per_worker=1.0, gpus_per_worker=0.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workers: 2", r"missing \['address', 'cpus_per_worker', 'gpus_per_worker', 'storage'\]"),
        (
            "{address: null, workers: -1, cpus_per_worker: 1, gpus_per_worker: 0, storage: null}",
            "workers -1.*expected workers >= 0",
        ),
        (
            "{address: null, workers: two, cpus_per_worker: 1, gpus_per_worker: 0, storage: null}",
            "workers: found 'two', expected int",
        ),
        (
            "{address: null, workers: 1, cpus_per_worker: 1, gpus_per_worker: 0, storage: 's3://me:key@bucket'}",
            "storage: holds a user, password or key",
        ),
        (
            "{address: null, workers: 1, cpus_per_worker: 1, gpus_per_worker: 0, storage: shared}",
            "storage: found 'shared', expected an absolute folder or a URL",
        ),
    ],
)
def test_wrong_settings_are_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        settings(write(tmp_path / "cluster.yaml", text))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"cluster\.yaml: no such file"):
        settings(tmp_path / "cluster.yaml")


@pytest.mark.slow
def test_more_workers_than_the_machine_holds_are_refused_instead_of_waited_for():
    too_many = Cluster(address=None, workers=1000, cpus_per_worker=1.0, gpus_per_worker=0.0)
    with pytest.raises(ValueError, match="found 1000 with 1 CPU and 0 GPU each, expected at most"), session(too_many):
        pass


@pytest.mark.parametrize(
    ("nodes", "room"),
    [
        ([alive(CPU=8.0, GPU=2.0)], 2),
        ([alive(CPU=3.0, GPU=4.0), alive(CPU=4.0, GPU=4.0)], 3),
        ([alive(CPU=1.0, GPU=1.0), alive(CPU=1.0, GPU=1.0)], 0),  # two CPUs in all, none where a worker fits
        ([alive(CPU=8.0), alive(GPU=8.0)], 0),
        ([{**alive(CPU=8.0, GPU=8.0), "Alive": False}, alive(CPU=2.0, GPU=1.0)], 1),
    ],
)
def test_room_is_counted_node_by_node(monkeypatch, nodes, room):
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    with pytest.raises(ValueError, match=f"found 9 with 2 CPU and 1 GPU each, expected at most {room}, for which"):
        _refuse_too_many(Cluster(address=None, workers=9, cpus_per_worker=2.0, gpus_per_worker=1.0))


def test_lost_nodes_are_waited_for_aloud_and_not_for_ever(monkeypatch, capsys):
    nodes, clock = [alive(CPU=1.0)], [100.0]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr("pipeline.cluster.session.time.monotonic", lambda: clock[0])
    watch = Watch(ONE, workers=2)

    def after(seconds: float, *now: dict) -> str:
        clock[0], nodes[:] = clock[0] + seconds, now
        watch.look()
        return capsys.readouterr().out

    assert after(2, alive(CPU=2.0)) == ""
    lost = "ray: nodes died, room for 1 of 2 workers is left; waiting up to 15 min for others\n"
    assert after(2, alive(CPU=1.0)) == lost
    assert after(800, alive(CPU=1.0)) == ""
    assert after(99, alive(CPU=1.0), alive(CPU=1.0)) == ""  # another came
    assert after(2, alive(CPU=1.0)) == lost
    assert after(899, alive(CPU=1.0)) == ""
    with pytest.raises(ValueError, match=r"room for 1 of 2 workers is left since 15 min, expected others to join"):
        after(2, alive(CPU=1.0))


def test_scratch_goes_with_its_block_and_that_of_a_killed_process_with_the_next_session(tmp_path, monkeypatch):
    script = (
        "import os, pipeline.cluster.session as s\nwith s.scratch() as f: print(f, flush=True); os.kill(os.getpid(), 9)"
    )
    run = [sys.executable, "-c", script]
    killed = subprocess.run(run, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE)
    abandoned = Path(killed.stdout.decode().strip())
    assert abandoned.is_dir()
    monkeypatch.chdir(tmp_path)
    with scratch() as used, _folder_of_session():
        assert used.is_dir()
        assert not abandoned.exists()
    assert not used.exists()


def test_an_address_where_nothing_answers_is_refused(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with (
        pytest.raises(ValueError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"),
        session(ONE),
    ):
        pass


def test_an_address_with_a_password_is_refused_without_showing_it(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "me:hunter2@head:6379")
    with (
        pytest.raises(ValueError, match="RAY_ADDRESS: holds a user or password, expected HOST:PORT") as refused,
        session(ONE),
    ):
        pass
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("dashboard", "words"), [("10.0.0.1:8265", "dashboard http://10.0.0.1:8265"), ("", "without a dashboard")]
)
def test_a_cluster_that_is_joined_is_named_with_its_dashboard(monkeypatch, capsys, dashboard, words):
    monkeypatch.setattr(ray, "init", lambda **options: SimpleNamespace(dashboard_url=dashboard))
    monkeypatch.setattr(ray, "nodes", lambda: [alive(CPU=1.0)])
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        with session(ONE):
            pass
    assert capsys.readouterr().out == f"ray: joined {address}, {words}\n"


LISTENING = """
import psutil
from pipeline.cluster.session import Cluster, session
with session(Cluster(None, 1, 1.0, 0.0)):
    import ray
    ray.get(ray.remote(lambda: None).remote())
    for one in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        for found in one.net_connections("inet"):
            if found.status == psutil.CONN_LISTEN:
                print("listens", found.laddr.ip, one.name())
"""


@pytest.mark.slow
def test_a_ray_of_our_own_listens_on_loopback_alone_and_keeps_the_logs_of_the_last_session(tmp_path):
    script, environment = write(tmp_path / "listen.py", LISTENING), {**os.environ, "PYTHONPATH": str(ROOT)}
    logs = []
    for _ in range(2):
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        said, *sockets = done.stdout.splitlines()
        assert len(sockets) > 5
        assert [line for line in sockets if not is_loopback(line.split()[1])] == []
        logs.append(Path(said.removeprefix("ray: on this machine, logs in ")))
        assert list(logs[-1].glob("worker-*.err"))
    folder = logs[-1].parents[2]
    assert not logs[0].exists(), "only the last session's are kept"
    assert list(folder.parent.glob(f"{folder.name.rsplit('-', 1)[0]}-*")) == [folder]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    shutil.rmtree(folder)


def is_loopback(text: str) -> bool:
    address = ipaddress.ip_address(text)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


@pytest.mark.slow
@pytest.mark.parametrize("fatal", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_driver_leaves_no_process(tmp_path, fatal):
    script = write(
        tmp_path / "wait.py",
        "import signal, time\n"
        "from pipeline.cluster.session import Cluster, session\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "with session(Cluster(None, 1, 1.0, 0.0)):\n"
        "    print('up', flush=True)\n"
        "    time.sleep(300)\n",
    )
    environment = {**os.environ, "FINETRACK_TEST_MARK": str(tmp_path)}
    driver = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment)
    assert driver.stdout is not None
    assert driver.stdout.readline().startswith("ray: on this machine")
    assert driver.stdout.readline().strip() == "up"
    family = psutil.Process(driver.pid).children(recursive=True)
    assert family
    driver.send_signal(fatal)
    assert driver.wait(30) != 0
    deadline = time.monotonic() + 180  # Ray's two agents notice the death of a killed driver late
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family):
        assert time.monotonic() < deadline, [one.name() for one in family if one.is_running()]
        time.sleep(0.5)
