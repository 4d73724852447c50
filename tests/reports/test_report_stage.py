from pathlib import Path

import pytest

from stages.report import main


@pytest.fixture
def listed(runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that lists `synthetic` alone; the working directory is its root."""
    root = runs.parent
    (root / "params.yaml").write_text("experiments: [synthetic]\n")
    monkeypatch.chdir(root)
    return root


def test_the_stage_reports_the_listed_experiments_and_no_other(
    listed: Path,
) -> None:
    main(Path("runs"), Path("reports"))
    text = (listed / "reports" / "index.html").read_text(encoding="utf-8")
    assert '<section id="synthetic">' in text
    assert '<section id="mot17-half">' not in text


def test_a_second_run_gives_the_same_bytes(listed: Path) -> None:
    main(Path("runs"), Path("one"))
    main(Path("runs"), Path("other"))
    files = sorted(path.relative_to(listed / "one") for path in (listed / "one").rglob("*.*"))
    assert Path("plots/synthetic-hota-val.svg") in files
    assert [(listed / "one" / name).read_bytes() for name in files] == [
        (listed / "other" / name).read_bytes() for name in files
    ]


def test_nothing_is_written_where_scores_are_missing(listed: Path) -> None:
    (listed / "runs" / "synthetic" / "scores" / "curves.parquet").unlink()
    with pytest.raises(ValueError, match="dvc repro score@synthetic"):
        main(Path("runs"), Path("reports"))
    assert not (listed / "reports").exists()
