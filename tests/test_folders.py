"""A folder of results is the old one or the new one."""

import pytest

from pipeline.folders import replacing_folder


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
