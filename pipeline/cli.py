"""The `finetrack` command: what is typed becomes a call of `pipeline.commands`, what goes wrong an exit code.

Nothing heavy is imported before a call is known, so that help comes at once.
"""

import argparse
import platform
import runpy
import sys
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_EPILOG = "exit codes: 0 done, 1 the run failed or was interrupted, 2 bad usage or input"
_DATASETS = ("mot17", "mot20", "dancetrack", "crowdhuman", "cityperson", "ethz")
_FILES_ONLY, _MODELS_ONLY = (
    ("seqinfo", "half"),
    ("run", "variant", "seed", "detector", "size", "convention", "input_size", "reid", "render"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one call and return its exit code: 0, 1 where the run failed, 2 where what was given is wrong."""
    given = vars(_parser().parse_args(arguments))
    call = given.pop("call")
    try:
        return call(**given)
    except ValueError as error:
        code, reason = 2, str(error)
    except OSError as error:
        code, reason = 1, str(error)
    except KeyboardInterrupt:
        code, reason = 1, "interrupted"
    print(f"finetrack: {reason}", file=sys.stderr)
    return code


class _Version(argparse.Action):
    """Prints versions when asked, which a plain `version` action would look up every time."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        print(versions())
        parser.exit()


def versions() -> str:
    """What a bug report should open with: this package, Python, each package that computes, system and CUDA.

    Nothing of them is imported: torch alone would take a second.
    """
    lines = [f"finetrack {_version('finetrack-pipeline')}", f"python {platform.python_version()}"]
    packages = {"opencv": "opencv-python"}
    names = ("torch", "ray", "dvc", "numpy", "opencv", "trackeval")
    lines += [f"{name} {_version(packages.get(name, name))}" for name in names]
    return "\n".join([*lines, f"platform {platform.platform()}", f"cuda {_cuda()}"])


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cuda() -> str:
    """Whether torch is built for CUDA, by the file in which its build says so, and the GPUs that the system shows."""
    torch = find_spec("torch")
    written = torch and torch.origin and Path(torch.origin).with_name("version.py")
    built = runpy.run_path(str(written)).get("cuda") if written and written.is_file() else None
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    return f"{built or 'no'}, NVIDIA devices: {gpus}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("finetrack", description="Multi-object tracking with FineTrack.", epilog=_EPILOG)
    parser.add_argument("--version", action=_Version, nargs=0, dest=argparse.SUPPRESS, help="print versions and exit")
    calls = parser.add_subparsers(required=True, metavar="CALL")
    for add in (
        _add_fetch,
        _add_plan,
        _add_track,
        _add_score,
        _add_compare,
        _add_export,
        _add_submit,
        _add_send,
        _add_collect,
    ):
        add(calls)
    return parser


def _add_fetch(calls: Any) -> None:
    parser = calls.add_parser(
        "fetch",
        help="download and check a public data set",
        description="Download, unpack and check a public data set, or check what is there. Sets of single images "
        "(crowdhuman, cityperson, ethz) go into the folder that is given as SOURCE, beside train.",
        epilog=_EPILOG,
    )
    parser.set_defaults(call=_fetch)
    parser.add_argument("dataset", choices=_DATASETS)
    parser.add_argument("--into", type=Path, required=True, metavar="DIR", help="folder that gets the data set's own")
    parser.add_argument("--verify", action="store_true", help="only check what is there")
    parser.add_argument("--keep", action="store_true", help="keep the archives")


def _add_plan(calls: Any) -> None:
    parser = calls.add_parser(
        "plan",
        help="check what an experiment needs before it runs",
        description="Check data, packages, devices and disk, and estimate time and disk. Changes nothing.",
        epilog=_EPILOG,
    )
    parser.set_defaults(call=_plan)
    parser.add_argument("experiments", metavar="EXPERIMENT", nargs="*", help="default: those that params.yaml chooses")
    parser.add_argument("--source", type=Path, metavar="DIR", help="data set, as `make repro SOURCE=` takes it")
    parser.add_argument("--detections", type=Path, metavar="DIR", help="as `make repro DETECTIONS=` takes it")
    parser.add_argument("--embeddings", type=Path, metavar="DIR", help="as `make repro EMBEDDINGS=` takes it")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="as `make repro WEIGHTS=` takes it")


def _add_track(calls: Any) -> None:
    parser = calls.add_parser(
        "track",
        help="track a video, images or detections",
        description="Track a video file, a folder of images or a MOTChallenge sequence folder with trained models, "
        "or link the detections of a MOTChallenge detection file.",
        epilog=_EPILOG,
    )
    parser.set_defaults(call=_track)
    parser.add_argument("source", metavar="SOURCE", nargs="?", type=Path, help="video, folder of images or sequence")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder; with --detections what that is: file or folder"
    )

    models = parser.add_argument_group("with SOURCE")
    models.add_argument(
        "--run", type=Path, metavar="runs/EXPERIMENT", help="take the models that an experiment trained"
    )
    models.add_argument("--variant", help="of --run: a row of its results (default: finetrack)")
    models.add_argument("--seed", type=int, help="of --run: the seed of that row (default: 0)")
    models.add_argument(
        "--detector", type=Path, metavar="PATH", help="instead of --run: model folder, or YOLOX checkpoint with all of:"
    )
    models.add_argument("--size", choices=("nano", "tiny", "s", "m", "l", "x"), help="of a checkpoint file: its model")
    models.add_argument(
        "--convention", choices=("bytetrack", "yolox011"), help="of a checkpoint file: how its input is scaled"
    )
    models.add_argument("--input-size", type=int, nargs=2, metavar=("H", "W"), help="of a checkpoint file: its input")
    models.add_argument(
        "--reid", type=Path, metavar="FOLDER", help="model folder beside --detector; none: no appearance"
    )
    models.add_argument("--render", action="store_true", help="write tracks.mp4 too: boxes, identities, trails")

    files = parser.add_argument_group("with detections")
    files.add_argument(
        "--detections", type=Path, metavar="FILE", help="frame,id,x,y,w,h,score,...; or a folder of such"
    )
    files.add_argument("--seqinfo", type=Path, metavar="FILE", help="seqinfo.ini; of a folder: the data set's folder")
    files.add_argument("--half", choices=("train", "val"), help="keep one half of the sequence, counted from 1")

    settings = parser.add_argument_group("settings of both")
    settings.add_argument("--association", help="finetrack, bytetrack or sort (default: by the models, or bytetrack)")
    settings.add_argument("--set", dest="values", action="append", default=[], metavar="NAME=VALUE")
    settings.add_argument("--frame-rate", metavar="X", help="frames/s that scale the buffer; seqinfo: the source's own")
    settings.add_argument("--interpolate", action="store_true", help="fill short gaps afterwards; no longer online")
    settings.add_argument("--no-filter", action="store_true", help="write small and wide boxes too")


