"""`finetrack fetch`: a public data set downloaded, unpacked and checked, or what is there already checked."""

import shutil
from pathlib import Path

from pipeline.data.archives import unpack
from pipeline.data.downloads import download
from pipeline.data.faults import faults_of_published
from pipeline.data.published import PUBLISHED, PublishedData, PublishedFile
from pipeline.folders import replacing_folder


def run(dataset: str, into: Path, verify: bool, keep: bool) -> int:
    """Bring a data set below `into` unless it is there, then check all of it; 1 if anything is wrong or to be done.

    Archives gather in `into` itself and are deleted once unpacked, unless `keep`. A data set comes into place whole or
    not at all.

    Raises:
        ValueError: a server, an archive or the disk refuses; the message says which and what to do.
        OSError: the connection broke for good; what came is kept.
    """
    data = PUBLISHED[dataset]
    folder = into / data.folder
    if not verify and not folder.exists():
        print(f"{dataset}: {data.page}\nterms: {data.terms}")
        if by_hand := _by_hand(into, data):
            print(by_hand)
            return 1
        _fetch(into, data, keep=keep)
    return _checked(dataset, folder, data)


def _by_hand(into: Path, data: PublishedData) -> str:
    """What to do in a browser before the rest can be done, if anything."""
    missing = [one for one in data.files if one.url is None and not (into / one.name).is_file()]
    lines = [
        f"\n{one.name} must be fetched by hand. {one.by_hand}\n  Then: put it at {into / one.name}" for one in missing
    ]
    return "\n".join([*lines, "\nand give this command again."]) if lines else ""


def _fetch(into: Path, data: PublishedData, *, keep: bool) -> None:
    for one in data.files:
        if one.url is not None:
            download(one.url, into / one.name, size=one.size, sha256=one.sha256)
    with replacing_folder(into / data.folder) as new:
        for one in data.files:
            _place(one, into / one.name, new)
    if not keep:
        for one in data.files:
            (into / one.name).unlink()


def _place(one: PublishedFile, file: Path, folder: Path) -> None:
    if not one.keep:
        shutil.copyfile(file, folder / one.name)
    elif unpack(file, folder, one.place) == 0:
        raise ValueError(
            f"{file}: holds nothing below {' or '.join(one.keep)}, expected {one.name} of its page. Fetch it again."
        )


def _checked(dataset: str, folder: Path, data: PublishedData) -> int:
    found = faults_of_published(folder, data) if folder.is_dir() else [f"{folder}: no such folder. Fetch {dataset}."]
    for line in found:
        print(line)
    print(f"{folder}: {f'{len(found)} fault' + 's' * (len(found) > 1) if found else 'whole'}")
    return 1 if found else 0
