"""Checkpoints and safetensors: damaged or hostile files give tensors or a refusal, and run nothing."""

import io
import json
import pickle
import struct

import pytest
import safetensors.torch
import torch
from damage import cases, damaged, outcome
from hypothesis import given
from hypothesis import strategies as st

from pipeline.models.checkpoint import read_weights

pytestmark = [pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore:Detected pickle protocol")]

WEIGHTS = {"stem.weight": torch.arange(12.0).reshape(3, 4), "stem.bias": torch.ones(3), "steps": torch.tensor(7)}


def saved(*, legacy: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save({"model": WEIGHTS, "epoch": 3}, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


SAFE = safetensors.torch.save(WEIGHTS)
HEADER = 8 + struct.unpack("<Q", SAFE[:8])[0]


def are_tensors(found) -> bool:
    return found is None or all(isinstance(x, torch.Tensor) and x.isfinite().all() for x in found.values())


@cases(200)
@given(
    content=damaged(SAFE) | damaged(SAFE[:HEADER]).map(lambda header: header + SAFE[HEADER:]) | st.binary(max_size=40)
)
def test_damaged_safetensors_are_tensors_or_refused(tmp_path_factory, content):
    assert are_tensors(outcome(read_weights, tmp_path_factory.getbasetemp() / "a.safetensors", content))


DTYPES = st.sampled_from(["F32", "F16", "I64", "BOOL", "F8_E4M3", "F8_E8M0", "F4", "C64", "U64", "X", 3, None])
ENTRY = st.fixed_dictionaries(
    {
        "dtype": DTYPES,
        "shape": st.lists(st.integers(-1, 3) | st.just(2**63), max_size=3),
        "data_offsets": st.lists(st.integers(-1, 24) | st.just(2**64), min_size=1, max_size=3),
    }
)


@cases(200)
@given(
    header=st.dictionaries(st.text(max_size=4) | st.sampled_from(["../x", "__metadata__"]), ENTRY, max_size=2),
    claimed=st.none() | st.integers(0, 2**64 - 1),
)
def test_a_made_up_header_of_safetensors_is_tensors_or_refused(tmp_path_factory, header, claimed):
    text = json.dumps(header).encode()
    content = struct.pack("<Q", len(text) if claimed is None else claimed) + text + bytes(24)
    assert are_tensors(outcome(read_weights, tmp_path_factory.getbasetemp() / "b.safetensors", content))


@cases(150)
@given(content=damaged(saved(legacy=False)) | damaged(saved(legacy=True)) | st.binary(max_size=30))
def test_a_damaged_checkpoint_is_tensors_or_refused(tmp_path_factory, content):
    assert are_tensors(outcome(read_weights, tmp_path_factory.getbasetemp() / "a.pth", content))


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
PLAIN = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
)


@cases(100)
@given(content=PLAIN, protocol=st.integers(0, 5), is_whole=st.booleans())
def test_pickles_without_tensors_are_refused(tmp_path_factory, content, protocol, is_whole):
    stream = pickle.dumps(content, protocol=protocol)
    path = tmp_path_factory.getbasetemp() / "b.pth"
    assert outcome(read_weights, path, stream if is_whole else stream[:-2]) is None


@cases(60)
@given(
    names=st.lists(st.text(max_size=4) | st.integers() | st.none(), min_size=1, max_size=3),
    bad=st.sampled_from([None, float("nan"), float("inf")]),
)
def test_only_finite_tensors_with_names_are_weights(tmp_path_factory, names, bad):
    path = tmp_path_factory.getbasetemp() / "c.pth"
    weights = {name: torch.zeros(2) for name in names}
    if bad is not None:
        weights[names[0]] = torch.tensor([0.0, bad])
    torch.save(weights, path)
    found = outcome(read_weights, path)
    assert (found is not None) == (bad is None and all(isinstance(name, str) for name in names))


class Marks:
    """What a hostile pickle holds: reading it would leave a mark."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"model": x}, lambda x: {"model": {"a": x}}])
def test_no_pickle_runs_code(tmp_path, wrap, protocol):
    content = pickle.dumps(wrap(Marks(tmp_path / "mark")), protocol=protocol)
    assert outcome(read_weights, tmp_path / "evil.pth", content) is None
    buffer = io.BytesIO()
    torch.save(wrap(Marks(tmp_path / "mark")), buffer, pickle_protocol=max(protocol, 2))
    assert outcome(read_weights, tmp_path / "evil.pth", buffer.getvalue()) is None
    assert not (tmp_path / "mark").exists()


def test_the_sound_files_are_read_whole(tmp_path):
    for name, content in (("a.safetensors", SAFE), ("a.pth", saved(legacy=False)), ("b.pth", saved(legacy=True))):
        found = outcome(read_weights, tmp_path / name, content)
        assert all(torch.equal(found[key], WEIGHTS[key]) for key in WEIGHTS)