def _add_score(calls: Any) -> None:
    parser = calls.add_parser(
        "score",
        help="score result files against ground truth",
        description="Score the result files of any tracker against MOTChallenge ground truth.",
        epilog=_EPILOG,
    )
    parser.set_defaults(call=_score)
    parser.add_argument("--gt", type=Path, required=True, metavar="DIR", help="folder of sequence folders")
    parser.add_argument("--tracks", type=Path, required=True, metavar="DIR", help="folder of <sequence>.txt")
    parser.add_argument(
        "--half", choices=("train", "val"), help="score one half; the tracks' frames count from 1 in it"
    )
    parser.add_argument("--sequences", metavar="GLOB", help="score only sequences with such a name")
    parser.add_argument("--benchmark", choices=("MOT15", "MOT16", "MOT17", "MOT20", "DanceTrack"),
                        help="whose rules (default: as the sequences are named, else MOT17)")  # fmt: skip
    parser.add_argument("--evaluator", choices=("trackeval", "motmetrics"), default="trackeval")
    parser.add_argument("--out", type=Path, metavar="FILE.parquet", help="write the rows too")


def _add_compare(calls: Any) -> None:
    parser = calls.add_parser(
        "compare",
        help="results side by side, with differences",
        description="Put results side by side. Differences are to the first; a * is one beyond the spread over seeds.",
        epilog=_EPILOG,
    )
    parser.set_defaults(call=_compare)
    parser.add_argument("sources", metavar="A B", nargs="+", help="report folder, table, Git revision, or `paper`")
    parser.add_argument("--format", choices=("table", "markdown", "latex", "parquet"), default="table")
    parser.add_argument("--full", action="store_true", help="show single sequences and seeds too")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there instead of printing")


