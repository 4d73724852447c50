import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline import params, tables
from pipeline.data.layout import Data, Layout, read_layout, videos_of
from pipeline.data.split import half_range
from pipeline.data.video import extract_frames

SIZE = (64, 48)


def data(**changes: Any) -> Data:
    settings = {
        "benchmark": "MOT17",
        "folders": {"train": "train"},
        "halves": True,
        "sequences": "*",
        "evaluate": ["val"],
        "world": None,
        "crowds": {},
    }
    return params.parse({**settings, **changes}, Data, where="params.yaml:toy.data")


WHOLE = {"halves": False, "evaluate": ["train"]}
FULL: dict[str, Any] = {
    "benchmark": "DanceTrack",
    "folders": {"train": "train", "val": "val", "test": "test"},
    "halves": False,
    "evaluate": ["val", "test"],
}


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*SIZE[::-1], 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


JPEG = jpeg()


def sequence(
    folder: Path, *, frames: int = 4, people: int = 2, images: bool = True, annotated: bool = True, name: str = ""
) -> Path:
    """A sequence whose boxes tell their frame and person: x1 is 10 frame + person."""
    folder.mkdir(parents=True)
    info = {"name": name or folder.name, "imDir": "img1", "frameRate": 25, "seqLength": frames}
    info |= {"imWidth": SIZE[0], "imHeight": SIZE[1], "imExt": ".jpg"}
    (folder / "seqinfo.ini").write_text("[Sequence]\n" + "".join(f"{k}={v}\n" for k, v in info.items()))
    if images:
        (folder / "img1").mkdir()
        for number in range(1, frames + 1):
            (folder / "img1" / f"{number:06d}.jpg").write_bytes(JPEG)
    if annotated:
        (folder / "gt").mkdir()
        rows = [(f, p) for p in range(1, people + 1) for f in range(1, frames + 1)]
        lines = [f"{f},{p},{10 * f + p},2,3,4,{int(p < 3)},{1 if p < 3 else 7},0.5\n" for f, p in rows]
        (folder / "gt" / "gt.txt").write_text("".join(lines))
    return folder


def detections(folder: Path, name: str, frames: Sequence[int]) -> Path:
    """A detection file: a box for each number in `frames`, which may repeat; its score tells the row."""
    folder.mkdir(exist_ok=True)
    lines = [f"{frame},-1,{10 * frame},2,3,4,0.{row:03d},-1,-1,-1\n" for row, frame in enumerate(frames)]
    (folder / f"{name}.txt").write_text("".join(lines))
    return folder


def refusal(root: Path, settings: Data | None = None, *, given: Path | None = None) -> str:
    with pytest.raises(ValueError) as error:
        read_layout(root, settings or data(), detections=given)
    assert "\n" not in str(error.value)
    return str(error.value)


def rows(table: pa.Table, *names: str) -> list[tuple]:
    return [tuple(row[name] for name in names) for row in table.to_pylist()]


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def as_declared(layout: Layout) -> bool:
    declared = (tables.SEQUENCES, tables.FRAMES, tables.GROUND_TRUTH, tables.DETECTIONS)
    found = (layout.sequences, layout.frames, layout.ground_truth, layout.given)
    return all(table.schema == schema for table, schema in zip(found, declared, strict=True))


def test_a_whole_sequence_becomes_one_row_a_frame_and_box(tmp_path: Path) -> None:
    sequence(tmp_path / "train" / "A", people=3)
    layout = read_layout(tmp_path, data(**WHOLE))
    assert as_declared(layout)
    assert layout.sequences.to_pylist() == [
        {
            "split": "train",
            "sequence": "A",
            "frame_rate": 25.0,
            "frames": 4,
            "width": 64,
            "height": 48,
            "first": 1,
            "has_ground_truth": True,
            "has_images": True,
        }
    ]
    assert rows(layout.frames, "frame") == [(1,), (2,), (3,), (4,)]
    assert layout.frames["path"][3].as_py() == str(tmp_path / "train" / "A" / "img1" / "000004.jpg")
    keys = rows(layout.ground_truth, "frame", "identity", "x1", "considered", "category")
    assert keys == [(f, p, 10.0 * f + p, p < 3, 1 if p < 3 else 7) for f in range(1, 5) for p in (1, 2, 3)]
    assert tables.boxes(layout.ground_truth)[0].tolist() == [11, 2, 14, 6]
    assert layout.given.num_rows == 0


