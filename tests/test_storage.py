"""What is put is what is got: whole, checked, sent once, and never outside its place."""

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
from s3_server import CREDENTIALS

from pipeline import storage as stored
from pipeline import versions as kept
from pipeline.sources import ROOT
from pipeline.storage import Storage


@pytest.fixture(autouse=True)
def machines(tmp_path, monkeypatch):
    """Goes to a repository on another machine, with notes of its own."""

    def go(name: str) -> Path:
        for folder in (tmp_path / name, tmp_path / f"{name}-tmp"):
            folder.mkdir(exist_ok=True)
        monkeypatch.setattr(stored.tempfile, "gettempdir", lambda: str(tmp_path / f"{name}-tmp"))
        monkeypatch.chdir(tmp_path / name)
        return tmp_path / name

    go("driver")
    return go


@pytest.fixture
def sent(monkeypatch) -> list[str]:
    """Paths whose content was sent."""
    paths: list[str] = []
    real = kept.send
    monkeypatch.setattr(
        kept, "send", lambda disk, here, path, new: (paths.append(str(path)), real(disk, here, path, new))
    )
    return paths


def write(path: str, text: str) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def tree(folder: Path | str) -> dict[str, str]:
    folder = Path(folder)
    return {str(file.relative_to(folder)): file.read_text() for file in sorted(folder.rglob("*")) if file.is_file()}


def here(storage: Storage) -> tuple:
    return stored._opened(storage.url)


def count_versions(storage: Storage, path: str) -> int:
    disk, root = here(storage)
    inside = disk.get_file_info(kept.fs.FileSelector(f"{root}/{path}"))
    return sum(bool(kept._VERSION.fullmatch(one.base_name)) for one in inside)


def test_a_file_and_a_folder_arrive_under_their_names(storage, machines):
    write("runs/x/detections.parquet", "boxes")
    write("runs/x/detector/card.json", "{}")
    write("runs/x/detector/parts/one", "1")
    write("runs/x/empty", "")
    write("data/x/weights/yolox.pth.gz", "not for me to unpack")
    paths = ("runs/x/detections.parquet", "runs/x/detector", "runs/x/empty", "data/x/weights/yolox.pth.gz")
    for path in paths:
        storage.put(Path(path))
    machines("node")
    for path in paths:
        assert storage.has(Path(path))
        storage.get(Path(path))
    assert tree(".") == {
        "runs/x/detections.parquet": "boxes",
        "runs/x/detector/card.json": "{}",
        "runs/x/detector/parts/one": "1",
        "runs/x/empty": "",
        "data/x/weights/yolox.pth.gz": "not for me to unpack",
    }


def test_a_folder_and_a_file_inside_it_are_two_things(storage, machines):
    write("runs/x/card.json", "in the folder")
    storage.put(Path("runs/x"))
    write("runs/x/card.json", "alone")
    storage.put(Path("runs/x/card.json"))
    machines("node")
    storage.get(Path("runs/x"))
    assert tree(".") == {"runs/x/card.json": "in the folder"}
    storage.get(Path("runs/x/card.json"))
    assert tree(".") == {"runs/x/card.json": "alone"}


def test_unchanged_content_is_sent_once_and_new_content_replaces_it(storage, machines, sent):
    for text, times in (("first", 1), ("first", 1), ("again", 2)):
        write("runs/x", text)
        storage.put(Path("runs/x"))
        storage.put(Path("runs/x"))
        assert len(sent) == times
        assert count_versions(storage, "runs/x") == 1
    machines("node")
    storage.get(Path("runs/x"))
    storage.put(Path("runs/x"))
    assert len(sent) == 2
    assert Path("runs/x").read_text() == "again"


def test_what_is_here_already_is_not_fetched_again(storage, machines, monkeypatch):
    write("runs/x/card.json", "{}")
    storage.put(Path("runs/x"))
    machines("node")
    storage.get(Path("runs/x"))
    monkeypatch.setattr(kept, "fetch", None)
    storage.get(Path("runs/x"))


