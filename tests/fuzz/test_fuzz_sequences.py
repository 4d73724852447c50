"""seqinfo.ini, CrowdHuman's odgt, JDE's labels: read as they stand, or refused."""

import json
import re

import numpy as np
import pytest
from damage import NASTY, cases, damaged, outcome
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.data import crowds
from pipeline.data.motchallenge import read_seqinfo

pytestmark = pytest.mark.timeout(300)

SEQINFO = b"[Sequence]\nname=A-02\nimDir=img1\nframeRate=30\nseqLength=3\nimWidth=64\nimHeight=48\nimExt=.jpg\n"
PEOPLE = [{"tag": "person", "fbox": [-10, 20, 50.5, 90], "extra": {"ignore": 1}}, {"tag": "mask", "fbox": [1, 2, 3, 4]}]
ODGT = (json.dumps({"ID": "a", "gtboxes": PEOPLE}) + "\n" + json.dumps({"ID": "b", "gtboxes": []}) + "\n").encode()
LABELS = b"0 7 0.5 0.5 0.25 0.5\n0 -1 0.1 0.9 0.5 0.5\n"
LIST = b"set/images/a.png\nset/images/b.png\n"

NAMES = {"A-02": True, "a b": True, "../x": False, "a/b": False, "/x": False, "..": False, "": False, "x" * 300: False}
NUMBERS = {
    "30": 30,
    "1": 1,
    "0": None,
    "-3": None,
    "nan": None,
    "1e400": None,
    "many": None,
    "1_0": None,
    "9" * 5000: None,
}
RATES = NUMBERS | {"29.97": 29.97, "1e-3": 0.001, "inf": None}
KEYS = {
    "name": NAMES,
    "imDir": NAMES,
    "frameRate": RATES,
    "seqLength": NUMBERS,
    "imWidth": NUMBERS,
    "imHeight": NUMBERS,
    "imExt": {".jpg": True, ".png": True, "jpg": False, "./../x": False, "": False},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """`images/a.jpg` for CrowdHuman, `set/images/a.png` with labels beside it for JDE; 200 x 100 pixels."""
    root = tmp_path_factory.mktemp("crowds")
    for path in (root / "a.jpg", root / "b.jpg", root / "set/images/a.png", root / "set/images/b.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 100)).save(path)
    (root / "set/labels_with_ids").mkdir()
    return root


def mostly(usual: dict) -> st.SearchStrategy:
    """The first value most often."""
    first = next(iter(usual))
    return st.sampled_from([first] * 4 * len(usual) + list(usual))


@cases(200)
@given(values=st.fixed_dictionaries({key: mostly(known) for key, known in KEYS.items()}))
def test_a_seqinfo_is_read_where_every_value_is_sound(tmp_path_factory, values):
    text = "[Sequence]\n" + "".join(f"{key}={value}\n" for key, value in values.items())
    found = outcome(read_seqinfo, tmp_path_factory.getbasetemp() / "seqinfo.ini", text.encode())
    assert (found is not None) == all(KEYS[key][value] for key, value in values.items())
    if found is not None:
        numbers = [NUMBERS[values[key]] for key in ("seqLength", "imWidth", "imHeight")]
        assert [found.frames, found.width, found.height] == numbers
        assert found.frame_rate == RATES[values["frameRate"]]
        assert [found.name, found.image_folder, found.extension] == [values[key] for key in ("name", "imDir", "imExt")]


@cases(250)
@given(
    content=damaged(SEQINFO, separator=b"=")
    | st.binary(max_size=60).map(lambda more: SEQINFO[:10] + more + SEQINFO[10:])
)
def test_a_damaged_seqinfo_never_names_a_way_out_or_a_senseless_size(tmp_path_factory, content):
    found = outcome(read_seqinfo, tmp_path_factory.getbasetemp() / "seqinfo.ini", content)
    if found is not None:
        assert min(found.frames, found.width, found.height) >= 1
        assert 0 < found.frame_rate <= 1e9
        for name in (found.name, found.image_folder):
            assert re.fullmatch(r"[^./\\][^/\\]*", name)
            assert name.isprintable()


def is_box(box: object) -> bool:
    numbers = isinstance(box, list) and len(box) == 4 and all(type(n) in (int, float) for n in box)
    return numbers and all(-1e9 <= n <= 1e9 for n in box)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([10**400, "a", "../a", "1", "nan"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["ID", "fbox", "extra"]), inner),
    max_leaves=6,
)
NUMBER = st.integers(-50, 50) | st.floats(0, 100) | st.integers(0, 50)
BOX = st.lists(NUMBER, min_size=4, max_size=4)
PERSON = st.fixed_dictionaries({"fbox": BOX}, optional={"extra": st.sampled_from([{"ignore": 1}, {"ignore": 0}, {}])})
STRANGE = st.fixed_dictionaries({"fbox": st.lists(JSON, max_size=5) | JSON}, optional={"extra": JSON}) | JSON
RECORD = st.fixed_dictionaries(
    {"ID": st.sampled_from(["a", "b", "a", "b", "c", "../a", 7, None]), "gtboxes": st.lists(PERSON, max_size=3)}
)


@cases(250)
@given(
    records=st.lists(
        RECORD | st.fixed_dictionaries({"ID": st.just("a"), "gtboxes": st.lists(STRANGE) | JSON}) | RECORD, max_size=3
    )
)
def test_an_odgt_is_read_where_every_box_is_one(images, records):
    content = "".join(json.dumps(record) + "\n" for record in records).encode()
    found = outcome(lambda path: list(crowds.crowdhuman(path, images)), images / "a.odgt", content)
    people = [record["gtboxes"] for record in records]
    are_lists = all(isinstance(some, list) and all(isinstance(one, dict) for one in some) for some in people)
    sound = are_lists and all(is_box(one.get("fbox")) for some in people for one in some)
    assert (found is not None) == (sound and all(record["ID"] in ("a", "b") for record in records))
    for crowd, some in zip(found or [], people, strict=False):
        boxes = [one["fbox"] for one in some]
        assert crowd.boxes.tolist() == [[x, y, x + w, y + h] for x, y, w, h in boxes]
        marked = [isinstance(one.get("extra"), dict) and one["extra"].get("ignore") == 1 for one in some]
        without_area = (crowd.boxes[:, 2:] <= crowd.boxes[:, :2]).any(axis=1)
        assert crowd.ignored.tolist() == [a or b for a, b in zip(marked, without_area, strict=True)]


@cases(150)
@given(
    content=damaged(ODGT) | st.binary(max_size=40) | st.sampled_from([b"[" * 100_000, b'{"ID":' * 100_000, b"\xff\xfe"])
)
def test_a_damaged_odgt_gives_finite_boxes_or_is_refused(images, content):
    found = outcome(lambda path: list(crowds.crowdhuman(path, images)), images / "a.odgt", content)
    for crowd in found or []:
        assert np.isfinite(crowd.boxes).all()
        assert crowd.ignored[(crowd.boxes[:, 2:] <= crowd.boxes[:, :2]).any(axis=1)].all(), "a box without area"


def label_boxes(content: bytes) -> list[list[float]] | None:
    """An independent reading of one image's labels, 200 x 100 pixels."""
    boxes = []
    try:
        lines = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except UnicodeDecodeError:
        return None
    for line in lines:
        fields = line.split()
        if fields and (
            len(fields) != 6
            or not all(re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", f) for f in fields)
        ):
            return None
        if fields:
            x, y, w, h = map(float, fields[2:])
            boxes.append([200 * (x - w / 2), 100 * (y - h / 2), 200 * w, 100 * h])
    return boxes if all(map(is_box, boxes)) else None


FIELD = st.sampled_from(["0", "7", "0.5", ".25", "1e-1", "2"] * 10 + [one for one in NASTY if one.strip()])


@cases(200)
@given(
    content=damaged(LABELS, separator=b" ")
    | st.lists(st.lists(FIELD, min_size=6, max_size=6).map(" ".join), max_size=4).map(
        lambda rows: "\n".join(rows).encode()
    )
)
def test_labels_with_ids_are_read_as_they_stand_or_refused(images, content):
    labels = images / "set/labels_with_ids/a.txt"
    labels.write_bytes(content)
    (images / "one.train").write_bytes(b"set/images/a.png\n")
    found = outcome(lambda _: [crowd.boxes for crowd in crowds.labels_with_ids(images / "one.train", images)], labels)
    expected = label_boxes(content)
    assert (found is None) == (expected is None)
    if found is not None:
        assert found[0].tolist() == [[x, y, x + w, y + h] for x, y, w, h in expected]


@cases(100)
@given(content=damaged(LIST, separator=b"/") | st.text(max_size=30).map(str.encode) | st.just(b"images/" + b"x" * 5000))
def test_a_list_of_images_leads_to_images_below_its_root_or_is_refused(images, content):
    (images / "set/labels_with_ids/a.txt").write_bytes(LABELS)
    found = outcome(lambda path: list(crowds.labels_with_ids(path, images)), images / "two.train", content)
    assert all(crowd.image.is_file() and ".." not in crowd.image.parts for crowd in found or [])


@cases(50)
@given(content=st.data())
def test_the_size_of_a_damaged_image_is_positive_or_refused(images, content):
    whole = (images / "a.jpg").read_bytes()
    found = outcome(crowds.image_size, images / "c.jpg", content.draw(damaged(whole) | st.binary(max_size=50)))
    assert found is None or min(found) >= 1


def test_the_sound_files_are_read_whole(images):
    assert read_seqinfo_of(images).name == "A-02"
    people = [
        len(crowd.boxes)
        for crowd in outcome(lambda path: list(crowds.crowdhuman(path, images)), images / "a.odgt", ODGT)
    ]
    assert people == [2, 0]


def read_seqinfo_of(folder):
    return outcome(read_seqinfo, folder / "seqinfo.ini", SEQINFO)