@pytest.mark.parametrize("frames", [3, 4, 9])
def test_halves_are_numbered_from_one_and_share_no_frame(tmp_path: Path, frames: int) -> None:
    sequence(tmp_path / "train" / "A", frames=frames)
    layout = read_layout(tmp_path, data())
    train, val = half_range(frames, "train"), half_range(frames, "val")
    assert rows(layout.sequences, "split", "frames", "first") == [("train", len(train), 1), ("val", len(val), val[0])]
    for split, chosen in (("train", train), ("val", val)):
        images = [
            (frame, int(Path(path).stem))
            for s, frame, path in rows(layout.frames, "split", "frame", "path")
            if s == split
        ]
        assert images == list(enumerate(chosen, start=1))
        boxes = [(f, x1) for s, f, x1 in rows(layout.ground_truth, "split", "frame", "x1") if s == split]
        assert boxes == [(i, 10.0 * number + p) for i, number in enumerate(chosen, start=1) for p in (1, 2)]


@pytest.mark.parametrize("frames", [1, 2])
def test_a_sequence_that_gives_an_empty_half_is_refused(tmp_path: Path, frames: int) -> None:
    path = sequence(tmp_path / "train" / "A", frames=frames) / "seqinfo.ini"
    assert refusal(tmp_path) == (f"{path}: {frames} frames, expected 3 or more for two halves. Remove the sequence.")


def test_an_empty_sequence_is_refused(tmp_path: Path) -> None:
    path = sequence(tmp_path / "train" / "A", frames=0) / "seqinfo.ini"
    assert refusal(tmp_path, data(**WHOLE)) == (
        f"{path}: seqLength is '0', expected a whole number from 1 to 10000000. "
        "Correct it or extract the sequence again."
    )


def test_full_splits_stand_in_their_order_and_a_test_split_needs_no_ground_truth(tmp_path: Path) -> None:
    sequence(tmp_path / "test" / "C", annotated=False)
    sequence(tmp_path / "val" / "B")
    sequence(tmp_path / "train" / "Z")
    sequence(tmp_path / "train" / "A")
    layout = read_layout(tmp_path, data(**FULL))
    assert rows(layout.sequences, "split", "sequence", "has_ground_truth") == [
        ("train", "A", True),
        ("train", "Z", True),
        ("val", "B", True),
        ("test", "C", False),
    ]
    assert list(tables.groups(layout.frames, "split", "sequence")) == rows(layout.sequences, "split", "sequence")
    assert list(tables.groups(layout.ground_truth, "split")) == [("train",), ("val",)]


def test_given_detections_stand_in_for_images(tmp_path: Path) -> None:
    sequence(tmp_path / "train" / "A", images=False)
    given = detections(tmp_path / "detections", "A", [4, 1, 4, 3, 4])
    layout = read_layout(tmp_path, data(), detections=given)
    assert as_declared(layout)
    assert rows(layout.sequences, "has_images") == [(False,), (False,)]
    assert layout.frames.num_rows == 0
    assert rows(layout.given, "split", "frame", "x1", "score") == [
        ("val", 1, 40.0, 0.0),
        ("val", 1, 40.0, 0.002),
        ("val", 1, 40.0, 0.004),
    ], "of the evaluated half alone, numbered from 1, rows of a frame in the file's order"


def test_given_detections_stand_beside_images(tmp_path: Path) -> None:
    sequence(tmp_path / "train" / "A")
    layout = read_layout(tmp_path, data(), detections=detections(tmp_path / "detections", "A", [4]))
    assert rows(layout.sequences, "has_images") == [(True,), (True,)]
    assert (layout.frames.num_rows, layout.given.num_rows) == (4, 1)


def test_an_empty_detection_file_is_a_detector_that_found_nothing(tmp_path: Path) -> None:
    sequence(tmp_path / "train" / "A", images=False)
    assert read_layout(tmp_path, data(), detections=detections(tmp_path / "d", "A", [])).given.num_rows == 0


def test_only_sequences_that_match_are_read(tmp_path: Path) -> None:
    sequence(tmp_path / "train" / "MOT17-02-FRCNN")
    (sequence(tmp_path / "train" / "other") / "gt" / "gt.txt").write_text("damaged")
    layout = read_layout(tmp_path, data(sequences="MOT17-*"))
    assert set(layout.sequences["sequence"].to_pylist()) == {"MOT17-02-FRCNN"}
    assert "no sequence matches 'MOT20-*', found ['MOT17-02-FRCNN', 'other']. Correct" in refusal(
        tmp_path, data(sequences="MOT20-*")
    )


def test_a_missing_data_folder_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (
        f"{tmp_path / 'train'}: no such folder, expected the train sequences. Link or copy the dataset there."
    )
    (tmp_path / "train").mkdir()
    assert refusal(tmp_path).startswith(
        f"{tmp_path / 'train'}: no sequence, expected folders with seqinfo.ini, folders of "
    )


