"""params.yaml and cluster.yaml: what is read is what is written, or a refusal."""

import copy
import dataclasses
from typing import Any

import pytest
import yaml
from damage import NASTY, cases, damaged, outcome
from hypothesis import given
from hypothesis import strategies as st

from pipeline import params
from pipeline.cluster import session
from pipeline.commands.plan import SECTIONS
from pipeline.evaluation.experiment import Score
from pipeline.inference.embed import Embed
from pipeline.sources import ROOT

pytestmark = pytest.mark.timeout(300)

SHIPPED = params.load(ROOT / "params.yaml")["synthetic"]
SMALL = yaml.safe_dump({"one": {"score": SHIPPED["score"], "embed": SHIPPED["embed"]}, "experiments": ["one"]}).encode()
CLUSTER = b"address: null\nstorage: null\nworkers: 2\ncpus_per_worker: 1\ngpus_per_worker: 0.5\n"

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([*NASTY, "sgs", "fafpn", "train", "MOT17", "x", 10**400, 0, 1])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=5,
)


def places(tree: Any, *path: Any) -> list[tuple]:
    """Every place below a tree of plain values."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, value in inner for place in [(*path, key), *places(value, *path, key)]]


def is_same(read: Any, plain: Any) -> bool:
    """Whether a setting is the plain value it was read from: an int may have become a float, a list a tuple."""
    if dataclasses.is_dataclass(read) and not isinstance(read, type):
        read = {field.name: getattr(read, field.name) for field in dataclasses.fields(read)}
    if isinstance(plain, dict):
        return isinstance(read, dict) and read.keys() == plain.keys() and all(is_same(read[k], plain[k]) for k in plain)
    if isinstance(plain, list):
        return isinstance(read, list | tuple) and len(read) == len(plain) and all(map(is_same, read, plain))
    return read == plain and (type(read) is type(plain) or (type(read) is float and type(plain) is int))


@cases(400)
@given(data=st.data())
def test_a_section_is_what_is_written_or_is_refused_with_its_place(data):
    name = data.draw(st.sampled_from(sorted(SECTIONS)))
    plain = copy.deepcopy(SHIPPED[name])
    *path, last = data.draw(st.sampled_from(places(plain)))
    inner = plain
    for key in path:
        inner = inner[key]
    if isinstance(inner, dict) and data.draw(st.booleans()):
        inner[data.draw(st.text(max_size=4) | st.sampled_from(["../x", "a/b", "seed"]))] = inner.pop(last)
    else:
        inner[last] = data.draw(VALUES)
    read = outcome(lambda where: params.parse(plain, SECTIONS[name], where=str(where)), "params.yaml:synthetic")
    assert read is None or is_same(read, plain)


KEYS = st.text("abcxyz-01", min_size=1, max_size=6)
TREES = st.dictionaries(
    KEYS,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=8,
    ),
    min_size=1,
    max_size=4,
)


@cases(150)
@given(tree=TREES)
def test_yaml_that_is_written_is_read_again(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / "params.yaml"
    assert outcome(params.load, path, yaml.safe_dump(tree).encode()) == tree


@cases(200)
@given(
    content=damaged(SMALL, separator=b":")
    | st.sampled_from(
        [
            b"[" * 2000,
            b"a: !!timestamp x",
            b"a: !!bool x",
            b"a: !!int ''",
            b"a: !!float ''",
            b"a: !!python/object:os.system x",
            b"\xff\xfe",
            b"a: &a [*a]",
            b"a: *b",
        ]
    )
    | st.binary(max_size=30).map(lambda more: b"a: !!" + more)
)
def test_a_damaged_file_is_a_mapping_of_plain_names_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "params.yaml"
    found = outcome(params.load, path, content)
    assert found is None or all("/" not in name and name[0] != "." for name in found)
    score = outcome(lambda path: params.section("one", "score", Score, path=path), path)
    assert score is None or is_same(score, found["one"]["score"])


@cases(150)
@given(
    content=damaged(CLUSTER, separator=b": ")
    | st.fixed_dictionaries(dict.fromkeys(("address", "storage", "workers", "cpus_per_worker"), VALUES)).map(
        lambda tree: yaml.safe_dump({**tree, "gpus_per_worker": 0}, allow_unicode=True).encode()
    )
)
def test_a_cluster_is_one_that_can_be_or_is_refused(tmp_path_factory, content):
    found = outcome(session.settings, tmp_path_factory.getbasetemp() / "cluster.yaml", content)
    assert found is None or (found.workers >= 0 and found.cpus_per_worker > 0 and found.gpus_per_worker >= 0)


def test_aliases_that_grow_without_end_are_refused_with_a_short_message(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)
    ]
    text = "\n".join([*lines, "one: {score: *a29, embed: {min_score: *a29, batch: 1}}"])
    path = tmp_path / "params.yaml"
    path.write_text(text)
    assert outcome(lambda path: params.section("one", "score", Score, path=path), path) is None
    assert outcome(lambda path: params.section("one", "embed", Embed, path=path), path) is None
