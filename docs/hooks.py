"""What the site says of the code, taken from the code whenever the site is built: MkDocs calls `on_page_markdown`."""

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from pipeline import params, tables
from pipeline.commands import aligned, score
from pipeline.evaluation.schemas import SCHEMAS
from pipeline.reports import published

ROOT = Path(__file__).resolve().parent.parent
MARK = re.compile(r"^<!-- from the code: (\w+) -->$", re.MULTILINE)
NOTE = re.compile(r"\b(?:Choice|Deviation):")
NAMED = re.compile(r"\b(?:folders|crowds|space|objectives|variants\.[^.]+)$")  # mappings of names that a person chose
COMMENT = re.compile(r"(?:^[ ]*#.*\n?)+|#.*", re.MULTILINE)

FILES = {
    "runs/EXPERIMENT/sequences.parquet": tables.SEQUENCES,
    "runs/EXPERIMENT/frames.parquet": tables.FRAMES,
    "runs/EXPERIMENT/ground_truth.parquet": tables.GROUND_TRUTH,
    "runs/EXPERIMENT/detections.parquet, given.parquet": tables.DETECTIONS,
    "runs/EXPERIMENT/embeddings/VARIANT/seedK/ground_truth.parquet, detections.parquet": tables.embeddings_schema(1024),
    "tracks.parquet of finetrack track and finetrack export": tables.TRACKS,
    **{f"reports/{name}.parquet": schema for name, schema in SCHEMAS.items()},
    "reports/published.parquet": published.SCHEMA,
    "what finetrack score --out writes": score.SCHEMA,
    "what finetrack compare --format parquet writes": aligned.SCHEMA,
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put what the code says in the place of each mark.

    Raises:
        KeyError: a mark asks for what nothing here makes.
    """
    return MARK.sub(lambda mark: "\n\n".join(MADE[mark[1]]()), markdown)


def command() -> Iterator[str]:
    """The help of `finetrack` and of each of its calls."""
    whole = _help()
    for call in ["", *re.findall(r"^ {4}(\w+) ", whole, re.MULTILINE)]:
        yield f"## finetrack {call}".rstrip()
        yield f"```text\n{_help(call) if call else whole}```"


def _help(*call: str) -> str:
    wide = {**os.environ, "COLUMNS": "100"}
    arguments = [sys.executable, "-m", "pipeline.cli", *call, "--help"]
    return subprocess.run(arguments, cwd=ROOT, env=wide, check=True, capture_output=True, text=True).stdout


def columns() -> Iterator[str]:
    """A table for each file, a row a column."""
    for name, schema in FILES.items():
        yield f"### {name}"
        yield "\n".join(["| column | type | what it says |", "|---|---|---|", *map(_row, schema)])


def _row(field: pa.Field) -> str:
    said = (field.metadata or {}).get(b"doc", b"").decode().replace("|", "\\|")
    return f"| `{field.name}` | {field.type} | {said} |"


def notes() -> Iterator[str]:
    """Every `Choice:` and `Deviation:` of the code, by module, with the class or function that it is about."""
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        if found := notes_of(path.read_text(encoding="utf-8")):
            yield f"### {path.relative_to(ROOT)}"
            yield "\n".join("- " + NOTE.sub(r"**\g<0>**", note) for note in found)


def notes_of(text: str) -> list[str]:
    """The paragraphs of a module's docstrings and comments that hold a note, each behind what it is about."""
    tree = ast.parse(text)
    said = [
        (node.lineno, paragraph)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for paragraph in inspect.cleandoc(node.value).split("\n\n")
    ]
    for comment in COMMENT.finditer(text):
        said.append((text.count("\n", 0, comment.start()) + 1, re.sub(r"^\s*#", "", comment[0], flags=re.MULTILINE)))
    return [_about(tree, line) + " ".join(one.split()) for line, one in sorted(said) if NOTE.search(one)]


def _about(tree: ast.AST, number: int) -> str:
    kinds = (ast.FunctionDef, ast.ClassDef)
    around = [one for one in ast.walk(tree) if isinstance(one, kinds) and one.lineno <= number <= (one.end_lineno or 0)]
    return "".join(f"`{one.name}`: " for one in around[-1:])


def differences() -> Iterator[str]:
    """A row for each key in which an experiment differs from `shared`, a column for each experiment."""
    everything = params.load(ROOT / "params.yaml")
    usual = leaves(everything["shared"])
    found = {name: leaves(one) for name, one in everything.items() if isinstance(one, dict) and "data" in one}
    rows = [
        [f"`{key}`", *("" if one.get(key) == value else f"`{shown(one.get(key))}`" for one in found.values())]
        for key, value in usual.items()
    ]
    head = ["key", *found]
    lines = [head, ["---"] * len(head), *(row for row in rows if any(row[1:]))]
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines)


def leaves(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The keys of a section by their dotted names; what a person names (variants, folders, ...) is one value."""
    found: dict[str, Any] = {}
    for key, value in section.items():
        name = f"{prefix}{key}"
        is_whole = NAMED.search(name) or not isinstance(value, Mapping)
        found |= {name: value} if is_whole else leaves(value, f"{name}.")
    return found


def shown(value: Any) -> str:
    """A value on one line, as params.yaml has it."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000).removesuffix("...\n").strip()


def benchmarks() -> Iterator[str]:
    """What each benchmark says of itself."""
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        yield f"## {path.stem}"
        yield ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


MADE: dict[str, Callable[[], Iterator[str]]] = {
    made.__name__: made for made in (command, columns, notes, differences, benchmarks)
}