def test_what_changed_here_is_replaced_by_what_was_put(storage, machines):
    write("runs/x/epoch-1", "one")
    storage.put(Path("runs/x"))
    machines("node")
    storage.get(Path("runs/x"))
    write("runs/x/epoch-2", "of this machine alone")
    storage.get(Path("runs/x"))
    assert tree("runs/x") == {"epoch-1": "one"}


def test_hidden_files_stay_behind_and_links_arrive_as_files(storage, machines, tmp_path):
    write(str(tmp_path / "datasets/mot/img1/000001.jpg"), "pixels")
    Path("data").mkdir()
    Path("data/mot").symlink_to(tmp_path / "datasets/mot")
    write("runs/x/done", "done")
    write("runs/x/.unfinished.ab12", "half")
    storage.put(Path("data/mot/img1"))
    storage.put(Path("runs/x"))
    machines("node")
    storage.get(Path("data/mot/img1"))
    storage.get(Path("runs/x"))
    assert tree(".") == {"data/mot/img1/000001.jpg": "pixels", "runs/x/done": "done"}
    assert not Path("data/mot").is_symlink()


@pytest.mark.parametrize("path", ["../other/x", "/etc/hostname", "data/../../x", "."])
def test_what_lies_outside_the_repository_is_refused(tmp_path, path):
    (tmp_path / "shared").mkdir()
    for use in (Storage(str(tmp_path / "shared")).put, Storage(str(tmp_path / "shared")).get):
        with pytest.raises(ValueError, match="lies outside the repository, expected a path below it"):
            use(Path(path))


def test_an_absolute_path_below_the_repository_is_the_same_path(storage, machines):
    storage.put(write("runs/x", "text").absolute())
    assert storage.has(Path("runs/x"))


@pytest.mark.parametrize(
    "change",
    [
        {"files": [{"name": "../../../x", "bytes": 1, "sha256": "0"}]},
        {"files": [{"name": "/etc/x", "bytes": 1, "sha256": "0"}]},
        {"files": [{"name": "a//b", "bytes": 1, "sha256": "0"}]},
        {"files": [{"name": ".hidden", "bytes": 1, "sha256": "0"}]},
        {"files": [{"name": "x", "bytes": 1, "sha256": "0"}] * 2},
        {"files": [{"name": "x", "bytes": 1}]},
        {"kind": "file"},
        {"kind": "device"},
        {"version": "../../elsewhere"},
        {"more": 1},
    ],
    ids=str,
)
def test_a_list_that_leads_elsewhere_is_refused_and_nothing_is_written(storage, machines, change):
    write("runs/x/card.json", "{}")
    storage.put(Path("runs/x"))
    disk, root = here(storage)
    with disk.open_input_stream(f"{root}/runs/x/.current") as stream:
        manifest = json.loads(stream.read())
    with disk.open_output_stream(f"{root}/runs/x/.current") as stream:
        stream.write(json.dumps(manifest | change).encode())
    machines("node")
    with pytest.raises(ValueError, match=r"Delete the folder .*/runs/x from the storage"):
        storage.get(Path("runs/x"))
    assert tree(".") == {}


def test_damaged_content_is_refused_and_what_was_here_stays(storage, machines):
    write("runs/x/card.json", "good")
    storage.put(Path("runs/x"))
    machines("node")
    storage.get(Path("runs/x"))
    machines("driver")
    write("runs/x/card.json", "better")
    storage.put(Path("runs/x"))
    disk, root = here(storage)
    files = disk.get_file_info(kept.fs.FileSelector(f"{root}/runs/x", recursive=True))
    (content,) = [one.path for one in files if one.base_name == "card.json"]
    with disk.open_output_stream(content) as stream:
        stream.write(b"beaten")
    machines("node")
    with pytest.raises(ValueError, match="is damaged, expected sha256"):
        storage.get(Path("runs/x"))
    assert tree(".") == {"runs/x/card.json": "good"}


def test_a_put_that_dies_halfway_leaves_the_old_version_whole(storage, machines, monkeypatch):
    write("runs/x/card.json", "old")
    storage.put(Path("runs/x"))
    write("runs/x/card.json", "new")
    with monkeypatch.context() as patch:
        patch.setattr(kept, "_write_current", interrupt)
        with pytest.raises(KeyboardInterrupt):
            storage.put(Path("runs/x"))
    assert count_versions(storage, "runs/x") == 1
    machines("node")
    storage.get(Path("runs/x"))
    assert tree("runs/x") == {"card.json": "old"}
    machines("driver")
    storage.put(Path("runs/x"))
    machines("node")
    storage.get(Path("runs/x"))
    assert tree("runs/x") == {"card.json": "new"}


