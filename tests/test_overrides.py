"""`dvc exp run -S` on the shipped parameters: what is set is set, and nothing else."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from pipeline.sources import ROOT

SHIPPED = yaml.safe_load((ROOT / "params.yaml").read_text())
EXPERIMENTS = [name for name, section in SHIPPED.items() if isinstance(section, dict) and "data" in section]


def numbers(values: dict[str, Any], *path: str) -> Iterator[tuple[str, ...]]:
    """The path of the first number in each mapping."""
    found = next((name for name, value in values.items() if type(value) in (int, float)), None)
    if found is not None:
        yield (*path, found)
    for name, value in values.items():
        if isinstance(value, dict):
            yield from numbers(value, *path, name)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_override_changes_its_own_experiment_alone(experiment, tmp_path):
    """Of a mapping that stands in two sections by an alias, DVC writes the later section's values: nothing changes."""
    path = Path(shutil.copy(ROOT / "params.yaml", tmp_path))
    chosen = list(numbers(SHIPPED[experiment], experiment))
    assert len(chosen) >= 8
    apply_overrides(str(path), [f"{'.'.join(one)}=77" for one in chosen])
    expected = yaml.safe_load((ROOT / "params.yaml").read_text())
    for one in chosen:
        section = expected
        for name in one[:-1]:
            section = section[name]
        section[one[-1]] = 77
    assert yaml.safe_load(path.read_text()) == expected
