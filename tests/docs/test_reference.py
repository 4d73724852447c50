"""The reference says all there is, as it is: keys, values, columns, notes, calls."""

import dataclasses
import importlib.util
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from pipeline import cli, params, tables
from pipeline.commands.plan import SECTIONS
from pipeline.evaluation.schemas import SCHEMAS
from pipeline.sources import ROOT
from pipeline.sweeps import results
from pipeline.sweeps.declaration import Sweep

PARAMS = params.load(ROOT / "params.yaml")
SOURCES = re.compile(r"ours|ByteTrack|TrackEval|paper")


def loaded_hooks() -> Any:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs/hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hooks = loaded_hooks()


def page(name: str) -> str:
    return hooks.on_page_markdown((ROOT / "docs" / name).read_text(encoding="utf-8"))


def rows(section: str) -> dict[str, tuple[str, ...]]:
    """The rows of a section of the page of params.yaml, by key."""
    text = (ROOT / "docs/reference/params.md").read_text(encoding="utf-8")
    (body,) = re.findall(rf"^## {section}\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    lines = [line for line in body.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {len(one) for one in cells} == {5}, f"{section}: a row that is not key, default, unit, meaning, source"
    return {key.strip("`"): tuple(rest) for key, *rest in cells}


def values(section: str) -> dict[str, Any]:
    """The keys and defaults that the page must have."""
    home = {"data": PARAMS["synthetic"].get("data"), "sweeps": PARAMS["sweeps"]["association"]}
    return hooks.leaves({section: home.get(section) or PARAMS["shared"][section]})


@pytest.mark.parametrize("section", [*SECTIONS, "sweeps"])
def test_every_key_stands_on_the_page_of_params_with_its_default_and_source(section: str) -> None:
    written, wanted = rows(section), values(section)
    assert list(written) == [key.removeprefix(f"{section}.") for key in wanted]
    for key, value in wanted.items():
        default, _, _, source = written[key.removeprefix(f"{section}.")]
        if not key.endswith(".space"):
            assert yaml.safe_load(default.strip("`")) == value, key
        assert SOURCES.search(source), key


def test_every_section_and_setting_that_a_stage_reads_is_among_the_keys() -> None:
    for section, settings in {**SECTIONS, "sweeps": Sweep}.items():
        fields = {field.name for field in dataclasses.fields(settings)}
        assert {key.split(".")[0] for key in rows(section)} == fields, section


def test_the_table_of_differences_gives_every_experiment_its_own_values() -> None:
    text = page("reference/params.md")
    (row,) = re.findall(r"^\| `detector.input_size` \| (.*) \|$", text, re.MULTILINE)
    named = [name for name, one in PARAMS.items() if "data" in one]
    (head,) = re.findall(r"^\| key \| (synthetic .*) \|$", text, re.MULTILINE)
    assert head.split(" | ") == named
    own = {name: yaml.safe_load(cell.strip(" `")) for name, cell in zip(named, row.split(" |"), strict=True)}
    usual = PARAMS["shared"]["detector"]["input_size"]
    assert {name: value or usual for name, value in own.items()} == {
        name: PARAMS[name]["detector"]["input_size"] for name in named
    }


def test_every_call_of_the_command_is_described_by_its_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    text = page("reference/command.md")
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    calls = re.findall(r"^ {4}(\w+) ", capsys.readouterr().out, re.MULTILINE)
    assert len(calls) >= 7
    for call in calls:
        assert f"## finetrack {call}\n\n```text\nusage: finetrack {call} " in text


def test_every_column_of_every_declared_table_is_described() -> None:
    declared = {id(one): name for name, one in vars(tables).items() if isinstance(one, pa.Schema)}
    declared |= {id(one): name for name, one in SCHEMAS.items()}
    assert [name for key, name in declared.items() if key not in map(id, hooks.FILES.values())] == []
    text = page("reference/files.md")
    for name, schema in hooks.FILES.items():
        (body,) = re.findall(rf"^### {re.escape(name)}\n(.*?)(?=^### |\Z)", text, re.MULTILINE | re.DOTALL)
        assert re.findall(r"^\| `(\w+)` \|", body, re.MULTILINE) == schema.names


def test_the_columns_that_every_sweep_has_are_named() -> None:
    listed = re.findall(r"`trials.parquet` has the columns (.*?), then", page("reference/files.md"), re.DOTALL)
    assert re.findall(r"`(\w+)`", listed[0]) == list(results._ROW)


def test_every_choice_and_deviation_of_the_code_is_on_the_page_of_the_paper() -> None:
    text = page("paper.md")
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "pipeline").rglob("*.py")]
    marks = [mark for source in sources for mark in re.findall(r"\b(Choice|Deviation):", source)]
    assert len(marks) > 30
    assert sorted(re.findall(r"\*\*(Choice|Deviation):\*\*", text)) == sorted(marks)


def test_a_note_is_a_whole_paragraph_behind_what_it_is_about() -> None:
    source = '''
def pool(x):
    """Pool.

    The paper says weighted. Choice: a mean,
    so that size does not count.

    Raises: nothing.
    """
    # Choice: never twice,
    # here.
    return x  # Deviation: as it is
'''
    assert hooks.notes_of(source) == [
        "`pool`: The paper says weighted. Choice: a mean, so that size does not count.",
        "`pool`: Choice: never twice, here.",
        "`pool`: Deviation: as it is",
    ]


def test_settings_that_the_page_of_the_paper_names_exist() -> None:
    text = (ROOT / "docs/paper.md").read_text(encoding="utf-8")
    known = {*hooks.leaves(PARAMS["shared"]), "reid.variants"}
    named = set(re.findall(rf"`((?:{'|'.join(SECTIONS)})\.[\w.]+)[`:]", text))
    assert len(named) > 15
    assert named - known == set()


def test_every_benchmark_is_described() -> None:
    text = page("reference/benchmarks.md")
    names = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert set(re.findall(r"^## (\w+)$", text, re.MULTILINE)) == names


def rows_of(text: str) -> dict[str, list[str]]:
    """Cells of each table row that begins with a variant's name."""
    rows = (line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `"))
    return {row[0].split("`")[1]: row[1:] for row in rows}


def test_the_readmes_headline_figures_are_those_of_the_results_page() -> None:
    page_of = (ROOT / "docs/results.md").read_text(encoding="utf-8").split("\n## ")
    headline = rows_of((ROOT / "README.md").read_text(encoding="utf-8").split("\n## ")[1])
    assert set(headline) == {"finetrack", "fafpn", "mpmg", "baseline", "bytetrack"}
    for column, section in enumerate(("synthetic", "mot15-mini")):
        measured = rows_of(next(one for one in page_of if one.startswith(section)).split("Association alone")[0])
        for name, cells in headline.items():
            hota, _, _, idf1, _, loo, *_ = [re.sub(r" ± [0-9.]+", "", cell) for cell in [*measured[name], "", ""]]
            found = [one for one in (hota, idf1, loo.partition(" / ")[2]) if one]
            assert cells[column].split(" / ") == found, (section, name)


def test_a_mark_for_nothing_is_an_error() -> None:
    with pytest.raises(KeyError):
        hooks.on_page_markdown("<!-- from the code: nonsense -->")


def test_pages_hold_no_mark_that_nothing_fills() -> None:
    for path in sorted((ROOT / "docs").rglob("*.md")):
        assert "<!--" not in hooks.on_page_markdown(path.read_text(encoding="utf-8")), Path(path.name)
