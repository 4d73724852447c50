"""Independent pieces of work side by side: one Ray task each, results in order, failures named."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pipeline.cluster.place import Place, fetch_finished, place
from pipeline.cluster.session import Cluster, Watch, session, settings
from pipeline.progress import Meter, meter

Item = TypeVar("Item")
Result = TypeVar("Result")

_POLL_S = 1.0
_RETRIES = 3  # of a task whose worker died; an error that the task itself raises is not retried


def _none(item: Any) -> tuple[Path, ...]:
    return ()


def map_ordered(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    what: str,
    name: Callable[[Item], str] = str,
    reads: Callable[[Item], Iterable[Path]] = _none,
    makes: Callable[[Item], Iterable[Path]] = _none,
) -> list[Result]:
    """Apply `function` to every item, each in a process of its own, and return the results in the items' order.

    With no workers in cluster.yaml, or one item, it is a plain loop. `reads` and `makes` name the files and folders of
    the repository that are read and left for an item: a node that does not see the repository gets the ones and gives
    back the others.

    Raises:
        ValueError: at least one piece failed; the message names each with its error. All others were done.
    """
    if not items:
        return []
    cluster = settings()
    with meter(what, len(items)) as shown:
        if cluster.workers == 0 or len(items) == 1:
            results, failures = _loop(function, items, shown)
        else:
            with session(cluster), place(cluster) as here:
                pieces = [_Piece(item, tuple(reads(item)), tuple(makes(item))) for item in items]
                results, failures = _tasks(function, pieces, shown, cluster, here)
    if failures:
        named = [f"{name(items[i])}: {failures[i]}" for i in sorted(failures)]
        raise ValueError(f"{what}: {len(failures)} of {len(items)} failed: " + "; ".join(named))
    return [results[i] for i in range(len(items))]


def make_missing(
    function: Callable[[Item, Path], None],
    targets: Mapping[Path, Item],
    *,
    what: str,
    reads: Callable[[Item], Iterable[Path]],
) -> None:
    """Call `function(item, path)` for every target path that is not there yet, each in a process of its own.

    `function` writes its path whole or not at all, so that what is there is finished: a command that was killed, or of
    which a piece failed, makes only the rest when it is run again. `reads` names what it reads for an item.

    Raises:
        ValueError: at least one piece failed; the message names each with its error. All others were kept.
    """
    fetch_finished([path for path in targets if not path.exists()], settings())
    map_ordered(
        partial(_make, function),
        [(path, item) for path, item in targets.items() if not path.exists()],
        what=what,
        name=lambda one: one[0].stem,
        reads=lambda one: reads(one[1]),
        makes=lambda one: [one[0]],
    )


def paths_of(call: Any) -> list[Path]:
    """What a call reads, where it is named by its arguments: paths, mappings to paths, and objects with a `folder`."""
    named = [getattr(one, "folder", one) for one in call.args]
    each = [list(one.values()) if isinstance(one, Mapping) else [one] for one in named]
    return [one for some in each for one in some if isinstance(one, Path)]


def _make(function: Callable[[Item, Path], None], target: tuple[Path, Item]) -> None:
    path, item = target
    path.parent.mkdir(parents=True, exist_ok=True)
    function(item, path)


@dataclass(frozen=True)
class _Piece:
    """An item and what is read and made for it."""

    item: Any
    reads: tuple[Path, ...]
    makes: tuple[Path, ...]


def _apply(function: Callable, here: Place, piece: _Piece) -> tuple[Any, bool]:
    """The result, and whether what was made has to be fetched."""
    storage = here.enter()
    if storage is None:
        return function(piece.item), False
    for path in piece.reads:
        storage.get(path)
    result = function(piece.item)
    for path in piece.makes:
        storage.put(path)
    return result, True


def _loop(function: Callable, items: Sequence, shown: Meter) -> tuple[dict[int, Any], dict[int, str]]:
    results: dict[int, Any] = {}
    failures: dict[int, str] = {}
    for i, item in enumerate(items):
        try:
            results[i] = function(item)
        except ValueError as error:
            failures[i] = str(error)
        shown.show(i + 1)
    return results, failures


def _tasks(
    function: Callable, pieces: Sequence[_Piece], shown: Meter, cluster: Cluster, here: Place
) -> tuple[dict[int, Any], dict[int, str]]:
    import ray

    resources = {"num_cpus": cluster.cpus_per_worker, "num_gpus": cluster.gpus_per_worker}
    task = ray.remote(**resources, max_retries=_RETRIES)(_apply)
    shared = ray.put(function)  # once, with whatever it carries, instead of with every item
    waiting, sent = {}, set[Path]()
    for i, piece in enumerate(pieces):
        here.send(path for path in piece.reads if path not in sent)
        sent.update(piece.reads)
        waiting[task.remote(shared, here, piece)] = i
    results: dict[int, Any] = {}
    failures: dict[int, str] = {}
    watch = Watch(cluster, workers=1)
    while waiting:
        done, _ = ray.wait(list(waiting), num_returns=1, timeout=_POLL_S)
        if not done:
            watch.look()
            continue
        (ready,) = done
        i = waiting.pop(ready)
        try:
            results[i], is_elsewhere = ray.get(ready)
            here.fetch(pieces[i].makes if is_elsewhere else ())
        except ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, ValueError):
                raise
            failures[i] = str(error.cause)
        except ray.exceptions.RayError as error:
            reason = " ".join(str(error).split())[:300]
            failures[i] = f"its process died {_RETRIES + 1} times: {reason}"
        shown.show(len(pieces) - len(waiting))
    return results, failures
