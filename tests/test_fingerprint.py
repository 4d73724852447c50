import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.fingerprint import content, fingerprint


@dataclass(frozen=True)
class Settings:
    rate: float
    sizes: tuple[int, ...] = (1, 2)


def folder(where: Path, **files: str) -> Path:
    where.mkdir()
    for name, text in files.items():
        path = where.joinpath(*name.split("__"))
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return where


def test_a_fingerprint_is_sixteen_hexadecimal_digits() -> None:
    assert re.fullmatch("[0-9a-f]{16}", fingerprint())


PARTS: dict[str, Any] = {
    "number": 1,
    "real": 0.5,
    "flag": True,
    "text": "a",
    "none": None,
    "settings": Settings(1.0),
    "array": np.arange(6, dtype=np.float32).reshape(2, 3),
    "nested": {"list": [1, {"deep": (Settings(2.0), np.zeros(2))}]},
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", 2),
        ("number", 1.0),
        ("number", True),
        ("number", "1"),
        ("real", 0.5000000000000001),
        ("flag", False),
        ("text", "b"),
        ("none", "None"),
        ("settings", Settings(1.5)),
        ("settings", Settings(1.0, (1, 2, 3))),
        ("array", np.arange(6, dtype=np.float32).reshape(3, 2)),
        ("array", np.arange(6, dtype=np.float64).reshape(2, 3)),
        ("array", np.arange(1, 7, dtype=np.float32).reshape(2, 3)),
        ("nested", {"list": [1, {"deep": (Settings(2.5), np.zeros(2))}]}),
        ("nested", {"list": [1, {"deep": (Settings(2.0), np.ones(2))}]}),
        ("nested", {"list": [1, {"deeper": (Settings(2.0), np.zeros(2))}]}),
        ("nested", {"list": [{"deep": (Settings(2.0), np.zeros(2))}, 1]}),
        ("another", None),
    ],
)
def test_a_fingerprint_changes_with_any_part(name: str, value: Any) -> None:
    assert fingerprint(**{**PARTS, name: value}) != fingerprint(**PARTS)


def test_bytes_of_another_type_are_another_array() -> None:
    assert fingerprint(a=np.zeros(2, np.float32)) != fingerprint(a=np.zeros(2, np.int32))


def test_order_and_memory_layout_do_not_count() -> None:
    other = dict(reversed(PARTS.items()))
    other["array"] = np.asfortranarray(PARTS["array"])
    other["nested"] = {"list": [1, {"deep": [Settings(2.0), np.zeros(2)]}]}
    assert fingerprint(**other) == fingerprint(**PARTS)


def test_values_keep_to_their_names() -> None:
    assert fingerprint(a=1, b=2) != fingerprint(a=2, b=1)


def test_a_path_stands_for_content_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("same")
    (tmp_path / "b.txt").write_text("same")
    (tmp_path / "c.txt").write_text("other")
    a, b, c = (fingerprint(file=tmp_path / name) for name in ("a.txt", "b.txt", "c.txt"))
    assert a == b != c
    assert fingerprint(files=[tmp_path / "a.txt"]) == fingerprint(files=(tmp_path / "b.txt",))


def test_a_folder_stands_for_names_and_content_of_its_files(tmp_path: Path) -> None:
    first = folder(tmp_path / "first", a="1", b="2", sub__c="3")
    assert content(first) == content(folder(tmp_path / "same", sub__c="3", b="2", a="1"))
    for name, files in {
        "changed": {"a": "1", "b": "2", "sub__c": "4"},
        "renamed": {"a": "1", "bb": "2", "sub__c": "3"},
        "moved": {"a": "1", "b": "2", "c": "3"},
        "swapped": {"a": "2", "b": "1", "sub__c": "3"},
        "fewer": {"a": "1", "b": "2"},
    }.items():
        assert content(first) != content(folder(tmp_path / name, **files)), name


@pytest.mark.parametrize("call", [content, lambda path: fingerprint(model=path)])
def test_a_missing_path_is_refused(tmp_path: Path, call: Callable[[Path], str]) -> None:
    with pytest.raises(ValueError, match=r"none: no such file or folder, expected what an earlier stage made. Run"):
        call(tmp_path / "none")