def interrupt(*given) -> None:
    raise KeyboardInterrupt


def test_what_a_killed_put_left_is_removed_a_day_later(storage, monkeypatch):
    write("runs/x", "old")
    storage.put(Path("runs/x"))
    disk, root = here(storage)
    left = f"{root}/runs/x/.{'0' * 64}-{'1' * 8}"
    kept._copy(kept._once(b"half"), disk, f"{left}/x")
    write("runs/x", "new")
    storage.put(Path("runs/x"))
    assert count_versions(storage, "runs/x") == 2
    monkeypatch.setattr(kept, "_ABANDONED_S", -60.0)
    write("runs/x", "newer")
    storage.put(Path("runs/x"))
    assert count_versions(storage, "runs/x") == 1


def test_a_version_that_is_replaced_while_it_is_read_is_read_again(storage, machines, monkeypatch):
    write("runs/x", "old")
    storage.put(Path("runs/x"))
    real = kept.current

    def replaced(disk, where):
        found = real(disk, where)
        monkeypatch.setattr(kept, "current", real)
        machines("driver")
        write("runs/x", "new")
        storage.put(Path("runs/x"))
        machines("node")
        return found

    machines("node")
    monkeypatch.setattr(kept, "current", replaced)
    storage.get(Path("runs/x"))
    assert Path("runs/x").read_text() == "new"


def test_writers_and_readers_at_once_see_whole_versions_only(tmp_path):
    (tmp_path / "shared").mkdir()
    start = multiprocessing.get_context("fork").Process
    workers = [start(target=put_and_get, args=(tmp_path, name)) for name in "ab"]
    for one in workers:
        one.start()
    for one in workers:
        one.join(60)
    assert [one.exitcode for one in workers] == [0, 0]
    kept = [one for one in (tmp_path / "shared/runs/x").iterdir() if one.name != ".current"]
    assert len(kept) < 12, "of 24; the few that two writers replaced at once stay for a day"


def put_and_get(root: Path, name: str) -> None:
    """Put versions of one letter and see that what comes back is of one letter."""
    folder = root / name
    (folder / "tmp").mkdir(parents=True)
    os.chdir(folder)
    stored.tempfile.gettempdir = lambda: str(folder / "tmp")
    storage = Storage(str(root / "shared"))
    for turn in range(12):
        for part in ("one", "two"):
            write(f"runs/x/{part}", f"{name}{turn}")
        storage.put(Path("runs/x"))
        storage.get(Path("runs/x"))
        assert len(set(tree("runs/x").values())) == 1, tree("runs/x")


def test_nothing_put_is_told_apart_from_a_storage_that_is_not_there(storage, tmp_path):
    assert not storage.has(Path("runs/x"))
    with pytest.raises(ValueError, match=r"storage: holds no runs/x at"):
        storage.get(Path("runs/x"))
    with pytest.raises(ValueError, match=r"storage: no folder .*, expected one that all nodes share"):
        Storage(str(tmp_path / "unmounted")).has(Path("runs/x"))


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:secret@bucket/prefix",
        "s3://key@bucket",
        "s3://bucket?secret_key=abc",
        "s3://bucket?access_key=abc",
        "gs://bucket?access_token=abc",
    ],
)
def test_credentials_in_the_address_are_refused_and_not_repeated(url):
    with pytest.raises(ValueError, match="holds a user, password or key") as refused:
        Storage(url)
    assert url not in str(refused.value)


def test_a_relative_folder_is_no_address():
    with pytest.raises(ValueError, match="found 'shared', expected an absolute folder or a URL"):
        Storage("shared")


def test_an_address_that_pyarrow_does_not_know_is_explained():
    with pytest.raises(ValueError, match=r"storage: cannot look for runs/x at ftp://x"):
        Storage("ftp://x").has(Path("runs/x"))


