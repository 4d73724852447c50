"""Tables as text: for a terminal, as Markdown or as LaTeX."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_LATEX = str.maketrans({"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "±": r"$\pm$", "~": r"\~{}"})


@dataclass(frozen=True)
class Printed:
    """A table of texts; the first `names` columns hold names, the others numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1
    notes: Sequence[str] = ()


def to_terminal(tables: Sequence[Printed]) -> str:
    """The tables as rich draws them, as wide as they need to be."""
    stream = io.StringIO()
    console = Console(file=stream, width=200)
    for one in tables:
        drawn = Table(title=escape(one.title), title_justify="left", box=SIMPLE_HEAD)
        for index, name in enumerate(one.columns):
            drawn.add_column(escape(name), justify="left" if index < one.names else "right", no_wrap=True)
        for row in one.rows:
            drawn.add_row(*map(escape, row))
        console.print(drawn)
        for note in one.notes:
            console.print(f" {escape(note)}", highlight=False)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def to_markdown(tables: Sequence[Printed]) -> str:
    """The tables as GitHub's Markdown."""
    parts = []
    for one in tables:
        rule = ["---" if index < one.names else "---:" for index in range(len(one.columns))]
        lines = [f"| {' | '.join(_markdown(cell) for cell in row)} |" for row in (one.columns, rule, *one.rows)]
        parts.append("\n".join([f"**{one.title}**", "", *lines, *(f"\n{note}" for note in one.notes)]))
    return "\n\n".join(parts) + "\n"


def to_latex(tables: Sequence[Printed]) -> str:
    """The tables as LaTeX's `table`, rules by the package booktabs."""
    parts = []
    for one in tables:
        head, *body = (" & ".join(cell.translate(_LATEX) for cell in row) + r" \\" for row in (one.columns, *one.rows))
        kinds = "l" * one.names + "r" * (len(one.columns) - one.names)
        lines = [
            r"\begin{table}",
            rf"\caption{{{'. '.join([one.title, *one.notes]).translate(_LATEX)}}}",
            rf"\begin{{tabular}}{{{kinds}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _markdown(cell: str) -> str:
    return cell.replace("|", r"\|").replace("*", r"\*")
