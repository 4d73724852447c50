"""Which of this project's source files a module reaches: for DVC's declared deps and for fingerprints of code."""

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def reach(*modules: str, root: Path = ROOT) -> list[Path]:
    """Files under `root` that the modules import, directly or through others, themselves included.

    Imports inside functions count; packages' `__init__` files, which hold docstrings only, do not.

    >>> [path.name for path in reach("pipeline.boxes")]
    ['boxes.py']

    Raises:
        ValueError: a module is not a file of this project.
    """
    found: set[Path] = set()
    waiting = [_file(module, root) for module in modules]
    if None in waiting:
        raise ValueError(f"{modules[waiting.index(None)]}: no module of this project under {root}. Correct the name.")
    while waiting:
        path = waiting.pop()
        if path is not None and path not in found:
            found.add(path)
            waiting.extend(_imported(path, root))
    return sorted(found)


@cache
def code_digest(*modules: str) -> str:
    """Digest of what the modules and all they reach compute: comments and docstrings do not count."""
    digest = hashlib.sha256()
    for path in reach(*modules):
        tree = _WithoutStrings().visit(ast.parse(path.read_text(encoding="utf-8")))
        digest.update(f"{path.relative_to(ROOT)}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()


def _imported(path: Path, root: Path) -> list[Path]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [file for name in names if (file := _file(name, root)) is not None]


def _file(module: str, root: Path) -> Path | None:
    path = root.joinpath(*module.split(".")).with_suffix(".py")
    return path if path.is_file() else None


class _WithoutStrings(ast.NodeTransformer):
    """Takes out strings that stand alone: docstrings, those of attributes too."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_string = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_string else node
