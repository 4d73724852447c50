"""`finetrack fetch`, against a server on this machine."""

import functools
import http.server
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from PIL import Image

from pipeline import choose, cli
from pipeline.cli import main
from pipeline.data.crowds import CrowdFiles
from pipeline.data.published import PUBLISHED, PublishedData, PublishedFile

GT = "".join(f"{n},1,1,2,3,4,1,1,1\n" for n in (1, 2, 3))


def put_sequence(archive: zipfile.ZipFile, folder: str, picture: bytes) -> None:
    name = PurePosixPath(folder).name
    archive.writestr(
        f"{folder}/seqinfo.ini",
        f"[Sequence]\nname={name}\nimDir=img1\nframeRate=25\nseqLength=3\nimWidth=16\nimHeight=8\nimExt=.jpg\n",
    )
    archive.writestr(f"{folder}/gt/gt.txt", GT)
    for number in (1, 2, 3):
        archive.writestr(f"{folder}/img1/{number:06d}.jpg", picture)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """What the publisher serves."""
    folder = tmp_path / "site"
    folder.mkdir()
    Image.new("RGB", (16, 8)).save(folder / "picture.jpg")
    picture = (folder / "picture.jpg").read_bytes()
    for part in (1, 2):
        with zipfile.ZipFile(folder / f"train{part}.zip", "w") as archive:
            put_sequence(archive, f"wrapper/train{part}/dance000{part}", picture)
            archive.writestr("__MACOSX/dance0009/x", b"junk")
            archive.writestr("readme.txt", b"left out")
    with zipfile.ZipFile(folder / "ETH.zip", "w") as archive:
        archive.writestr("ETHZ/eth01/images/1.jpg", picture)
        archive.writestr("ETHZ/eth01/labels_with_ids/1.txt", "0 -1 0.5 0.5 0.5 0.5\n")
    (folder / "eth.train").write_text("ETHZ/eth01/images/1.jpg\n")
    return folder


