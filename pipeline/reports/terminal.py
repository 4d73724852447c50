"""The results in a terminal: of each experiment its tracking and Re-ID tables, and where the page is."""

import sys
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import tables
from pipeline.reports.results import HEADLINE, METHOD, PROTOCOL, ResultsTable, of, reid_tables, tracking_tables


def print_results(reports: Path) -> None:
    """Print the tables of `reports` that sum an experiment up, and the path of its page.

    Raises:
        ValueError: a table is missing; there were no results yet.
    """
    tracking = tables.read_any(reports / "tracking.parquet")
    reid = of(tables.read_any(reports / "reid.parquet"), protocol=PROTOCOL)
    console = Console()
    for experiment in sorted({*tracking["experiment"].to_pylist(), *reid["experiment"].to_pylist()}):
        shown = [
            *tracking_tables(of(tracking, experiment=experiment), HEADLINE),
            *reid_tables(of(reid, experiment=experiment)),
        ]
        for table in shown:
            console.print(_rich(table, experiment))
    console.print(Text.assemble(("Page ", "bold"), str(reports / "index.html")), soft_wrap=True)


def _rich(table: ResultsTable, experiment: str) -> Table:
    heading = f"[bold not italic]{experiment}[/] {table.title}"
    result = Table(title=heading, caption=table.caption, box=SIMPLE_HEAD, title_justify="left", caption_justify="left")
    for column in table.columns:
        result.add_column(column.name, justify="right" if column.is_number else "left", overflow="fold")
    for row in table.rows:
        style = "bold" if row[0].text == METHOD else ""
        result.add_row(*(Text(cell.text, style="green" if cell.is_best else "") for cell in row), style=style)
    return result


if __name__ == "__main__":
    try:
        print_results(Path(*sys.argv[1:]))
    except ValueError as error:
        sys.exit(f"results: {error}")
