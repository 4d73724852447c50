"""Public data sets: where their files are published, under which terms, and how they lie on disk here.

Sizes and digests stand here only where the publisher's server states them; None is "not published", and what the
server announces with the file is checked instead. motchallenge.net states the size of MOT17.zip, huggingface.co the
size and SHA-256 of every large file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import PurePosixPath

from pipeline.data.crowds import CrowdFiles

_MOT_TERMS = "CC BY-NC-SA 3.0: research, not commercial (motchallenge.net)"
_DANCE = "https://huggingface.co/datasets/noahcao/dancetrack/resolve/main"
_CROWD = "https://huggingface.co/datasets/sshao0516/CrowdHuman/resolve/main"
_JDE = "https://raw.githubusercontent.com/Zhongdao/Towards-Realtime-MOT/master"
_DRIVE = "https://drive.google.com/file/d"


@dataclass(frozen=True)
class PublishedFile:
    """A file of a data set.

    `url` is where it is fetched, None where a browser must; `by_hand` then says how. Of an archive, the files whose
    path has a part that matches one of `keep` are placed below `into`, from that part on; with `keep` empty it is no
    archive and is kept as it is.
    """

    name: str
    url: str | None = None
    keep: tuple[str, ...] = ()
    into: str = ""
    size: int | None = None
    sha256: str | None = None
    by_hand: str = ""

    def place(self, path: PurePosixPath) -> PurePosixPath | None:
        """Where a file of the archive lies below the data set's folder.

        >>> PublishedFile("val.zip", keep=("dancetrack0*",), into="val").place(PurePosixPath("x/dancetrack0004/gt.txt"))
        PurePosixPath('val/dancetrack0004/gt.txt')
        """
        for index, part in enumerate(path.parts):
            if part == "__MACOSX":  # what macOS adds beside the files
                return None
            if any(fnmatch(part, pattern) for pattern in self.keep):
                return PurePosixPath(self.into, *path.parts[index:])
        return None


@dataclass(frozen=True)
class PublishedData:
    """A data set: its folder below the one that the user names, its home, terms, files, and what they must hold.

    `sequences` counts those of each split, `crowds` describes sets of single images relative to the folder's parent.
    """

    folder: str
    page: str
    terms: str
    files: tuple[PublishedFile, ...]
    sequences: Mapping[str, int] = field(default_factory=dict)
    crowds: Mapping[str, CrowdFiles] = field(default_factory=dict)


PUBLISHED: Mapping[str, PublishedData] = {
    "mot17": PublishedData(
        folder="MOT17",
        page="https://motchallenge.net/data/MOT17/",
        terms=_MOT_TERMS,
        files=(
            PublishedFile(
                "MOT17.zip", "https://motchallenge.net/data/MOT17.zip", keep=("train", "test"), size=5_860_214_001
            ),
        ),
        sequences={"train": 7, "test": 7},  # each three times; see motchallenge.sequence_folders
    ),
    "mot20": PublishedData(
        folder="MOT20",
        page="https://motchallenge.net/data/MOT20/",
        terms=_MOT_TERMS,
        files=(PublishedFile("MOT20.zip", "https://motchallenge.net/data/MOT20.zip", keep=("train", "test")),),
        sequences={"train": 4, "test": 4},
    ),
    "dancetrack": PublishedData(
        folder="DanceTrack",
        page="https://github.com/DanceTrack/DanceTrack",
        terms="annotations CC BY 4.0; images for non-commercial research only",
        files=(
            PublishedFile(
                "train1.zip",
                f"{_DANCE}/train1.zip",
                ("dancetrack0*",),
                "train",
                size=3_606_300_312,
                sha256="70a66f10d8d71df94d03059fc4f966cb719e61e8e7136d2886fd6345ed1ff6dd",
            ),
            PublishedFile(
                "train2.zip",
                f"{_DANCE}/train2.zip",
                ("dancetrack0*",),
                "train",
                size=3_299_320_948,
                sha256="f676e8c6ac2a2d7566f1702d588311eafd4c90cc5416bb70f36a192d1e365af4",
            ),
            PublishedFile(
                "val.zip",
                f"{_DANCE}/val.zip",
                ("dancetrack0*",),
                "val",
                size=4_209_785_614,
                sha256="90ba30973761ce0b81a9654c11086d87537392475ac8bc666d842e645641277c",
            ),
            PublishedFile("test1.zip", f"{_DANCE}/test1.zip", ("dancetrack0*",), "test"),
            PublishedFile("test2.zip", f"{_DANCE}/test2.zip", ("dancetrack0*",), "test"),
        ),
        sequences={"train": 40, "val": 25, "test": 35},
    ),
    "crowdhuman": PublishedData(
        folder="crowdhuman",
        page="https://www.crowdhuman.org/download.html",
        terms="non-commercial research and education; images may not be passed on (crowdhuman.org/download.html)",
        files=(
            PublishedFile("annotation_train.odgt", f"{_CROWD}/annotation_train.odgt"),
            PublishedFile("annotation_val.odgt", f"{_CROWD}/annotation_val.odgt"),
            *(
                PublishedFile(name, f"{_CROWD}/{name}", ("*.jpg",), "Images")
                for name in (
                    "CrowdHuman_train01.zip",
                    "CrowdHuman_train02.zip",
                    "CrowdHuman_train03.zip",
                    "CrowdHuman_val.zip",
                )
            ),
        ),
        crowds={
            one: CrowdFiles("crowdhuman", (f"crowdhuman/annotation_{one}.odgt",), "crowdhuman/Images")
            for one in ("train", "val")
        },
    ),
    "cityperson": PublishedData(
        folder="Cityscapes",
        page="https://github.com/Zhongdao/Towards-Realtime-MOT/blob/master/DATASET_ZOO.md",
        terms="of Cityscapes: non-commercial (cityscapes-dataset.com/license); CityPersons: see its page",
        files=(
            PublishedFile("citypersons.train", f"{_JDE}/data/citypersons.train"),
            PublishedFile(
                "Citypersons-joined.zip",
                keep=("images", "labels_with_ids"),
                by_hand=f"""Google Drive asks a browser before it hands over files of this size.
  1. Save the four parts Citypersons.zip, .z01, .z02 and .z03 in one folder:
       {_DRIVE}/1DgLHqEkQUOj63mCrS_0UGFEM9BG8sIZs/view
       {_DRIVE}/1BH9Xz59UImIGUdYwUR-cnP1g7Ton_LcZ/view
       {_DRIVE}/1q_OltirP68YFvRWgYkBHLEFSUayjkKYE/view
       {_DRIVE}/1VSL0SFoQxPXnIdBamOZJzHrHJ1N2gsTW/view
  2. Join them there with Info-ZIP's zip: zip -s 0 Citypersons.zip --out Citypersons-joined.zip""",
            ),
        ),
        crowds={"train": CrowdFiles("jde", ("Cityscapes/citypersons.train",), ".")},
    ),
    "ethz": PublishedData(
        folder="ETHZ",
        page="https://github.com/Zhongdao/Towards-Realtime-MOT/blob/master/DATASET_ZOO.md",
        terms="not stated; the original is at data.vision.ee.ethz.ch/cvl/aess/dataset",
        files=(
            PublishedFile("eth.train", f"{_JDE}/data/eth.train"),
            PublishedFile(
                "ETHZ.zip",
                keep=("eth0*",),
                by_hand=f"""Google Drive asks a browser before it hands over files of this size.
  Save the file as ETHZ.zip: {_DRIVE}/19QyGOCqn8K_rc9TXJ8UwLSxCx17e0GoY/view""",
            ),
        ),
        crowds={"train": CrowdFiles("jde", ("ETHZ/eth.train",), ".")},
    ),
}
