"""Training loops on Ray Train: a group of workers, restarted from the last checkpoint when one dies."""

import dataclasses
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pipeline.cluster.place import Place, place
from pipeline.cluster.session import Cluster, Watch, scratch, session, settings
from pipeline.entry import refusals_in_a_line
from pipeline.progress import Meter, meter
from pipeline.storage import Storage
from pipeline.training.worker import Worker

_RESTARTS = 2  # of a group in which a worker died
_POLL_S = 1.0


def train(
    loop: Callable[[Worker], None], *, what: str, total: int, reads: Sequence[Path], makes: Sequence[Path]
) -> None:
    """Run `loop` on every worker of cluster.yaml; `total` is the sum of what the runs tell as their totals.

    The loop keeps its own checkpoints and resumes from them, so a restarted group, and a restarted command, go on where
    the last one stopped. Ray's run folder is temporary: a finished run is never mistaken for another.

    `reads` are the files and folders of the repository that all workers read, `makes` the folders in which runs keep
    checkpoints and results. Where a node does not see the repository, all workers take these from the storage and keep
    them there, so that all start from the same checkpoint, whichever node the last one was made on; what the storage
    holds then counts more than what is here, and the driver gets them in the end.

    Raises:
        ValueError: the loop raised it (it is not tried again), or workers died more often than can be mended.
    """
    cluster = settings()
    with meter(what, total) as shown:
        if cluster.workers == 0:
            loop(Worker.local(tell=_Tally(shown)))
            return
        with session(cluster), place(cluster) as here:
            here.send([*reads, *(path for path in makes if path.exists() and not here.holds(path))])
            _fit(loop, cluster, what, shown, here=here, reads=reads)
            here.fetch(makes)


class _Tally:
    """Adds up what several runs tell and shows the sum."""

    def __init__(self, shown: Meter) -> None:
        self._shown, self._done = shown, dict[str, int]()

    def __call__(self, run: str, done: int, total: int, note: str) -> None:
        self._done[run] = done
        self._shown.show(sum(self._done.values()), f"{run} {note}")


class _Board:
    """The actor to which workers tell their progress, and the reason for which they gave up."""

    def __init__(self) -> None:
        self._told: list[tuple[str, int, int, str]] = []
        self._refusal: str | None = None

    def tell(self, run: str, done: int, total: int, note: str) -> None:
        self._told.append((run, done, total, note))

    def told(self) -> list[tuple[str, int, int, str]]:
        told, self._told = self._told, []
        return told

    def refuse(self, reason: str) -> None:
        self._refusal = self._refusal or reason

    def refusal(self) -> str | None:
        return self._refusal


def _fit(
    loop: Callable[[Worker], None], cluster: Cluster, what: str, shown: Meter, *, here: Place, reads: Sequence[Path]
) -> None:
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    board = ray.remote(num_cpus=0, max_restarts=-1)(_Board).remote()
    with scratch() as storage:
        trainer = TorchTrainer(
            _on_worker,
            train_loop_config={"loop": loop, "board": board, "here": here, "reads": reads},
            scaling_config=ScalingConfig(
                num_workers=cluster.workers,
                use_gpu=cluster.gpus_per_worker > 0,
                resources_per_worker={"CPU": cluster.cpus_per_worker, "GPU": cluster.gpus_per_worker},
            ),
            run_config=RunConfig(
                storage_path=str(storage),
                name="group",
                failure_config=FailureConfig(max_failures=_RESTARTS, controller_failure_limit=2),
            ),
        )
        try:
            _run(trainer.fit, board, _Tally(shown), Watch(cluster, cluster.workers))
        except ray.train.TrainingFailedError as error:
            reason = ray.get(board.refusal.remote())
            if reason is None:
                raise ValueError(
                    f"{what}: workers died {_RESTARTS + 1} times: {error}. Checkpoints are kept; run again."
                ) from error
            raise ValueError(reason) from None


def _on_worker(config: dict[str, Any]) -> None:
    import ray
    import ray.train
    from ray.train.torch import get_device, prepare_model

    board, here = config["board"], config["here"]
    if reason := ray.get(board.refusal.remote()):
        raise ValueError(reason)  # a restarted group would only meet it again
    context = ray.train.get_context()
    worker = Worker(
        rank=context.get_world_rank(),
        world=context.get_world_size(),
        device=get_device(),
        wrap=prepare_model,
        total=_summed,
        tell=lambda *news: board.tell.remote(*news),
    )
    try:
        with refusals_in_a_line(Path("runs")):
            if here.enter():
                here.fetch(config["reads"])
            if here.storage:
                worker = dataclasses.replace(worker, keep=here.storage.put, bring=partial(_bring, here.storage))
            config["loop"](worker)
    except ValueError as error:
        ray.get(board.refuse.remote(str(error)))
        raise


def _bring(storage: Storage, path: Path) -> None:
    """Make a folder what the storage holds, which is nothing before a worker kept it, so that all workers agree."""
    if storage.has(path):
        storage.get(path)
    elif path.exists():
        shutil.rmtree(path)


def _summed(value: torch.Tensor) -> torch.Tensor:
    result = value.detach().clone()
    torch.distributed.all_reduce(result)
    return result


def _run(fit: Callable[[], Any], board: Any, tally: _Tally, watch: Watch) -> None:
    """Run `fit` in a thread of its own while this one shows progress and watches over the nodes.

    In the main thread Ray would catch Ctrl-C, then and ever after, and exit with success; here it interrupts.
    """
    import ray

    errors: list[BaseException] = []

    def run() -> None:
        try:
            fit()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_POLL_S)
        watch.look()
        with suppress(ray.exceptions.RayError):  # the board may be on a node that died: progress is not worth the run
            for news in ray.get(board.told.remote()):
                tally(*news)
    if errors:
        raise errors[0]
