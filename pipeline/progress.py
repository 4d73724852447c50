"""How far long work has come: a bar in a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_LINE_EVERY_S = 15.0


class Meter:
    """Shows how many of `total` pieces are done. Made by `meter`."""

    def __init__(self, what: str, total: int, bar: Progress | None) -> None:
        self._what, self._total, self._bar = what, total, bar
        self._task = bar.add_task(what, total=total) if bar else None
        self._started = self._spoke = time.monotonic()

    def show(self, done: int, note: str = "") -> None:
        """Say that `done` pieces are finished; `note` is a few words such as the current loss."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, description=f"{self._what} {note}".strip())
            return
        now = time.monotonic()
        if now - self._spoke >= _LINE_EVERY_S or done >= self._total:
            self._spoke = now
            print(
                f"{self._what}: {done} of {self._total} after {now - self._started:.0f} s {note}".rstrip(),
                flush=True,
            )


@contextmanager
def meter(what: str, total: int) -> Iterator[Meter]:
    """A meter for `total` pieces of `what`, closed at the end of the block."""
    if not sys.stdout.isatty():
        yield Meter(what, total, None)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console()) as bar:
        yield Meter(what, total, bar)
