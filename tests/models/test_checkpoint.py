"""Reading others' checkpoints, and model folders there and back."""

import collections
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from pipeline.models.checkpoint import load_checkpoint, read_weights
from pipeline.models.folder import CARD, WEIGHTS, load_model, save_model
from pipeline.models.yolox import YOLOX


def micro(classes: int = 1, **kind) -> YOLOX:
    return YOLOX(**({"depth": 0.33, "width": 0.125} | kind), classes=classes)


def same(first: YOLOX, second: YOLOX) -> bool:
    other = second.state_dict()
    return all(torch.equal(x, other[name]) for name, x in first.state_dict().items())


@pytest.fixture
def weights() -> collections.OrderedDict:
    torch.manual_seed(1)
    return micro().state_dict()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {"model": weights},
        lambda weights: {
            "start_epoch": 80,
            "model": weights,
            "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
        },
        lambda weights: {
            "model": weights,
            "best_ap": np.float64(0.4),
            "curr_ap": np.float32(0.3),
            "epoch": np.int64(3),
        },
    ],
    ids=["bare", "model", "bytetrack", "numpy-scalars"],
)
@pytest.mark.parametrize("name", ["a.pth", "a.pth.tar"])
def test_bytetracks_and_megviis_files_fill_the_model(tmp_path, weights, wrap, name):
    torch.save(wrap(weights), tmp_path / name)
    model = micro()
    report = load_checkpoint(model, tmp_path / name)
    assert all(torch.equal(x, weights[key]) for key, x in model.state_dict().items())
    assert (len(report.loaded), report.skipped) == (len(weights), ())


def test_numpy_scalars_pickled_by_numpy_1_are_read(tmp_path, weights):
    torch.save(
        {"model": weights, "best_ap": np.float64(0.4)},
        tmp_path / "new.pth",
        _use_new_zipfile_serialization=False,
    )
    old = (tmp_path / "new.pth").read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "old.pth").write_bytes(old)
    assert b"numpy.core.multiarray" in old
    assert load_checkpoint(micro(), tmp_path / "old.pth").skipped == ()


def test_our_own_file_and_folder_fill_the_model(tmp_path, weights):
    save_model(tmp_path / "detector", weights, {})
    from_folder, from_file = micro(), micro()
    load_checkpoint(from_folder, tmp_path / "detector")
    load_checkpoint(from_file, str(tmp_path / "detector" / WEIGHTS))
    assert same(from_folder, from_file)
    assert torch.equal(from_file.head.cls_preds[0].weight, weights["head.cls_preds.0.weight"])


def test_other_classes_are_skipped_when_not_strict_and_named(tmp_path):
    torch.save(micro(classes=80).state_dict(), tmp_path / "coco.pth")
    model = micro()
    fresh = model.head.cls_preds[0].weight.clone()
    report = load_checkpoint(model, tmp_path / "coco.pth", strict=False)
    assert report.skipped == tuple(f"head.cls_preds.{i}.{kind}" for i in range(3) for kind in ("weight", "bias"))
    assert len(report.loaded) + 6 == len(model.state_dict())
    assert torch.equal(model.head.cls_preds[0].weight, fresh)


def test_other_classes_are_refused_when_strict(tmp_path):
    torch.save(micro(classes=80).state_dict(), tmp_path / "coco.pth")
    with pytest.raises(ValueError, match=r"classes: 80, expected YOLOX .* classes: 1\. Load with strict=False"):
        load_checkpoint(micro(), tmp_path / "coco.pth")


@pytest.mark.parametrize("strict", [True, False])
def test_a_checkpoint_of_another_size_is_refused_and_told_apart(tmp_path, strict):
    torch.save({"model": YOLOX.build("nano", classes=80).state_dict()}, tmp_path / "nano.pth")
    with torch.device("meta"):
        model = YOLOX.build("s")
    expected = r"nano\.pth: weights of YOLOX nano, classes: 80, expected YOLOX s, classes: 1\. Build"
    with pytest.raises(ValueError, match=expected):
        load_checkpoint(model, tmp_path / "nano.pth", strict=strict)


@pytest.mark.parametrize("strict", [True, False])
def test_a_checkpoint_that_lacks_more_than_class_layers_is_refused(tmp_path, weights, strict):
    del weights["head.reg_preds.1.bias"]
    torch.save(weights, tmp_path / "part.pth")
    with pytest.raises(ValueError, match=r"1 tensors differ .* head\.reg_preds\.1\.bias: found None, expected .*4"):
        load_checkpoint(micro(), tmp_path / "part.pth", strict=strict)


