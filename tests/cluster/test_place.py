"""A worker knows whether it stands in the driver's folder, and keeps to a folder of its own where it does not."""

import dataclasses
import os
import pickle
from pathlib import Path

import pytest

from pipeline import storage as stored
from pipeline.cluster import place as door
from pipeline.cluster.place import fetch_finished, place
from pipeline.cluster.session import Cluster
from pipeline.storage import Storage

ALONE = Cluster(address=None, workers=2, cpus_per_worker=1.0, gpus_per_worker=0.0)


@pytest.fixture(autouse=True)
def driver(tmp_path, monkeypatch) -> Path:
    """The driver's folder, which is the working directory; copies lie in a temporary folder of the test's own."""
    for name in ("driver", "tmp", "shared"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(stored.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path / "driver")
    return tmp_path / "driver"


@pytest.fixture
def shared(tmp_path, monkeypatch) -> Cluster:
    """A cluster elsewhere with a storage, of which one node sees nothing of this machine."""
    monkeypatch.setattr(door, "_blind_nodes", lambda here, cluster: ["node-7"])
    return dataclasses.replace(ALONE, address="10.0.0.1:6379", storage=str(tmp_path / "shared"))


def test_on_one_machine_nothing_is_marked_or_carried(driver):
    with place(ALONE) as here:
        os.chdir("/")
        assert here.enter() is None
    assert Path.cwd() == driver
    assert list(driver.iterdir()) == []


def test_a_worker_that_sees_the_folder_works_there(shared, driver):
    with place(shared) as here:
        os.chdir("/")
        assert here.enter() is None
        assert Path.cwd() == driver
    assert list((driver / "runs/.driver").iterdir()) == []


def test_a_folder_of_the_same_name_without_the_mark_is_not_the_drivers(shared, tmp_path):
    with place(shared) as here:
        elsewhere = dataclasses.replace(here, mark=".of-another-run")
        storage = elsewhere.enter()
        assert storage == Storage(str(tmp_path / "shared"))
        assert Path.cwd().is_relative_to(tmp_path / "tmp")
        assert Path.cwd().parents[1].stat().st_mode & 0o777 == 0o700
        first = Path.cwd()
        elsewhere.enter()
        assert Path.cwd() == first  # copies are found again


def test_a_node_that_does_not_see_the_folder_is_named_where_there_is_no_storage(shared, driver):
    with (
        pytest.raises(ValueError, match=rf"storage: found null.*node-7 does not see {driver}.* Set `storage`"),
        place(dataclasses.replace(shared, storage=None)),
    ):
        pass


def test_where_all_nodes_see_the_folder_nothing_is_carried_even_with_a_storage(shared, tmp_path, monkeypatch):
    monkeypatch.setattr(door, "_blind_nodes", lambda here, cluster: [])
    Path("x").touch()
    with place(shared) as here:
        here.send([Path("x")])
        here.fetch([Path("x")])
        assert not here.holds(Path("x"))
    assert list((tmp_path / "shared").iterdir()) == []


def test_credentials_travel_with_the_place_and_are_never_shown(shared, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-shown")
    with place(shared) as here:
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        assert "not-to-be-shown" not in f"{here!r} {here}"
        pickle.loads(pickle.dumps(here)).enter()
        assert os.environ["AWS_SECRET_ACCESS_KEY"] == "not-to-be-shown"


def test_no_credentials_travel_where_there_is_no_storage(shared, monkeypatch):
    monkeypatch.setattr(door, "_blind_nodes", lambda here, cluster: [])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-shown")
    with place(dataclasses.replace(shared, storage=None)) as here:
        assert here.environment == {}


def test_what_a_node_finished_before_the_driver_died_is_fetched_and_not_made_again(shared, driver):
    finished, missing = Path("runs/x/work/tracks/a"), Path("runs/x/work/tracks/b")
    with place(shared) as here:
        dataclasses.replace(here, mark=".elsewhere").enter()
        finished.parent.mkdir(parents=True)
        finished.write_text("done")
        here.send([finished])
    os.chdir(driver)
    fetch_finished([finished, missing], shared)
    assert finished.read_text() == "done"
    assert not missing.exists()
    finished.unlink()
    fetch_finished([finished], dataclasses.replace(shared, address=None))  # no cluster, no storage
    assert not finished.exists()
