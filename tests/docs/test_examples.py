"""Examples in docstrings and on the site's pages are run."""

import doctest
import importlib

import pytest

from pipeline.sources import ROOT

MODULES = [path for path in sorted((ROOT / "pipeline").rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
PAGES = [path for path in sorted((ROOT / "docs").rglob("*.md")) if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_examples_of_a_module_print_what_they_say(path) -> None:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    done = doctest.testmod(importlib.import_module(name))
    assert done.attempted > 0
    assert done.failed == 0


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_examples_of_a_page_print_what_they_say(path) -> None:
    done = doctest.testfile(str(path), module_relative=False)
    assert done.attempted > 0
    assert done.failed == 0


def test_there_are_examples() -> None:
    assert len(MODULES) > 10
    assert PAGES
