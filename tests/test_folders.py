"""A folder of results is the old one or the new one."""

from pathlib import Path

import pytest

from pipeline import folders
from pipeline.folders import plain_name, replacing_folder


def test_a_folder_is_replaced_whole_and_nothing_of_the_old_stays(tmp_path):
    for name in ("old", "new"):
        with replacing_folder(tmp_path / "out") as folder:
            (folder / name).write_text(name)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_block_that_fails_leaves_the_old_folder_and_nothing_beside_it(tmp_path):
    with replacing_folder(tmp_path / "out") as folder:
        (folder / "old").write_text("old")

    def fail() -> None:
        with replacing_folder(tmp_path / "out") as folder:
            (folder / "new").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_everything_is_on_disk_before_the_folder_takes_its_name(tmp_path, monkeypatch):
    out, seen = tmp_path / "out", []
    monkeypatch.setattr(folders.os, "fsync", lambda _: seen.append(out.exists()))
    with replacing_folder(out) as folder:
        (folder / "part").mkdir()
        (folder / "part" / "file").write_text("text")
    assert seen == [False, False, False, True]


def test_a_kill_between_the_last_two_renames_loses_nothing(tmp_path, monkeypatch):
    with replacing_folder(tmp_path / "out") as folder:
        (folder / "old").write_text("old")
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda path, to: interrupt() if path.name == "new" else rename(path, to))
    with pytest.raises(KeyboardInterrupt), replacing_folder(tmp_path / "out") as folder:
        (folder / "new").write_text("new")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["new", "old"]


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["MOT17-02-FRCNN", "street-02 moving", "Zürich", "a..b", "x" * 200])
def test_a_plain_name_is_taken_as_it_is(tmp_path, name):
    assert plain_name(name, where="here") == name
    (tmp_path / f"{name}.parquet").touch()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/x", "a\\b", ".hidden", "a\nb", "a\0", "\ud800", "x" * 201, "ü" * 101]
)
def test_a_name_that_could_lead_elsewhere_is_refused(name):
    with pytest.raises(ValueError, match=r"^here: found .* expected a "):
        plain_name(name, where="here")