def test_a_refused_checkpoint_leaves_the_model_as_it_was(tmp_path):
    torch.save(micro(classes=80).state_dict(), tmp_path / "coco.pth")
    model = micro()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    with pytest.raises(ValueError):
        load_checkpoint(model, tmp_path / "coco.pth")
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())


def test_weights_of_something_else_are_no_yolox(tmp_path):
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"no YOLOX \(1 tensors, the first fc\.weight\)"):
        load_checkpoint(micro(), tmp_path / "other.pth")


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_file_is_refused_by_name(tmp_path, weights, name, share):
    path = tmp_path / name
    (safetensors.torch.save_file if name.endswith("tensors") else torch.save)(weights, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ValueError, match=rf"{name}: .*expected .* again") as refusal:
        load_checkpoint(micro(), path)
    assert "\n" not in str(refusal.value)


class Surprise:
    """Creates a file when unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def pickled(content, path: Path):
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("dump", [torch.save, pickled])
def test_a_pickle_that_would_run_code_is_refused_without_running_it(tmp_path, dump):
    dump({"model": Surprise(tmp_path / "mark")}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="torch cannot read it"):
        load_checkpoint(micro(), tmp_path / "evil.pth")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}, {"model": {"epoch": 3}}, {"model": torch.zeros(2)}])
def test_a_pickle_that_is_no_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "plain.pth")
    with pytest.raises(
        ValueError, match=r"plain\.pth: found a .* maps no names to finite tensors, expected a state dict"
    ):
        load_checkpoint(micro(), tmp_path / "plain.pth")


def test_a_missing_checkpoint_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"none\.pth: no such file"):
        load_checkpoint(micro(), tmp_path / "none.pth")


def test_a_model_folder_comes_back_equal(tmp_path, weights):
    card = {"classes": 1, "name": "Zürich", "input_size": [256, 448]}
    save_model(tmp_path / "runs" / "detector", weights, card)
    found, found_card = load_model(tmp_path / "runs" / "detector")
    assert found_card == card
    assert found.keys() == weights.keys()
    assert all(torch.equal(x, weights[name]) for name, x in found.items())


def test_equal_models_give_equal_bytes_whatever_the_memory_format(tmp_path):
    model = micro()
    save_model(tmp_path / "one", model.state_dict(), {"a": 1, "b": 2})
    save_model(tmp_path / "two", model.to(memory_format=torch.channels_last).state_dict(), {"b": 2, "a": 1})
    for name in (WEIGHTS, CARD):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_saving_replaces_a_folder_and_leaves_nothing_beside_it(tmp_path):
    folder = tmp_path / "model"
    save_model(folder, {"x": torch.zeros(2)}, {"step": 1})
    (folder / "stale").touch()
    save_model(folder, {"x": torch.ones(2)}, {"step": 2})
    assert load_model(folder)[1] == {"step": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert sorted(path.name for path in folder.iterdir()) == sorted([WEIGHTS, CARD])


def test_a_failed_save_keeps_the_old_model_and_leaves_nothing_beside_it(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    save_model(folder, {"x": torch.zeros(2)}, {"step": 1})
    with pytest.raises(TypeError):
        save_model(folder, {"x": torch.ones(2)}, {"step": object()})
    assert load_model(folder)[1] == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_incomplete_model_folder_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere: no card\.json.* Run `dvc repro`"):
        load_model(tmp_path / "nowhere")
    save_model(tmp_path / "model", {"x": torch.zeros(2)}, {})
    (tmp_path / "model" / CARD).write_text("{")
    with pytest.raises(ValueError, match=r"card\.json: .*expected JSON"):
        load_model(tmp_path / "model")
    (tmp_path / "model" / CARD).unlink()
    with pytest.raises(ValueError, match=r"no card\.json"):
        load_model(tmp_path / "model")


def test_the_card_is_readable_text(tmp_path):
    save_model(tmp_path / "model", {"x": torch.zeros(2)}, {"classes": 1})
    assert json.loads((tmp_path / "model" / CARD).read_text()) == {"classes": 1}


@pytest.mark.parametrize("weights", [{"a": torch.tensor([float("nan")])}, {1: torch.zeros(1)}])
def test_weights_that_are_not_finite_or_have_no_names_are_refused(tmp_path, weights):
    torch.save(weights, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth: found a dict that maps no names to finite tensors"):
        read_weights(tmp_path / "a.pth")


def test_a_pickle_that_fails_in_any_way_is_refused(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"\x80\x02]q\x00(K\x01a.")
    with pytest.raises(ValueError, match=r"a\.pth: torch cannot read it"):
        read_weights(tmp_path / "a.pth")
