import doctest
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import prefetch
from pipeline.data.prefetch import prefetched, prefetched_map


def test_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(prefetch).failed == 0


@settings(deadline=None)
@given(items=st.lists(st.none() | st.integers(), max_size=8), ahead=st.integers(1, 10))
def test_every_item_comes_once_and_in_order(items: list[int | None], ahead: int) -> None:
    assert list(prefetched(items, ahead=ahead)) == items


def test_the_next_items_are_made_in_one_other_thread_while_one_is_used() -> None:
    made: list[int] = []
    threads: set[int] = set()
    two_ahead = threading.Event()

    def items() -> Iterator[int]:
        for i in range(10):
            made.append(i)
            threads.add(threading.get_ident())
            if i == 2:
                two_ahead.set()
            yield i

    stream = prefetched(items(), ahead=2)
    assert next(stream) == 0
    assert two_ahead.wait(10), "items 1 and 2 are made while 0 is used"
    assert made == [0, 1, 2], "and no more"
    assert list(stream) == list(range(1, 10))
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_nothing_is_made_before_it_is_asked_for() -> None:
    made: list[int] = []
    stream = prefetched(made.append(i) for i in range(3))  # type: ignore[func-returns-value]
    assert made == []
    next(stream)
    stream.close()  # type: ignore[attr-defined]


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("img1/000003.jpg: 0 bytes")

    stream = prefetched(items())
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(ValueError, match=r"000003.jpg: 0 bytes"):
        next(stream)


def test_a_reader_that_stops_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    for item in prefetched(range(100)):
        if item == 3:
            break
    del item
    assert threading.active_count() == before


@settings(deadline=None)
@given(tasks=st.lists(st.integers(), max_size=12), threads=st.integers(1, 4), ahead=st.none() | st.integers(1, 6))
def test_results_come_once_and_in_the_order_of_their_tasks(tasks: list[int], threads: int, ahead: int | None) -> None:
    assert list(prefetched_map(lambda task: 2 * task, tasks, threads=threads, ahead=ahead)) == [2 * n for n in tasks]


def test_several_tasks_are_worked_on_at_once_and_a_slow_one_holds_its_place() -> None:
    others_done = threading.Semaphore(0)

    def make(task: int) -> int:
        if task == 0:
            assert others_done.acquire(timeout=10), "task 1 is made beside task 0"
        else:
            others_done.release()
        return task

    assert list(prefetched_map(make, range(4), threads=2)) == [0, 1, 2, 3]


def test_a_failed_task_raises_where_its_result_would_have_come() -> None:
    stream = prefetched_map(lambda task: 6 // task, [3, 2, 0, 1], threads=2, ahead=4)
    assert [next(stream), next(stream)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(stream)


def test_whoever_stops_early_leaves_no_thread_and_no_task_behind() -> None:
    before, made = threading.active_count(), []
    stream = prefetched_map(made.append, range(100), threads=3)
    next(stream)
    stream.close()
    assert threading.active_count() == before
    assert len(made) < 10