def overwrite(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut(name: str, length: int) -> Callable[[Path], None]:
    return lambda folder: overwrite(folder / name, (folder / name).read_bytes()[:length])


IMAGE = "img1/000002.jpg"
FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "gt of too few columns": (
        lambda f: edit(f / "gt/gt.txt", "2,1,21,2,3,4,1,1,0.5", "2,1,21,2,3,4,1,1"),
        "gt/gt.txt:2: 8 columns, expected 9. Extract",
    ),
    "gt beyond the end": (
        lambda f: (f / "gt/gt.txt").write_text("5,1,1,1,1,1,1,1,1\n"),
        "gt/gt.txt:1: frame 5, expected at most 4. Compare",
    ),
    "no gt": (remove("gt/gt.txt"), "gt/gt.txt: no such file, expected the ground truth to train on. Add it."),
    "seqinfo too long": (
        lambda f: edit(f / "seqinfo.ini", "seqLength=4", "seqLength=5"),
        "img1/000004.jpg: is image 4, expected 5 images by seqinfo.ini. Correct seqLength",
    ),
    "seqinfo too short": (
        lambda f: edit(f / "seqinfo.ini", "seqLength=4", "seqLength=3"),
        "img1/000004.jpg: is image 4, expected 3 images by seqinfo.ini. Correct seqLength",
    ),
    "a frame missing": (remove(IMAGE), f"{IMAGE}: no such image, expected 4 from 1. Extract"),
    "another ending": (
        lambda f: edit(f / "seqinfo.ini", "imExt=.jpg", "imExt=.png"),
        "img1: endings are ['.jpg'], expected '.png' by seqinfo.ini. Correct imExt.",
    ),
    "another size": (
        lambda f: edit(f / "seqinfo.ini", "imWidth=64", "imWidth=640"),
        "img1/000001.jpg: is 64x48 pixels, expected 640x48 by seqinfo.ini. Correct imWidth",
    ),
    "no seqLength": (
        lambda f: edit(f / "seqinfo.ini", "seqLength=4\n", ""),
        "seqinfo.ini: keys are ",
    ),
    "no images": (
        lambda f: (f / "img1").rename(f / "images"),
        "img1: no such folder, expected 4 images. Add the images, or give detections",
    ),
    "an image of zero bytes": (cut(IMAGE, 0), f"{IMAGE}: not an image (0 bytes), expected a JPEG. Extract"),
    "an image of one byte": (cut(IMAGE, 1), f"{IMAGE}: not an image (1 bytes), expected a JPEG. Extract"),
    "an image of two bytes": (cut(IMAGE, 2), f"{IMAGE}: a JPEG without its end, expected a whole image. Extract"),
    "an image cut short": (cut(IMAGE, -100), f"{IMAGE}: a JPEG without its end, expected a whole image. Extract"),
    "a page for an image": (
        lambda f: (f / IMAGE).write_text("<html>not found</html>"),
        f"{IMAGE}: not an image (22 bytes), expected a JPEG. Extract",
    ),
    "an image of nothing": (
        lambda f: (f / "img1/000001.jpg").write_bytes(b"\xff\xd8 nothing \xff\xd9"),
        "img1/000001.jpg: no image can be read from it, expected one. Extract",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_in_one_line_with_its_place_and_remedy(tmp_path: Path, fault: str) -> None:
    sequence(tmp_path / "train" / "A")
    folder = sequence(tmp_path / "train" / "B")
    make, message = FAULTS[fault]
    make(folder)
    found = refusal(tmp_path)
    assert found.startswith(f"{folder}/{message}")
    assert found.endswith(".")


def test_a_whole_png_is_an_image(tmp_path: Path) -> None:
    folder = sequence(tmp_path / "train" / "A")
    edit(folder / "seqinfo.ini", ".jpg", ".png")
    for path in (folder / "img1").iterdir():
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
    assert read_layout(tmp_path, data()).frames.num_rows == 4


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (None, ": detections of ['other'], expected also of A. Add them"),
        ([1, 5], ": A has frame 5, expected at most 4 by seqinfo.ini. Give the sequence's own"),
        ([0], "/A.txt:1: frame 0, expected frames counted from 1. "),
    ],
)
def test_faulty_detections_are_named(tmp_path: Path, frames: list[int] | None, message: str) -> None:
    sequence(tmp_path / "train" / "A", images=False)
    given = detections(tmp_path / "detections", "other" if frames is None else "A", frames or [])
    assert refusal(tmp_path, given=given).startswith(f"{given}{message}")


