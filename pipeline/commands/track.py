"""`finetrack track SOURCE`: pixels to tracks with trained models, frame by frame."""

import contextlib
import dataclasses
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from pipeline import params
from pipeline.commands import settings
from pipeline.commands.rows import written_rows
from pipeline.inference.detect import Postprocess
from pipeline.inference.online import Detector, Seen, Watcher
from pipeline.inference.video import Clip, open_clip, written_video
from pipeline.progress import meter
from pipeline.reports.drawing import Trails, draw
from pipeline.tracking.sequence import Tracking, are_written
from pipeline.tracking.tracker import Tracker

Linked = tuple[np.ndarray, np.ndarray, np.ndarray]  # identities, boxes, scores

_BASELINES = ("bytetrack", "sort")


@dataclass(frozen=True)
class Models:
    """A detector, the folder of a Re-ID head, and the settings that they come with."""

    detector: Detector
    reid: Path | None
    postprocess: Postprocess
    tracking: Tracking


def run(
    source: Path,
    out: Path,
    *,
    run: Path | None,
    variant: str | None,
    seed: int | None,
    detector: Path | None,
    reid: Path | None,
    size: str | None,
    convention: str | None,
    input_size: Sequence[int] | None,
    render: bool,
    **options: Any,
) -> int:
    """Track `source` into `out`: tracks.txt, tracks.parquet and, with `render`, tracks.mp4.

    After Ctrl-C the files hold all frames until then, and the exit code is 1.

    Raises:
        ValueError: source, models or settings are missing or refused.
    """
    if (run is None) == (detector is None):
        raise ValueError("track: found both or neither of --run and --detector, expected one. Give one.")
    beside: dict[str, object] = {"--reid": reid, "--size": size, "--convention": convention, "--input-size": input_size}
    other, wanted = "--run", "--detector"
    if run is None:
        beside, other, wanted = {"--variant": variant, "--seed": seed}, wanted, other
    for option in (option for option, value in beside.items() if value is not None):
        raise ValueError(f"track: found {option} with {other}, expected it with {wanted}. Leave one out.")
    if run is not None:
        models = models_of_run(run, variant or "finetrack", seed or 0)
    elif detector is not None:
        opened = open_detector(detector, size=size, convention=convention, input_size=input_size)
        models = Models(opened, reid, Postprocess(), Tracking(kind="bytetrack" if reid is None else "finetrack"))
    chosen = settings.tracking(models.tracking, **options)
    _refuse_offline(chosen, models)
    clip = open_clip(source)
    watcher = Watcher(models.detector, models.reid if chosen.is_appearance_used else None, models.postprocess)
    return _follow(clip, watcher, chosen, out, is_rendered=render)


def models_of_run(run: Path, variant: str, seed: int) -> Models:
    """The models that an experiment trained for one row of its results, with its settings in params.yaml.

    Raises:
        ValueError: the experiment has no such row, or params.yaml no such experiment.
    """
    path = run.parent.parent / params.PARAMS
    tracking = params.section(run.name, "track", Tracking, path=path)
    postprocess = params.section(run.name, "detect.postprocess", Postprocess, path=path)
    detector = Detector.of_folder(run / "detector")
    if variant in _BASELINES:
        return Models(detector, None, postprocess, dataclasses.replace(tracking, kind=variant))
    reid = run / "reid" / variant / f"seed{seed}"
    if not reid.is_dir():
        known = [str(one.relative_to(run / "reid")) for one in sorted(run.glob("reid/*/seed*"))]
        raise ValueError(
            f"{reid}: no such folder, expected one of {[*known, *_BASELINES]}. Choose one, or `dvc repro`."
        )
    return Models(detector, reid, postprocess, tracking)


def open_detector(path: Path, **given: Any) -> Detector:
    """A model folder, or a checkpoint file with its `size`, `convention` and `input_size` (height, width).

    Raises:
        ValueError: a file came without one of them, a folder with one, or the path holds no detector.
    """
    options = [f"--{name.replace('_', '-')}" for name in given]
    missing = [option for option, value in zip(options, given.values(), strict=True) if value is None]
    if path.is_file() and missing:
        raise ValueError(
            f"{path}: found no {', '.join(missing)}, expected them with a checkpoint file, which does not say how its "
            "input is made. Give those that it was trained with."
        )
    if path.is_file():
        return Detector.of_checkpoint(path, **{**given, "input_size": tuple(given["input_size"])})
    if len(missing) < len(options):
        found = next(option for option in options if option not in missing)
        raise ValueError(
            f"{path}: found {found}, expected it with a checkpoint file only. Leave it out, or correct the path."
        )
    return Detector.of_folder(path)


def _refuse_offline(chosen: Tracking, models: Models) -> None:
    for name in ("interpolate", "overrides"):
        if getattr(chosen, name):
            raise ValueError(f"{name}: found true, expected false for a SOURCE, tracked online. `--set {name}=false`.")
    if chosen.is_appearance_used and models.reid is None:
        raise ValueError("--association finetrack: found no Re-ID model, expected one. Give --reid, or bytetrack.")


def _follow(clip: Clip, watcher: Watcher, chosen: Tracking, out: Path, *, is_rendered: bool) -> int:
    tracker = Tracker(chosen, clip.frame_rate if chosen.frame_rate == "seqinfo" else chosen.frame_rate)
    trails, started, frame = Trails(), time.monotonic(), 0
    with contextlib.ExitStack() as opened:
        interrupt = opened.enter_context(_noted_interrupt())  # first, so that it covers the closing of the files
        rows = opened.enter_context(written_rows(out, clip.name))
        video = written_video(out / "tracks.mp4", size=clip.size, frame_rate=clip.frame_rate) if is_rendered else None
        show = None if video is None else opened.enter_context(video)
        shown = opened.enter_context(meter(f"track {clip.name}", clip.frames))
        watching = opened.enter_context(contextlib.closing(watcher.watch(clip.read(), chosen.low_threshold)))
        for frame, seen in enumerate(watching, start=1):
            identities, boxes, scores = _linked(tracker, seen, chosen, frame)
            rows.add(frame, identities, boxes, scores)
            if show is not None:
                trails.update(identities, boxes)
                draw(seen.image, identities, boxes, trails)
                show(seen.image)
            shown.show(frame)
            if interrupt.is_set():
                break
    speed = frame / (time.monotonic() - started)
    print(f"{out}: {rows.written} boxes in {frame} frames, {speed:.1f} frames/s")
    if interrupt.is_set():
        raise KeyboardInterrupt
    return 0


def _linked(tracker: Tracker, seen: Seen, chosen: Tracking, frame: int) -> Linked:
    """The frame's tracks that are written, by identity; the filter is that of result files."""
    try:
        tracks = tracker.update(seen.boxes, seen.scores, seen.embeddings)
    except ValueError as error:
        raise ValueError(f"frame {frame}: {error}") from error
    order = np.argsort(tracks.identities, kind="stable")
    order = order[are_written(tracks.boxes, chosen)[order]]
    return tracks.identities[order], tracks.boxes[order], tracks.scores[order]


@contextlib.contextmanager
def _noted_interrupt() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C in the block, so that a frame is finished; the second interrupts as ever."""
    came = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        came.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)