def _add_export(calls: Any) -> None:
    parser = calls.add_parser(
        "export",
        help="ground truth, detections, tracks and embeddings for other tools",
        description="Write the ground truth, detections and tracks of an experiment as COCO JSON, MOTChallenge text "
        "or Parquet, which has the embeddings too.",
        epilog=_EPILOG,
    )
    parser.set_defaults(call=_export)
    parser.add_argument("--run", type=Path, required=True, metavar="runs/EXPERIMENT")
    parser.add_argument("--format", choices=("coco", "parquet", "mot"), required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")


def _add_submit(calls: Any) -> None:
    parser = calls.add_parser(
        "submit",
        help="make the zip for the benchmark's server",
        description="Zip an experiment's result files as the server of MOT17, MOT20 or DanceTrack takes them.",
        epilog=_EPILOG,
    )
    parser.set_defaults(call=_submit)
    parser.add_argument("--run", type=Path, required=True, metavar="runs/EXPERIMENT")
    parser.add_argument("--variant", default="finetrack")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="FILE.zip", help="default: submission/ in the run's folder")


def _add_send(calls: Any) -> None:
    parser = calls.add_parser(
        "send",
        help="hand a sweep's inputs to a cluster",
        description="Store what the trials of a sweep read where the jobs of a cluster take it (docs/cluster.md).",
        epilog=_EPILOG,
    )
    parser.set_defaults(call=_send)
    parser.add_argument("sweep", metavar="SWEEP", help="sweep of params.yaml")
    parser.add_argument("--to", required=True, metavar="URL", help="s3://bucket/prefix, or a folder that all nodes see")


def _add_collect(calls: Any) -> None:
    parser = calls.add_parser(
        "collect",
        help="bring a sweep's tables home from a cluster",
        description="Bring the table and page of a sweep that a cluster ran home, checked, whole or not at all.",
        epilog=_EPILOG,
    )
    parser.set_defaults(call=_collect)
    parser.add_argument("url", metavar="URL", help="the storage to which the sweep was sent")
    parser.add_argument("--into", type=Path, required=True, metavar="reports/sweeps/SWEEP")
    parser.add_argument("--replace", action="store_true", help="put it in the place of another one there")


def _fetch(**given: Any) -> int:
    from pipeline.commands import fetch

    return fetch.run(**given)


def _plan(**given: Any) -> int:
    from pipeline.commands import plan

    return plan.run(**given)


def _track(*, source: Path | None, detections: Path | None, out: Path, **given: Any) -> int:
    if (source is None) == (detections is None):
        raise ValueError("track: found both or neither of SOURCE and --detections, expected one. Give one.")
    unused = [name for name in (_MODELS_ONLY if source is None else _FILES_ONLY) if given[name] not in (None, False)]
    if unused:
        wanted = "SOURCE" if source is None else "--detections"
        raise ValueError(f"track: found --{unused[0].replace('_', '-')}, expected it with {wanted} only. Leave it out.")
    names = ("association", "values", "frame_rate", "interpolate", "no_filter")
    settings = {name: given[name] for name in names}
    if source is not None:
        from pipeline.commands import track

        return track.run(source, out, **{name: given[name] for name in _MODELS_ONLY}, **settings)
    from pipeline.commands import associate

    return associate.run(detections, out, seqinfo=given["seqinfo"], half=given["half"], **settings)  # type: ignore[arg-type]


def _score(**given: Any) -> int:
    from pipeline.commands import score

    return score.run(**given)


def _compare(**given: Any) -> int:
    from pipeline.commands import compare

    return compare.run(**given)


def _export(**given: Any) -> int:
    from pipeline.commands import export

    return export.run(**given)


def _submit(**given: Any) -> int:
    from pipeline.commands import submit

    return submit.run(**given)


def _send(**given: Any) -> int:
    from pipeline.commands import send

    return send.run(**given)


def _collect(**given: Any) -> int:
    from pipeline.commands import collect

    return collect.run(**given)


if __name__ == "__main__":
    sys.exit(main())
