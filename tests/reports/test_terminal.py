import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.reports.tables import join_scores, write_tables
from pipeline.reports.terminal import print_results


@pytest.fixture
def reports(runs: Path, tmp_path: Path) -> Path:
    write_tables(join_scores(runs, ["synthetic", "mot17-half"]), tmp_path / "reports")
    return tmp_path / "reports"


def test_tables_of_every_experiment_and_the_page_are_named(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_results(reports)
    printed = capsys.readouterr().out
    for words in ("synthetic Tracking on val", "synthetic Re-ID on val, protocol loo", "mot17-half Tracking on val"):
        assert words in printed
    assert "protocol gap" not in printed
    assert printed.splitlines()[-1] == f"Page {reports / 'index.html'}"


def test_no_figure_is_cut_on_a_narrow_terminal(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_results(reports)  # 80 columns, where there is no terminal
    printed = capsys.readouterr().out
    assert "\N{HORIZONTAL ELLIPSIS}" not in printed
    row = next(line for line in printed.splitlines() if "finetrack" in line and "65.0" in line)
    assert " ".join(row.split()) == "finetrack 65.0 ± 1.0 70.0 ± 1.0 70.0 ± 1.0 40 ± 4 3"


def test_printing_loads_nothing_heavy(reports: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from pipeline.reports.terminal import print_results
print_results(Path({str(reports)!r}))
heavy = {{"torch", "matplotlib", "ray", "pycocotools", "scipy", "jinja2"}} & set(sys.modules)
sys.exit(f"loaded {{heavy}}" if heavy else 0)
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)


def test_without_results_the_message_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline.reports.terminal", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "dvc repro" in done.stderr
