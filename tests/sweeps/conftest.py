"""A small experiment to sweep, in the working directory."""

import shutil
from pathlib import Path

import pytest
import swept


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A repository's root in which the experiment `tiny` was run."""
    root = tmp_path_factory.mktemp("finished")
    swept.make(root)
    return root


@pytest.fixture
def tiny(finished, tmp_path, monkeypatch) -> Path:
    """A copy of it, which is the working directory."""
    root = tmp_path / "tiny"
    shutil.copytree(finished, root)
    monkeypatch.chdir(root)
    return root
