"""Ray tasks side by side: order, failures by name, what is finished stays."""

import os
import signal
from pathlib import Path

import pytest

from pipeline.cluster import parallel
from pipeline.cluster.session import Cluster, session


@pytest.fixture(scope="module", autouse=True)
def ray_session():
    with pytest.MonkeyPatch.context() as patch, _session(patch):
        yield


def _session(patch):
    patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # workers import this module's functions
    return session(Cluster(address=None, workers=2, cpus_per_worker=1.0, gpus_per_worker=0.0))


def square(number: int) -> int:
    return number * number


def square_but_three(number: int) -> int:
    if number == 3:
        raise ValueError("three: found 3, expected another. Change it.")
    return number * number


def die_once(marker: Path) -> str:
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def reads_nothing(number: int) -> list[Path]:
    return []


def write_number(number: int, path: Path) -> None:
    square_but_three(number)
    path.write_text(str(number))


def test_results_come_in_the_order_of_the_items():
    assert parallel.map_ordered(square, [3, 1, 2], what="squares") == [9, 1, 4]


def test_no_items_give_no_results_without_starting_anything():
    assert parallel.map_ordered(square, [], what="squares") == []


@pytest.mark.parametrize("items", [[1, 3, 2], [3]], ids=["in tasks", "in a loop"])
def test_a_failing_piece_is_named_with_its_error(items):
    with pytest.raises(ValueError, match=r"squares: 1 of \d failed: piece 3: three: found 3, expected another"):
        parallel.map_ordered(square_but_three, items, what="squares", name=lambda item: f"piece {item}")


def test_a_piece_whose_process_dies_is_done_again(tmp_path):
    assert parallel.map_ordered(die_once, [tmp_path / "a", tmp_path / "b"], what="lives") == ["alive", "alive"]


@pytest.mark.slow
def test_a_piece_whose_process_keeps_dying_is_named():
    with pytest.raises(ValueError, match=r"deaths: 2 of 2 failed: 1: its process died 4 times"):
        parallel.map_ordered(die, [1, 2], what="deaths")


def test_what_is_finished_stays_when_a_piece_fails_and_is_not_made_again(tmp_path):
    targets = {tmp_path / f"deep/{number}": number for number in (1, 2, 3)}
    with pytest.raises(ValueError, match="1 of 3 failed: 3: three"):
        parallel.make_missing(write_number, targets, what="numbers", reads=reads_nothing)
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"1", "2"}
    (tmp_path / "deep/1").write_text("kept")
    parallel.make_missing(
        write_number, {path: n for path, n in targets.items() if n != 3}, what="numbers", reads=reads_nothing
    )
    assert (tmp_path / "deep/1").read_text() == "kept"
