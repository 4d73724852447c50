"""Make the next items while the current one is used."""

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
T = TypeVar("T")


def prefetched(items: Iterable[T], *, ahead: int = 2) -> Iterator[T]:
    """The items in order, up to `ahead` of them made in one thread before they are asked for.

    >>> list(prefetched(range(3)))
    [0, 1, 2]
    """
    iterator, end = iter(items), object()
    made = prefetched_map(lambda _: next(iterator, end), itertools.count(), threads=1, ahead=ahead)
    # Closed here and not when it is collected: whoever stops early leaves no thread behind.
    try:
        while (item := next(made)) is not end:
            yield item  # type: ignore[misc]
    finally:
        made.close()


def prefetched_map(
    make: Callable[[Task], T], tasks: Iterable[Task], *, threads: int, ahead: int | None = None
) -> Generator[T, None, None]:
    """`make` of each task in order, made in `threads` threads, up to `ahead` before they are asked for.

    As many as there are threads are made ahead if not told otherwise. Threads suffice where `make` spends its time in
    code that lets others run, as OpenCV's and NumPy's does.

    >>> list(prefetched_map(abs, [-1, 2, -3], threads=2))
    [1, 2, 3]
    """
    rest = iter(tasks)
    pool = ThreadPoolExecutor(threads)
    try:
        waiting: deque[Future[T]] = deque(pool.submit(make, task) for task in itertools.islice(rest, ahead or threads))
        while waiting:
            item = waiting.popleft().result()
            waiting.extend(pool.submit(make, task) for task in itertools.islice(rest, 1))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
