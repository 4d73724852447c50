"""`finetrack track --detections`: association alone, from MOTChallenge detection files to result files."""

from pathlib import Path
from typing import Any

from pipeline.commands import settings
from pipeline.data.motchallenge import Detections, Results, SequenceInfo, read_detections, read_seqinfo, write_results
from pipeline.data.split import Half, half_range, take_half
from pipeline.progress import meter
from pipeline.tracking.sequence import Tracking, track_sequence


def run(
    detections: Path,
    out: Path,
    *,
    seqinfo: Path | None = None,
    half: Half | None = None,
    association: str | None = None,
    **options: Any,
) -> int:
    """Track the sequence of a file, or each of a folder of `<sequence>.txt`, into `out`, a file or folder likewise.

    `seqinfo` is the sequence's seqinfo.ini or, for a folder, the folder that holds `<sequence>/seqinfo.ini`.

    Raises:
        ValueError: a file is missing or refused, a setting is refused, or `half` comes without `seqinfo`.
    """
    chosen = settings.tracking(Tracking(kind="bytetrack"), association=association, **options)
    if chosen.is_appearance_used:
        raise ValueError(
            "--association finetrack: found no embeddings beside detections, expected images. "
            "Give a SOURCE with models, or choose bytetrack or sort."
        )
    files = _files(detections, out, seqinfo)
    with meter("track", len(files)) as shown:
        for done, (file, info, target) in enumerate(files, start=1):
            track_file(file, target, info=None if info is None else read_seqinfo(info), half=half, settings=chosen)
            shown.show(done, file.stem)
    return 0


def track_file(
    detections: Path, out: Path, *, info: SequenceInfo | None, half: Half | None, settings: Tracking
) -> None:
    """Track one sequence; without `info` it ends with its last detection.

    Choice: without `info` the sequence's own frame rate, for `frame_rate: seqinfo`, is unknown and refused.
    """
    found, length = _part(read_detections(detections), detections, info, half)
    if settings.frame_rate == "seqinfo" and info is None:
        raise ValueError("frame_rate: found 'seqinfo' without --seqinfo, expected the file. Give it, or frames/s.")
    tracks = track_sequence(
        detections.stem,
        found.frames,
        found.boxes,
        found.scores,
        None,
        length=length,
        frame_rate=30.0 if info is None else info.frame_rate,
        settings=settings,
        kind=settings.kind,
    )
    write_results(out, Results(tracks.frames, tracks.identities, tracks.boxes, tracks.scores))


def _files(detections: Path, out: Path, seqinfo: Path | None) -> list[tuple[Path, Path | None, Path]]:
    """Detection file, seqinfo.ini and result file of each sequence."""
    if not detections.is_dir():
        return [(detections, seqinfo, out)]
    found = sorted(detections.glob("*.txt"))
    if not found:
        raise ValueError(f"{detections}: no .txt file, expected <sequence>.txt of detections. Correct the path.")
    return [(file, seqinfo and seqinfo / file.stem / "seqinfo.ini", out / file.name) for file in found]


def _part(found: Detections, where: Path, info: SequenceInfo | None, half: Half | None) -> tuple[Detections, int]:
    """What is to be tracked, and its number of frames."""
    last = int(found.frames.max(initial=1))
    if info is not None and last > info.frames:
        raise ValueError(f"{where}: frame {last}, expected at most {info.frames} by seqinfo.ini. Compare the two.")
    if half is None:
        return found, last if info is None else info.frames
    if info is None:
        raise ValueError(f"--half {half}: found no --seqinfo, expected the sequence's length from it. Give it.")
    return take_half(found, info.frames, half), max(len(half_range(info.frames, half)), 1)
