"""Everything that is wrong with a folder of data, not only the first thing: sequences, their files, sets of images."""

import dataclasses
import glob
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from pipeline.data import motchallenge
from pipeline.data.crowds import CrowdFiles, crowd_tables
from pipeline.data.layout import Data, Split, read_layout
from pipeline.data.published import PublishedData
from pipeline.data.sequences import find_sequences, name_of, read_sequence


def faults_of_published(folder: Path, data: PublishedData) -> list[str]:
    """What a data set in `folder` lacks: splits, sequences, frames, ground truth, images of lists; nothing if whole."""
    found = []
    for name, count in data.sequences.items():
        split = cast(Split, name)
        found += _too_few(folder / split, count)
        settings = Data("MOT17", {split: split}, False, "*", (), None)
        if (folder / split).is_dir():
            found += [
                f"{path}: holds no seqinfo.ini, expected a sequence. Extract it again."
                for path in sorted((folder / split).iterdir())
                if path.is_dir() and not (path / "seqinfo.ini").is_file()
            ]
            found += faults_of_split(folder, split, settings, is_annotated=split != "test")
    return found + faults_of_crowds(folder.parent, data.crowds)


def faults_of_split(root: Path, split: Split, data: Data, *, is_annotated: bool) -> list[str]:
    """The faults of every sequence of a split below `root`, one line each.

    Checked are seqinfo.ini, the number of frames against it, whole images, their size, and, where `is_annotated`,
    the ground truth against the frames.
    """
    chosen = data.folders[split]
    if isinstance(chosen, str) and not (root / chosen).is_dir():
        return [f"{root / chosen}: no such folder, expected the {split} sequences. Link or copy the dataset there."]
    try:
        sequences = find_sequences(root, chosen, data.sequences)
    except ValueError as error:
        return [str(error)]
    return [line for one in sequences for line in dict.fromkeys(_faults_of_sequence(one, root, data, is_annotated))]


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


def _faults_of_sequence(place: Path, root: Path, data: Data, is_annotated: bool) -> Iterator[str]:
    """The faults of images and of ground truth, each of which may hide those behind it."""
    try:
        sequence = read_sequence(place, {})
    except ValueError as error:
        yield str(error)
        return
    if sequence.is_annotated:
        try:
            sequence.ground_truth()
        except ValueError as error:
            yield str(error)
    elif is_annotated:
        yield f"{sequence.annotations}: no such file, expected the ground truth. Extract the sequence again."
    split: Split = "train" if sequence.is_annotated else "test"
    pattern = glob.escape(str(place.with_name(name_of(place)).relative_to(root)))
    alone = Data(data.benchmark, {split: (pattern,)}, data.halves and split == "train", "*", (), None)
    try:
        read_layout(root, alone)
    except ValueError as error:
        yield str(error)


def _too_few(folder: Path, count: int) -> list[str]:
    if not folder.is_dir():
        return [f"{folder}: no such folder, expected {count} sequences. Fetch the data set again."]
    try:
        found = len(motchallenge.sequence_folders(folder))
    except ValueError:
        return []  # said by who reads the sequences
    return [] if found == count else [f"{folder}: {found} sequences, expected {count}. Fetch the data set again."]
