import io
import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import pytest

from pipeline.data import downloads
from pipeline.data.archives import unpack


def as_is(path: PurePosixPath) -> PurePosixPath:
    return path


def make_zip(path: Path, *members: tuple[str, bytes], kind: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | 0o644) << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def make_tar(path: Path, name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        info.size = 3 if kind == tarfile.REGTYPE else 0
        archive.addfile(info, io.BytesIO(b"abc"))
    return path


def everything_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_files_come_out_as_they_went_in(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    make_zip(path, ("d/a.txt", b"abc")) if kind == "zip" else make_tar(path, "d/a.txt")
    assert unpack(path, tmp_path / "out", as_is) == 1
    assert (tmp_path / "out" / "d" / "a.txt").read_bytes() == b"abc"


def test_files_lie_where_they_are_placed_and_others_are_left_out(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", ("x/keep.txt", b"1"), ("x/drop.txt", b"2"))
    placed = lambda one: PurePosixPath("new", one.name) if one.name == "keep.txt" else None  # noqa: E731
    assert unpack(path, tmp_path / "out", placed) == 1
    assert everything_below(tmp_path / "out") == ["new/keep.txt"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "name", ["/etc/evil", "../evil", "a/../../evil", "..", "C:/evil", "C:evil", "\\evil", "..\\evil", "a\\..\\evil"]
)
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / "a.archive"
    make_zip(path, ("good", b"1"), (name, b"2")) if kind == "zip" else make_tar(path, name)
    with pytest.raises(ValueError, match=r"a.archive: .* has (an absolute path|a path that may leave)"):
        unpack(path, tmp_path / "out", as_is)
    assert not (tmp_path / "out").exists(), "nothing was written, not even what came before"


def test_a_bad_path_is_refused_even_where_it_would_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="may leave the folder"):
        unpack(make_zip(tmp_path / "a.zip", ("../x", b"1")), tmp_path / "out", lambda _: None)


@pytest.mark.parametrize(
    ("kind", "link"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.SYMTYPE, "../../x"),
        (tarfile.SYMTYPE, "inside"),
        (tarfile.LNKTYPE, "../x"),
        (tarfile.CHRTYPE, ""),
        (tarfile.BLKTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
)
def test_links_and_devices_in_tars_are_refused(tmp_path: Path, kind: bytes, link: str) -> None:
    with pytest.raises(ValueError, match="'thing' is a link or device, expected a plain file"):
        unpack(make_tar(tmp_path / "a.tar", "thing", kind, link), tmp_path / "out", as_is)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_zips_are_refused(tmp_path: Path, kind: int) -> None:
    with pytest.raises(ValueError, match="'thing' is a link or device"):
        unpack(make_zip(tmp_path / "a.zip", ("thing", b"/etc/passwd"), kind=kind), tmp_path / "out", as_is)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_comes_twice_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", ("a", b"1"), ("a", b"2"))
    with pytest.raises(ValueError, match="'a' would be a a second time"):
        unpack(path, tmp_path / "out", as_is)


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", ("zeros", bytes(4 * 2**20)))
    with pytest.raises(ValueError, match="bytes would become 4194304, expected at most 20 times as many"):
        unpack(path, tmp_path / "out", as_is)
    assert not (tmp_path / "out").exists()


def test_a_disk_without_room_for_the_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_zip(tmp_path / "a.zip", ("a", b"1"))
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(ValueError, match=r"GB free, expected 0\.3 GB for what a\.zip holds"):
        unpack(path, tmp_path / "out", as_is)


@pytest.mark.parametrize("damage", ["page", "short", "flipped", "empty"])
def test_what_is_no_whole_archive_is_refused(tmp_path: Path, damage: str) -> None:
    path = make_zip(tmp_path / "a.zip", ("a", bytes(range(256)) * 8))
    whole = path.read_bytes()
    middle = len(whole) // 3
    damaged = {
        "page": b"<html>quota exceeded</html>",
        "short": whole[:middle],
        "flipped": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
        "empty": b"",
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(ValueError, match=r"expected a whole zip or tar archive\. Delete it and fetch it again"):
        unpack(path, tmp_path / "out", as_is)
