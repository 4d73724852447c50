from pathlib import Path

import pytest

from pipeline.inference.stores import read_card, store_paths, write_card
from pipeline.inference.targets import SequenceFrames, SequenceTargets


def targets(split: str, name: str) -> SequenceTargets:
    return SequenceTargets(SequenceFrames(split, name, ()), (), (), ())


def test_every_sequence_of_every_split_has_a_file_of_its_own() -> None:
    some = [targets("train", "a"), targets("val", "a"), targets("val", "b")]
    paths = store_paths(some, Path("stores"))
    assert len(paths) == 3
    assert list(paths.values()) == some
    assert {path.parent for path in paths} == {Path("stores")}


def test_a_card_names_the_stores_of_each_kind_in_their_order(tmp_path: Path) -> None:
    people = store_paths([targets("val", "b"), targets("val", "a")], tmp_path / "people")
    found = store_paths([targets("val", "a")], tmp_path / "found")
    write_card({"ground_truth": people, "detections": found}, {"roi": (16, 8)}, tmp_path / "new" / "card.json")
    card = tmp_path / "new" / "card.json"
    assert read_card(card, "ground_truth") == [
        ("val", "b", tmp_path / "people" / "val-b.arrow"),
        ("val", "a", tmp_path / "people" / "val-a.arrow"),
    ]
    assert read_card(card, "detections") == [("val", "a", tmp_path / "found" / "val-a.arrow")]


def test_a_card_without_stores_names_none(tmp_path: Path) -> None:
    write_card({"ground_truth": {}, "detections": {}}, {}, tmp_path / "card.json")
    assert read_card(tmp_path / "card.json", "detections") == []


def test_a_missing_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"card.json: no such file, expected the card of the feature stores. Run"):
        read_card(tmp_path / "card.json", "detections")