def test_detections_may_come_as_arrays(tmp_path: Path) -> None:
    sequence(tmp_path / "train" / "A", images=False)
    (tmp_path / "detections").mkdir()
    np.save(tmp_path / "detections" / "A.npy", np.array([[4, 1, 2, 3, 4, 0.5]]))
    found = read_layout(tmp_path, data(), detections=tmp_path / "detections").given.to_pylist()
    assert [(row["sequence"], row["x1"], row["y2"], row["score"]) for row in found] == [("A", 1.0, 6.0, 0.5)]


def test_names_that_come_twice_in_a_split_are_refused(tmp_path: Path) -> None:
    sequence(tmp_path / "train" / "A")
    sequence(tmp_path / "train" / "copy of A", name="A")
    settings = data(halves=False, folders={"train": "train", "val": "val"})
    sequence(tmp_path / "val" / "B")
    assert refusal(tmp_path, settings).startswith(f"{tmp_path}: sequences ['A'] come more than once in a split")


def test_names_shared_by_evaluated_splits_are_refused_and_by_others_are_not(tmp_path: Path) -> None:
    for split in FULL["folders"]:
        sequence(tmp_path / split / "A")
    assert "sequences ['A'] come more than once" in refusal(tmp_path, data(**FULL))
    assert read_layout(tmp_path, data(**{**FULL, "evaluate": ["test"]})).sequences.num_rows == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folders": {"train": "a", "val": "b"}}, "with halves: expected the one folder of `train`"),
        ({"evaluate": ["test"]}, "evaluate ['test']: expected splits among ['train', 'val']. "),
        ({"evaluate": ["vall"]}, "params.yaml:toy.data.evaluate[0]: found 'vall', expected one of "),
        ({"halves": False, "folders": {"tran": "a"}}, "params.yaml:toy.data.folders: found 'tran', expected one of "),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        data(**changes)
    assert str(error.value).startswith("params.yaml:toy.data")
    assert message in str(error.value)


def test_real_sequences_of_mot15_have_their_frames(shared: Path) -> None:
    layout = read_layout(shared / "data" / "mot15", data(**WHOLE))
    assert rows(layout.sequences, "sequence", "frames", "width", "height") == [
        ("PETS09-S2L1", 795, 480, 360),
        ("TUD-Campus", 71, 640, 480),
    ]
    assert {key: part.num_rows for key, part in tables.groups(layout.frames, "sequence").items()} == {
        ("PETS09-S2L1",): 795,
        ("TUD-Campus",): 71,
    }


def test_real_images_of_mot17_are_read(shared: Path) -> None:
    layout = read_layout(shared / "data" / "mot17-mini", data(**WHOLE))
    assert layout.frames.num_rows == 39
    assert len(layout.sequences) == 7


def test_real_ground_truth_and_detections_of_mot17_need_no_images(shared: Path) -> None:
    root = shared / "data" / "mot17"
    layout = read_layout(root, data(), detections=root / "detections" / "yolox_x_ablation")
    assert sum(layout.sequences["frames"].to_pylist()) == 5316
    people = layout.ground_truth.filter(layout.ground_truth["considered"])
    assert people.num_rows == 112297
    assert layout.given.num_rows > 0
    assert set(layout.given["split"].to_pylist()) == {"val"}


def test_real_sequences_of_dancetrack_need_no_images(shared: Path) -> None:
    root = shared / "data" / "dancetrack"
    settings = data(benchmark="DanceTrack", folders={"val": "val"}, halves=False)
    layout = read_layout(root, settings, detections=root / "detections" / "yolox_x")
    assert len(layout.sequences) == 3
    assert list(tables.groups(layout.given, "sequence")) == [(n,) for n in layout.sequences["sequence"].to_pylist()]


def test_a_folder_in_the_place_of_an_image_is_refused(tmp_path: Path) -> None:
    image = next((sequence(tmp_path / "train" / "A") / "img1").iterdir())
    image.unlink()
    image.mkdir()
    assert refusal(tmp_path, data(**WHOLE)).startswith(f"{image}: Is a directory, expected an image.")


def test_an_empty_pattern_of_sequences_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a pattern of folders"):
        data(**WHOLE | {"sequences": ""})


