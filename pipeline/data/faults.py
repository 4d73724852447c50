"""Everything that is wrong with a folder of data, not only the first thing: sequences, their files, sets of images."""

import dataclasses
import glob
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.data import motchallenge
from pipeline.data.crowds import CrowdFiles, crowd_tables
from pipeline.data.layout import Data, Split, read_layout
from pipeline.data.published import PublishedData


def faults_of_published(folder: Path, data: PublishedData) -> list[str]:
    """What a data set in `folder` lacks: splits, sequences, frames, ground truth, images of lists; nothing if whole."""
    found = []
    for split, count in data.sequences.items():
        found += _too_few(folder / split, count)
        settings = Data("MOT17", {"train": split}, False, "*", (), None)
        if (folder / split).is_dir():
            found += faults_of_split(folder / split, settings, is_annotated=split != "test")
    return found + faults_of_crowds(folder.parent, data.crowds)


def faults_of_split(folder: Path, data: Data, *, is_annotated: bool) -> list[str]:
    """The faults of every sequence of `data` in the folder of one split, one line each.

    Checked are seqinfo.ini, the number of frames against it, whole images, their size, and, where `is_annotated`,
    gt.txt against the frames.
    """
    found = [f"{path}: holds no seqinfo.ini, expected a sequence. Extract it again." for path in _bare(folder, data)]
    try:
        sequences = motchallenge.sequence_folders(folder)
    except ValueError as error:
        return [*found, str(error)]
    for sequence in sequences:
        if sequence.match(data.sequences):
            found += dict.fromkeys(_faults_of_sequence(sequence, data, is_annotated=is_annotated))
    return found


def faults_of_crowds(root: Path, crowds: Mapping[str, CrowdFiles]) -> list[str]:
    """The first fault of each list of each set of single images below `root`."""
    found = []
    for name, files in crowds.items():
        for one in files.lists:
            try:
                crowd_tables(root, {name: dataclasses.replace(files, lists=(one,))})
            except ValueError as error:
                found.append(str(error))
    return found


def _faults_of_sequence(folder: Path, data: Data, *, is_annotated: bool) -> Iterator[str]:
    """The faults of images and of ground truth, each of which may hide those behind it."""
    annotations = folder / "gt" / "gt.txt"
    if is_annotated and not annotations.is_file():
        yield f"{annotations}: no such file, expected the ground truth. Extract the sequence again."
    split: Split = "train" if annotations.is_file() else "test"
    is_halved = data.halves and split == "train"
    alone = Data(data.benchmark, {split: folder.parent.name}, is_halved, glob.escape(folder.name), (), None)
    try:
        info = motchallenge.read_seqinfo(folder / "seqinfo.ini")
    except ValueError as error:
        yield str(error)
        return
    if annotations.is_file():
        try:
            motchallenge.read_ground_truth(annotations, frames=info.frames)
        except ValueError as error:
            yield str(error)
    try:
        read_layout(folder.parent.parent, alone)
    except ValueError as error:
        yield str(error)


def _bare(folder: Path, data: Data) -> list[Path]:
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and path.match(data.sequences) and not (path / "seqinfo.ini").is_file()
    ]


def _too_few(folder: Path, count: int) -> list[str]:
    if not folder.is_dir():
        return [f"{folder}: no such folder, expected {count} sequences. Fetch the data set again."]
    try:
        found = len(motchallenge.sequence_folders(folder))
    except ValueError:
        return []  # said by who reads the sequences
    return [] if found == count else [f"{folder}: {found} sequences, expected {count}. Fetch the data set again."]
