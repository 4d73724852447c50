"""The half split against the counts of ByteTrack's converted files: TrackEval issue #108, measured totals."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.data import motchallenge
from pipeline.data.split import Half, half_range, take_half

# sequence, then frames, identities and boxes of the pedestrians that count
TRAIN = {
    "02": (301, 42, 8701),
    "04": (526, 62, 23379),
    "05": (419, 68, 3560),
    "09": (263, 17, 2446),
    "10": (328, 44, 6916),
    "11": (451, 41, 4919),
    "13": (376, 85, 8486),
}
VAL = {
    "02": (299, 53, 9880),
    "04": (524, 69, 24178),
    "05": (418, 71, 3357),
    "09": (262, 22, 2879),
    "10": (326, 36, 5923),
    "11": (449, 44, 4517),
    "13": (374, 44, 3156),
}


def counts(folder: Path, half: Half) -> tuple[int, int, int]:
    info = motchallenge.read_seqinfo(folder / "seqinfo.ini")
    rows = take_half(motchallenge.read_ground_truth(folder / "gt/gt.txt", frames=info.frames), info.frames, half)
    counted = rows.considered & (rows.categories == 1)
    return len(half_range(info.frames, half)), len(np.unique(rows.identities[counted])), int(counted.sum())


@pytest.mark.parametrize(("half", "expected"), [("train", TRAIN), ("val", VAL)])
def test_mot17_halves_have_bytetracks_frames_identities_and_boxes(shared: Path, half: Half, expected: dict) -> None:
    folders = motchallenge.sequence_folders(shared / "data/mot17/train")
    assert {folder.name[6:8]: counts(folder, half) for folder in folders} == expected