def test_videos_and_images_stand_beside_sequence_folders(tmp_path: Path) -> None:
    sequence(tmp_path / "train" / "A")
    (sequence(tmp_path / "train" / "B") / "seqinfo.ini").unlink()
    film = tmp_path / "train" / "C.mp4"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"mp4v"), 10, SIZE)
    for _ in range(4):
        writer.write(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    writer.release()
    film.with_suffix(".txt").write_text("1,1,5,2,3,4,1,1,1\n4,1,6,2,3,4,1,1,1\n")
    planned = read_layout(tmp_path, data())
    assert videos_of(tmp_path, data()) == [film]
    extract_frames(film, tmp_path / "frames")
    layout = read_layout(tmp_path, data(), videos={film: tmp_path / "frames"})
    assert as_declared(layout)
    for name in ("sequences", "ground_truth"):
        assert getattr(layout, name).equals(getattr(planned, name)), "a plan need not extract anything"
    assert layout.frames.num_rows == planned.frames.num_rows == 12
    assert rows(layout.sequences, "split", "sequence", "frame_rate", "frames") == [
        ("train", "A", 25.0, 3),
        ("train", "B", 30.0, 3),
        ("train", "C", 10.0, 3),
        ("val", "A", 25.0, 1),
        ("val", "B", 30.0, 1),
        ("val", "C", 10.0, 1),
    ]
    assert layout.frames["path"].to_pylist()[-1] == str(tmp_path / "frames" / "000004.jpg")
    assert rows(layout.ground_truth, "split", "frame", "x1")[-1] == ("val", 1, 6.0)
    assert [note for note in layout.notes if "30 frames/s are taken" in note] == list(layout.notes)


def test_splits_may_list_their_sequences(tmp_path: Path) -> None:
    for name in ("hall-1", "hall-2", "yard"):
        sequence(tmp_path / "all" / name)
    settings = data(halves=False, folders={"train": ["all/hall-*"], "val": ["all/yard"]})
    layout = read_layout(tmp_path, settings)
    assert rows(layout.sequences, "split", "sequence") == [("train", "hall-1"), ("train", "hall-2"), ("val", "yard")]
    halved = data(folders={"train": ["all/yard"]})
    assert rows(read_layout(tmp_path, halved).sequences, "split", "sequence") == [("train", "yard"), ("val", "yard")]


def test_a_sequence_that_trains_is_not_scored(tmp_path: Path) -> None:
    sequence(tmp_path / "all" / "hall")
    sequence(tmp_path / "all" / "yard")
    settings = data(halves=False, folders={"train": ["all/*"], "val": ["all/yard"]})
    assert refusal(tmp_path, settings) == (
        f"{tmp_path / 'all' / 'yard'}: is in the lists of train and val, expected one of them. Correct data.folders."
    )


def test_a_world_has_one_folder() -> None:
    world = {"seed": 1, "sequences": 1, "dances": 0, "frames": 4, "width": 96, "height": 96, "people": 2}
    with pytest.raises(ValueError, match="with a world: expected one folder of `train`"):
        data(folders={"train": ["a"]}, world={**world, "frame_rate": 15})


def test_given_embeddings_follow_their_detections(tmp_path: Path) -> None:
    sequence(tmp_path / "train" / "A", images=False)
    numbers = [4, 1, 3, 4, 4]  # the frame of each row of the file
    given = detections(tmp_path / "detections", "A", numbers)
    (tmp_path / "embeddings" / "osnet").mkdir(parents=True)
    angles = np.arange(5.0)
    np.save(tmp_path / "embeddings" / "osnet" / "A.npy", np.stack([np.cos(angles), np.sin(angles)], axis=1))
    layout = read_layout(tmp_path, data(), detections=given, embeddings=tmp_path / "embeddings")
    table = layout.embeddings["osnet"]
    assert table.schema == tables.embeddings_schema(2)
    assert rows(table, "split", "sequence", "frame", "row") == [("val", "A", 1, row) for row in (0, 1, 2)]
    found = tables.embeddings(table)
    assert np.arctan2(found[:, 1], found[:, 0]) % (2 * np.pi) == pytest.approx([0.0, 3.0, 4.0], abs=1e-6)
    assert rows(layout.given, "frame", "score") == [(1, 0.0), (1, 0.003), (1, 0.004)], "the same rows"


def test_every_tracked_sequence_needs_its_embeddings(tmp_path: Path) -> None:
    for name in ("A", "B"):
        sequence(tmp_path / "train" / name, images=False)
        given = detections(tmp_path / "detections", name, [4])
    (tmp_path / "embeddings" / "osnet").mkdir(parents=True)
    np.save(tmp_path / "embeddings" / "osnet" / "A.npy", np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"embeddings/osnet: embeddings of \['A'\], expected also of B\. Add them"):
        read_layout(tmp_path, data(), detections=given, embeddings=tmp_path / "embeddings")
