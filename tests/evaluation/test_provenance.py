import copy
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import tables
from pipeline.evaluation import provenance
from pipeline.evaluation.provenance import PACKAGES, Provenance, git_revision, host, resolved, versions
from pipeline.evaluation.schemas import PROVENANCE

VARIANTS = ["baseline", "mpmg"]
ROWS = [("baseline", 0), ("baseline", 1), ("mpmg", 0), ("bytetrack", 0), ("sort", 0), ("detector", 0)]
PARAMS: dict[str, Any] = {
    "data": {"benchmark": "MOT17"},
    "detector": {"size": "nano"},
    "detect": {"batch": 8},
    "features": {"roi": [16, 8]},
    "reid": {"rate": 0.1, "seeds": [0, 1], "variants": {"baseline": {"pool": "gap"}, "mpmg": {"pool": "mpmg"}}},
    "embed": {"min_score": 0.1},
    "track": {"buffer": 30},
    "score": {"gap": 10},
}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], None]:
    """Writes params.yaml into the current folder, which holds an input table and no more."""
    monkeypatch.chdir(tmp_path)
    Path("inputs").write_text("1")

    def write(toy: dict[str, Any]) -> None:
        Path("params.yaml").write_text(yaml.safe_dump({"experiments": ["toy"], "toy": toy, "other": PARAMS}))

    write(PARAMS)
    return write


def fingerprints() -> dict[tuple[str, int], str]:
    made = Provenance("toy", inputs=(Path("inputs"),), work=Path("work"))
    return {row: made.key(*row) for row in ROWS}


def changed(*path: str) -> dict[str, Any]:
    """The parameters with another value at `path`."""
    toy = copy.deepcopy(PARAMS)
    place = toy
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = "other"
    return toy


def test_every_row_has_a_fingerprint_of_its_own(write: Callable) -> None:
    assert len(set(fingerprints().values())) == len(ROWS)
    assert fingerprints() == fingerprints()


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        (("reid", "variants", "mpmg", "pool"), {("mpmg", 0)}),
        (("reid", "rate"), {("baseline", 0), ("baseline", 1), ("mpmg", 0)}),
        (("reid", "seeds"), set()),
        (("features", "roi"), {("baseline", 0), ("baseline", 1), ("mpmg", 0)}),
        (("embed", "min_score"), {("baseline", 0), ("baseline", 1), ("mpmg", 0)}),
        (("track", "buffer"), set(ROWS) - {("detector", 0)}),
        (("detector", "size"), set(ROWS)),
        (("detect", "batch"), set(ROWS)),
        (("data", "benchmark"), set(ROWS)),
        (("score", "gap"), set(ROWS)),
    ],
)
def test_a_setting_changes_the_rows_that_depend_on_it_and_no_others(
    write: Callable, path: tuple[str, ...], rows: set[tuple[str, int]]
) -> None:
    before = fingerprints()
    write(changed(*path))
    assert {row for row, key in fingerprints().items() if key != before[row]} == rows


def test_another_variant_changes_no_row(write: Callable) -> None:
    before = fingerprints()
    toy = copy.deepcopy(PARAMS)
    toy["reid"]["variants"]["finetrack"] = {"pool": "mpmg"}
    write(toy)
    assert fingerprints() == before


def test_other_inputs_change_every_row(write: Callable) -> None:
    before = fingerprints()
    Path("inputs").write_text("2")
    assert not set(fingerprints().values()) & set(before.values())


def test_settings_of_a_variant_are_its_own(write: Callable) -> None:
    found = resolved("toy", "mpmg", 1)
    assert found["reid"] == {"rate": 0.1, "variant": {"pool": "mpmg"}, "seeds": [1]}
    assert {name: found[name] for name in ("experiment", "variant", "seed")} == {
        "experiment": "toy",
        "variant": "mpmg",
        "seed": 1,
    }
    assert found["track"] == PARAMS["track"]


def test_rows_without_appearance_leave_it_out(write: Callable) -> None:
    assert set(resolved("toy", "bytetrack", 0)) == {
        *("experiment", "variant", "seed", "data", "detector", "detect", "track", "score"),
    }
    assert set(resolved("toy", "detector", 0)) == {
        *("experiment", "variant", "seed", "data", "detector", "detect", "score"),
    }


def test_a_missing_section_is_named(write: Callable) -> None:
    write({name: value for name, value in PARAMS.items() if name != "embed"})
    with pytest.raises(ValueError, match=r"params.yaml:toy: keys are .*, expected also 'embed'. Add it."):
        resolved("toy", "mpmg", 0)


def test_rows_tell_what_each_fingerprint_stands_for_once(write: Callable) -> None:
    tables.write_text('{"seconds": 2.5}\n', Path("work/seconds/track.json"))
    made = Provenance("toy", inputs=(Path("inputs"),), work=Path("work"))
    keys = [made.key("mpmg", 0), made.key("sort", 0), made.key("mpmg", 0)]
    rows = made.rows()
    assert [row["fingerprint"] for row in rows] == keys[:2]
    assert set(rows[0]) == set(PROVENANCE.names)
    assert (rows[0]["experiment"], rows[0]["variant"], rows[0]["seed"]) == ("toy", "mpmg", 0)
    assert json.loads(rows[0]["params"]) == resolved("toy", "mpmg", 0)
    assert json.loads(rows[0]["seconds"]) == {"track": 2.5}


def test_versions_name_python_and_every_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGES", (*PACKAGES, "no-such-package"))
    found = versions()
    assert list(found) == ["python", *PACKAGES, "no-such-package"]
    assert found["numpy"][0].isdigit()
    assert found["no-such-package"] == "not installed"


def git(*arguments: str) -> str:
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    return subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def test_the_revision_is_the_commit_with_a_plus_where_files_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_revision() == "", "no repository"
    git("init", "-q")
    assert git_revision() == "", "no commit"
    Path("a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "start")
    commit = git("rev-parse", "HEAD")
    Path("not tracked").write_text("1")
    assert git_revision() == commit
    Path("a").write_text("2")
    assert git_revision() == f"{commit}+"
    monkeypatch.setenv("PATH", "")
    assert git_revision() == "", "no Git"


def test_the_host_is_a_kind_and_no_name() -> None:
    import platform

    assert " cores, " in host()
    assert platform.node() not in host()