def test_a_bucket_that_is_not_there_is_one_line(bucket):
    write("runs/x", "text")
    wrong = Storage(bucket.replace("experiments", "elsewhere"))
    with pytest.raises(ValueError, match=r"storage: cannot put runs/x at s3://elsewhere.*bucket") as told:
        wrong.put(Path("runs/x"))
    assert "\n" not in str(told.value)


def test_errors_hold_no_credentials():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with (
            pytest.raises(ValueError, match=r"signed by \*\*\*") as told,
            stored._explained("put", "s3://x", Path("runs/x")),
        ):
            raise OSError(f"signed by {CREDENTIALS['AWS_SECRET_ACCESS_KEY']}")
    assert "no-secret" not in str(told.value)


def test_a_full_storage_is_told_and_keeps_nothing_of_the_half(tmp_path, monkeypatch):
    (tmp_path / "shared").mkdir()
    storage = Storage(str(tmp_path / "shared"))
    write("runs/x/card.json", "old")
    storage.put(Path("runs/x"))
    write("runs/x/card.json", "new")
    real = kept._copy

    def full(read, disk, to):
        if to.endswith("card.json"):
            write(to, "half")
            raise OSError(28, "No space left on device")
        return real(read, disk, to)

    with monkeypatch.context() as patch:
        patch.setattr(kept, "_copy", full)
        with pytest.raises(ValueError, match=r"No space left on device; .* Make room there and run again"):
            storage.put(Path("runs/x"))
    assert count_versions(storage, "runs/x") == 1
    storage.put(Path("runs/x"))
    assert list(tree(tmp_path / "shared").values()).count("new") == 1


def test_copies_and_notes_that_nobody_used_for_a_month_go(tmp_path, monkeypatch):
    monkeypatch.setattr(stored.tempfile, "gettempdir", lambda: str(tmp_path))
    used, unused = stored.private_folder("nodes", "used"), stored.private_folder("nodes", "unused")
    (unused / "large").write_bytes(b"copy")
    note = stored.private_folder("notes") / "old.json"
    note.write_text("{}")
    for old in (used, unused, note):
        os.utime(old, (0, 0))
    stored.private_folder("nodes", "used")
    stored._forget_unused.cache_clear()  # as another process would
    stored.private_folder("nodes", "another")
    assert sorted(path.name for path in tmp_path.glob("*/*/*")) == ["another", "used"]


def test_a_private_folder_of_another_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(stored.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = stored.private_folder("notes")
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    folder.parent.chmod(0o777)
    with pytest.raises(ValueError, match="another user can write there"):
        stored.private_folder("notes")


ON_A_SMALL_DISK = """
mount -t tmpfs -o size=300k none {shared}
{python} {script} put small && {python} {script} put large; echo "full $?"
find {shared} -type f | wc -l
mount -o remount,size=3m {shared} && {python} {script} put large; echo "larger $?"
mount -o remount,ro {shared}; {python} {script} put small; echo "read-only $?"
{python} {script} get; echo "readable $?"
"""
PUT_OR_GET = """
import sys
from pathlib import Path
from pipeline.storage import Storage
path, storage = Path("runs/x/data"), Storage({shared!r})
try:
    if sys.argv[1] == "put":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * {{"small": 100, "large": 1_000_000}}[sys.argv[2]])
        storage.put(path)
    else:
        storage.get(path)
        print(path.stat().st_size)
except ValueError as error:
    sys.exit(str(error))
"""


def test_a_disk_that_is_full_or_read_only_is_told_and_once_mended_takes_all(tmp_path):
    """On a real disk of 300 kB, in a namespace of its own."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("unshare is not allowed here: no disk to fill")
    (tmp_path / "shared").mkdir()
    script = write(str(tmp_path / "script.py"), PUT_OR_GET.format(shared=str(tmp_path / "shared")))
    commands = ON_A_SMALL_DISK.format(shared=tmp_path / "shared", python=sys.executable, script=script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", commands], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split("\n") == ["full 1", "2", "larger 0", "read-only 1", "1000000", "readable 0", ""]
    full, read_only = done.stderr.splitlines()
    assert "cannot put runs/x/data at" in full
    assert "No space left on device" in full
    assert "Make room there and run again." in full
    assert "Make it writable and run again." in read_only
