import doctest
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from pipeline import sources

FILES = {
    "app/one.py": '"""One."""\n\nfrom app import two\n\n\ndef f():\n    from app.deep.four import x\n\n    return x\n',
    "app/two.py": "import json\nimport app.three as t\n",
    "app/three.py": "from app.two import t  # a circle\n",
    "app/deep/four.py": "import numpy\n\nx = 1\n",
    "app/apart.py": "import app.one\n",
    "app/__init__.py": "import app.apart\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def names(project: Path, *modules: str) -> list[str]:
    return [str(path.relative_to(project)) for path in sources.reach(*modules, root=project)]


def at(project: Path) -> ModuleType:
    """The module as if it were part of another project, fresh, for it keeps digests."""
    (project / "pipeline").mkdir(exist_ok=True)
    copy = project / "pipeline" / "sources.py"
    copy.write_text(Path(sources.__file__).read_text())
    spec = importlib.util.spec_from_file_location("sources_elsewhere", copy)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def digest(project: Path, *modules: str) -> str:
    return at(project).code_digest(*modules)


def edit(project: Path, name: str, before: str, after: str) -> None:
    text = (project / name).read_text()
    assert before in text
    (project / name).write_text(text.replace(before, after))


def test_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(sources).failed == 0


def test_reach_goes_through_others_and_into_functions(project: Path) -> None:
    assert names(project, "app.one") == ["app/deep/four.py", "app/one.py", "app/three.py", "app/two.py"]


def test_a_circle_of_imports_ends(project: Path) -> None:
    assert names(project, "app.three") == ["app/three.py", "app/two.py"]


def test_several_modules_reach_what_any_of_them_does(project: Path) -> None:
    assert names(project, "app.deep.four", "app.three") == ["app/deep/four.py", "app/three.py", "app/two.py"]


def test_other_projects_and_packages_themselves_do_not_count(project: Path) -> None:
    assert names(project, "app.deep.four") == ["app/deep/four.py"]


@pytest.mark.parametrize("name", ["numpy", "app", "app.none"])
def test_a_module_of_another_project_is_refused(project: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: no module of this project under .*. Correct the name."):
        sources.reach("app.one", name, root=project)


def test_comments_docstrings_and_layout_do_not_change_a_digest(project: Path) -> None:
    before = digest(project, "app.one")
    edit(project, "app/one.py", '"""One."""', '# Ours.\n"""The one,\n\nin more words."""')
    edit(project, "app/one.py", "def f():\n", 'def f():\n    """Of four."""\n\n')
    edit(project, "app/deep/four.py", "x = 1\n", 'x = (\n    1  # why\n)\n"""What x is."""\n')
    assert digest(project, "app.one") == before


@pytest.mark.parametrize(
    ("name", "was", "becomes"),
    [
        ("app/one.py", "return x", "return x + 1"),
        ("app/two.py", "import json", "import csv"),
        ("app/deep/four.py", "x = 1", "x = 2"),
        ("app/deep/four.py", "x = 1", "x = 'a string that counts'"),
    ],
)
def test_code_anywhere_in_reach_changes_a_digest(project: Path, name: str, was: str, becomes: str) -> None:
    before = digest(project, "app.one")
    edit(project, name, was, becomes)
    assert digest(project, "app.one") != before


def test_code_out_of_reach_does_not_change_a_digest(project: Path) -> None:
    before = digest(project, "app.one")
    edit(project, "app/apart.py", "import app.one", "y = 1")
    assert digest(project, "app.one") == before


def test_a_digest_does_not_depend_on_where_the_project_lies(tmp_path: Path) -> None:
    digests = set()
    for place in ("here", "there"):
        (tmp_path / place / "app").mkdir(parents=True)
        (tmp_path / place / "app" / "one.py").write_text("x = 1\n")
        digests.add(digest(tmp_path / place, "app.one"))
    assert len(digests) == 1
