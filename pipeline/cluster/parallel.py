"""Independent pieces of work side by side: one Ray task each, results in order, failures named."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pipeline.cluster.session import Cluster, session, settings
from pipeline.progress import Meter, meter

Item = TypeVar("Item")
Result = TypeVar("Result")

_RETRIES = 3  # of a task whose worker died; an error that the task itself raises is not retried


def map_ordered(
    function: Callable[[Item], Result], items: Sequence[Item], *, what: str, name: Callable[[Item], str] = str
) -> list[Result]:
    """Apply `function` to every item, each in a process of its own, and return the results in the items' order.

    With no workers in cluster.yaml, or one item, it is a plain loop.

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
            with session(cluster):
                results, failures = _tasks(function, items, shown, cluster)
    if failures:
        named = [f"{name(items[i])}: {failures[i]}" for i in sorted(failures)]
        raise ValueError(f"{what}: {len(failures)} of {len(items)} failed: " + "; ".join(named))
    return [results[i] for i in range(len(items))]


def make_missing(function: Callable[[Item, Path], None], targets: Mapping[Path, Item], *, what: str) -> None:
    """Call `function(item, path)` for every target path that is not there yet, each in a process of its own.

    `function` writes its path whole or not at all, so that what is there is finished: a command that was killed, or of
    which a piece failed, makes only the rest when it is run again.

    Raises:
        ValueError: at least one piece failed; the message names each with its error. All others were kept.
    """
    missing = [(path, item) for path, item in targets.items() if not path.exists()]
    for path, _ in missing:
        path.parent.mkdir(parents=True, exist_ok=True)
    map_ordered(partial(_make, function), missing, what=what, name=lambda one: one[0].stem)


def _make(function: Callable[[Item, Path], None], target: tuple[Path, Item]) -> None:
    path, item = target
    function(item, path)


def _apply(function: Callable, item: Any) -> Any:
    return function(item)


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
    function: Callable, items: Sequence, shown: Meter, cluster: Cluster
) -> tuple[dict[int, Any], dict[int, str]]:
    import ray

    resources = {"num_cpus": cluster.cpus_per_worker, "num_gpus": cluster.gpus_per_worker}
    task = ray.remote(**resources, max_retries=_RETRIES)(_apply)
    shared = ray.put(function)  # once, with whatever it carries, instead of with every item
    waiting = {task.remote(shared, item): i for i, item in enumerate(items)}
    results: dict[int, Any] = {}
    failures: dict[int, str] = {}
    while waiting:
        (ready, *_), _ = ray.wait(list(waiting), num_returns=1)
        i = waiting.pop(ready)
        try:
            results[i] = ray.get(ready)
        except ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, ValueError):
                raise
            failures[i] = str(error.cause)
        except ray.exceptions.RayError as error:
            reason = " ".join(str(error).split())[:300]
            failures[i] = f"its process died {_RETRIES + 1} times: {reason}"
        shown.show(len(items) - len(waiting))
    return results, failures
