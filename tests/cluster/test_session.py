"""Ray starts only where it can hold the workers, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.cluster.session import Cluster, session, settings
from pipeline.sources import ROOT


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_cluster_yaml_as_shipped_is_read():
    assert settings(ROOT / "cluster.yaml") == Cluster(address=None, workers=2, cpus_per_worker=1.0, gpus_per_worker=0.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workers: 2", r"missing \['address', 'cpus_per_worker', 'gpus_per_worker'\]"),
        ("{address: null, workers: -1, cpus_per_worker: 1, gpus_per_worker: 0}", "workers -1.*expected workers >= 0"),
        ("{address: null, workers: two, cpus_per_worker: 1, gpus_per_worker: 0}", "workers: found 'two', expected int"),
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
    with pytest.raises(ValueError, match="1000 x 1 CPU = 1000, found"), session(too_many):
        pass


def test_an_address_where_nothing_answers_is_refused(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with (
        pytest.raises(ValueError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"),
        session(Cluster(address=None, workers=1, cpus_per_worker=1.0, gpus_per_worker=0.0)),
    ):
        pass


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
    assert driver.stdout.readline().strip() == "up"
    family = psutil.Process(driver.pid).children(recursive=True)
    assert family
    driver.send_signal(fatal)
    assert driver.wait(30) != 0
    deadline = time.monotonic() + 180  # Ray's two agents notice the death of a killed driver late
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family):
        assert time.monotonic() < deadline, [one.name() for one in family if one.is_running()]
        time.sleep(0.5)
