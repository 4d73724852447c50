"""Make the next item while the current one is used."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetched(items: Iterable[T], *, ahead: int = 2) -> Iterator[T]:
    """The items in order, up to `ahead` of them made in one thread before they are asked for.

    >>> list(prefetched(range(3)))
    [0, 1, 2]
    """
    iterator = iter(items)
    end = object()
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(next, iterator, end) for _ in range(ahead)]
        while (item := waiting.pop(0).result()) is not end:
            waiting.append(pool.submit(next, iterator, end))
            yield item  # type: ignore[misc]
