"""Join the scores of all experiments into tables, figures and one page.

Reads   runs   runs/<experiment>/scores/ of each experiment listed   (pipeline.evaluation.schemas)
Writes  out    the joined tables, published.parquet, metrics.json, plots/*.svg, index.html
Params  experiments
"""

from pathlib import Path

from pipeline import params
from pipeline.entry import run
from pipeline.reports.page import write_page
from pipeline.reports.plots import write_plots
from pipeline.reports.tables import join_scores, write_tables


def main(runs: Path, out: Path) -> None:
    """Compare what the experiments found; `python -m pipeline.reports.terminal reports` prints it."""
    experiments = params.experiments()

    scores = join_scores(runs, experiments)

    write_tables(scores, out)
    write_plots(scores, experiments, out)
    write_page(scores, runs, experiments, out)


if __name__ == "__main__":
    run(main)