@pytest.fixture
def served(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        dances = tuple(PublishedFile(f"{n}.zip", f"{url}/{n}.zip", ("dance0*",), "train") for n in ("train1", "train2"))
        eth = (
            PublishedFile("eth.train", f"{url}/eth.train"),
            PublishedFile("ETH.zip", keep=("eth0*",), by_hand="Ask a person."),
        )
        table = {
            "dancetrack": PublishedData("Dance", "page", "terms", dances, {"train": 2}),
            "ethz": PublishedData("ETHZ", "page", "terms", eth, {}, {"x": CrowdFiles("jde", ("ETHZ/eth.train",), ".")}),
        }
        monkeypatch.setattr("pipeline.commands.fetch.PUBLISHED", table)
        yield
        server.shutdown()
        thread.join()


def fetch(dataset: str, into: Path, *options: str) -> int:
    return main(["fetch", dataset, "--into", str(into), *options])


@pytest.mark.usefixtures("served")
def test_archives_become_a_folder_that_repro_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("dancetrack", tmp_path / "sets") == 0
    assert [path.name for path in (tmp_path / "sets").iterdir()] == ["Dance"], "archives are gone"
    found = sorted(str(path.relative_to(tmp_path / "sets")) for path in (tmp_path / "sets").glob("*/*/*"))
    assert found == ["Dance/train/dance0001", "Dance/train/dance0002"]
    choose.link_data(tmp_path / "data", source=tmp_path / "sets" / "Dance", detections=None, weights=None)
    assert (tmp_path / "data" / "train" / "dance0002" / "gt" / "gt.txt").read_text() == GT
    printed = capsys.readouterr().out
    assert "terms: terms" in printed
    assert printed.endswith("Dance: whole\n")


@pytest.mark.usefixtures("served")
def test_archives_may_be_kept(tmp_path: Path) -> None:
    assert fetch("dancetrack", tmp_path / "sets", "--keep") == 0
    assert sorted(path.name for path in (tmp_path / "sets").iterdir()) == ["Dance", "train1.zip", "train2.zip"]


@pytest.mark.usefixtures("served")
def test_what_is_there_is_checked_and_never_replaced(
    tmp_path: Path, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch("dancetrack", tmp_path)
    (tmp_path / "Dance" / "train" / "dance0001" / "img1" / "000003.jpg").unlink()
    (tmp_path / "Dance" / "train" / "dance0002" / "gt" / "gt.txt").write_text("x\n")
    (site / "train1.zip").unlink()
    for options in ([], ["--verify"]):
        capsys.readouterr()
        assert fetch("dancetrack", tmp_path, *options) == 1
        lines = capsys.readouterr().out.splitlines()
        assert ["dance0001" in lines[0], "dance0002/gt/gt.txt:1" in lines[1]] == [True, True]
        assert lines[-1].endswith("faults")


def test_verify_downloads_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("mot17", tmp_path, "--verify") == 1
    assert "MOT17: no such folder. Fetch mot17." in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("served")
def test_a_damaged_archive_leaves_no_half_data_set(
    tmp_path: Path, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (site / "train2.zip").read_bytes()
    (site / "train2.zip").write_bytes(whole.replace(b"3,1,1,2,3,4,1,1,1", b"3,1,1,2,3,4,1,1,9"))
    assert fetch("dancetrack", tmp_path / "sets") == 2
    assert "train2.zip: Bad CRC-32" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "sets").iterdir()) == ["train1.zip", "train2.zip"]


@pytest.mark.usefixtures("served")
def test_an_archive_of_something_else_is_refused(
    tmp_path: Path, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(site / "train2.zip", "w") as archive:
        archive.writestr("cats/1.jpg", b"")
    assert fetch("dancetrack", tmp_path) == 2
    assert "train2.zip: holds nothing below dance0*" in capsys.readouterr().err


@pytest.mark.usefixtures("served")
def test_what_only_a_browser_gets_is_explained_and_then_taken(
    tmp_path: Path, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch("ethz", tmp_path / "sets") == 1
    printed = capsys.readouterr().out
    assert "ETH.zip must be fetched by hand. Ask a person." in printed
    assert f"put it at {tmp_path / 'sets' / 'ETH.zip'}" in printed
    (tmp_path / "sets").mkdir(exist_ok=True)
    (site / "ETH.zip").rename(tmp_path / "sets" / "ETH.zip")
    assert fetch("ethz", tmp_path / "sets") == 0
    assert (tmp_path / "sets" / "ETHZ" / "eth01" / "images" / "1.jpg").is_file()


def test_the_table_says_enough_of_every_data_set() -> None:
    assert set(PUBLISHED) == set(cli._DATASETS)
    for data in PUBLISHED.values():
        assert data.page.startswith("https://")
        assert data.terms
        assert data.sequences or data.crowds
        for file in data.files:
            assert (file.url is None) == bool(file.by_hand)
            assert file.url is None or file.url.startswith("https://")
            assert file.sha256 is None or len(file.sha256) == 64


@pytest.mark.parametrize(
    ("dataset", "file", "inside", "placed"),
    [
        ("mot17", 0, "MOT17/train/MOT17-02-DPM/gt/gt.txt", "train/MOT17-02-DPM/gt/gt.txt"),
        ("mot20", 0, "MOT20/test/MOT20-04/img1/000001.jpg", "test/MOT20-04/img1/000001.jpg"),
        ("dancetrack", 0, "train1/dancetrack0001/seqinfo.ini", "train/dancetrack0001/seqinfo.ini"),
        ("dancetrack", 4, "dancetrack0100/img1/00000001.jpg", "test/dancetrack0100/img1/00000001.jpg"),
        ("crowdhuman", 2, "Images/273271,1a0d6000b9e1f5b7.jpg", "Images/273271,1a0d6000b9e1f5b7.jpg"),
        ("cityperson", 1, "Citypersons/images/train/ulm/a.png", "images/train/ulm/a.png"),
        ("ethz", 1, "ETHZ/eth01/images/image_0.png", "eth01/images/image_0.png"),
        ("mot17", 0, "__MACOSX/x", None),
    ],
)
def test_files_of_archives_find_their_place(dataset: str, file: int, inside: str, placed: str | None) -> None:
    found = PUBLISHED[dataset].files[file].place(PurePosixPath(inside))
    assert found == (PurePosixPath(placed) if placed else None)
