import json
from pathlib import Path

import pytest

from pipeline.data.supplied import (
    read_weights_card,
    supplied_detections,
    supplied_embeddings,
    supplied_weights,
    write_weights_card,
)


def put(root: Path, *names: str) -> Path:
    (root / "weights").mkdir()
    for name in names:
        (root / "weights" / name).write_bytes(name.encode())
    return root


def test_nothing_supplied_is_nothing_found(tmp_path: Path) -> None:
    assert supplied_detections(tmp_path) is None
    assert supplied_weights(tmp_path) is None


def test_a_folder_of_detections_is_found(tmp_path: Path) -> None:
    (tmp_path / "detections").mkdir()
    assert supplied_detections(tmp_path) == tmp_path / "detections"


def test_embeddings_describe_detections_and_do_not_come_without(tmp_path: Path) -> None:
    assert supplied_embeddings(tmp_path) is None
    (tmp_path / "embeddings").mkdir()
    with pytest.raises(ValueError, match=r"embeddings: embeddings without detections, expected those .* Give them too"):
        supplied_embeddings(tmp_path)
    (tmp_path / "detections").mkdir()
    assert supplied_embeddings(tmp_path) == tmp_path / "embeddings"


@pytest.mark.parametrize("name", ["a.pth", "a.pth.tar", "a.pt", "a.safetensors"])
def test_the_one_checkpoint_is_found_among_other_files(tmp_path: Path, name: str) -> None:
    assert supplied_weights(put(tmp_path, name, "README.md")) == tmp_path / "weights" / name


@pytest.mark.parametrize("names", [(), ("README.md",), ("a.pth", "b.pth")])
def test_none_or_several_checkpoints_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"weights: found \[.*\], expected one checkpoint .* Keep the one"):
        supplied_weights(put(tmp_path, *names))


def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    (put(tmp_path) / "weights" / "a.pth").symlink_to(tmp_path / "gone.pth")
    with pytest.raises(ValueError, match=r"a.pth: leads to no file, expected a checkpoint. Put it back or remove"):
        supplied_weights(tmp_path)


def test_a_card_changes_with_what_the_weights_hold(tmp_path: Path) -> None:
    weights, card = put(tmp_path, "a.pth") / "weights" / "a.pth", tmp_path / "card.json"
    write_weights_card(weights, card)
    before = card.read_bytes()
    write_weights_card(weights, card)
    assert card.read_bytes() == before
    weights.write_bytes(b"others")
    write_weights_card(weights, card)
    assert card.read_bytes() != before


def test_a_card_names_its_weights(tmp_path: Path) -> None:
    weights = put(tmp_path, "a.pth") / "weights" / "a.pth"
    write_weights_card(weights, tmp_path / "new" / "card.json")
    assert read_weights_card(tmp_path / "new" / "card.json") == weights


def test_a_card_of_no_weights_names_none(tmp_path: Path) -> None:
    write_weights_card(None, tmp_path / "card.json")
    assert json.loads((tmp_path / "card.json").read_text()) == {"path": None, "sha256": None}
    assert read_weights_card(tmp_path / "card.json") is None


def test_weights_that_are_gone_are_refused(tmp_path: Path) -> None:
    weights, card = put(tmp_path, "a.pth") / "weights" / "a.pth", tmp_path / "card.json"
    write_weights_card(weights, card)
    weights.unlink()
    with pytest.raises(ValueError, match=r"a.pth: no such file, expected the weights that .*card.json names. Put them"):
        read_weights_card(card)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"path": 3}', "[" * 100_000])
def test_a_card_that_is_none_is_refused_with_its_path(tmp_path, text):
    (tmp_path / "weights.json").write_text(text)
    with pytest.raises(ValueError, match=r"weights\.json: .*expected"):
        read_weights_card(tmp_path / "weights.json")
