"""The wheel and the sdist: what they hold, and what works of them where there is no repository."""

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from pipeline.sources import ROOT

pytestmark = pytest.mark.slow

HEAVY = ("torch", "ray", "cv2", "pandas", "dvc", "numpy", "pyarrow", "scipy", "trackeval")
SEQINFO = "[Sequence]\nname=walk\nimDir=img1\nframeRate=30\nseqLength=20\nimWidth=640\nimHeight=480\nimExt=.jpg\n"


def run(*command: str | Path, where: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=300)


def build(*options: str, where: Path) -> None:
    """No isolation: the backend comes from the `dev` extra, so that nothing is downloaded."""
    done = run(sys.executable, "-m", "build", "--no-isolation", *options, where=where)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """The files that Git has or would take, alone: what is ignored must not reach a package."""
    folder = tmp_path_factory.mktemp("sources")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", where=ROOT)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def built(sources, tmp_path_factory) -> Path:
    """The sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    build("--outdir", str(folder), where=sources)
    return folder


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """The binaries of a fresh environment that holds the wheel and borrows its dependencies from this one.

    A path file adds this environment's packages behind its own. Path files among those are not read, so an editable
    install of the project stays out, and only the wheel can answer.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    wheel = next(built.glob("*.whl"))
    done = run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, where=built
    )
    assert done.returncode == 0, done.stderr[-2000:]
    packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", where=built).stdout.strip()
    (Path(packages) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    found = run(python, "-c", "import pipeline; print(*pipeline.__path__)", where=built).stdout.strip()
    assert Path(found) == Path(packages) / "pipeline"
    return folder / "bin"


@pytest.fixture
def empty(tmp_path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def files_below(folder: Path, *names: str) -> set[str]:
    return {str(path.relative_to(folder)) for name in names for path in (folder / name).rglob("*") if path.is_file()}


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(sources, built):
    held = {name for name in zipfile.ZipFile(next(built.glob("*.whl"))).namelist() if ".dist-info/" not in name}
    assert held == files_below(sources, "pipeline", "stages")
    assert "pipeline/py.typed" in held
    assert any(name.endswith(".j2") for name in held)


def test_the_sdist_holds_what_the_tests_and_the_pipeline_read(sources, built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = files_below(sources, "pipeline", "stages", "sweeps", "tests", "benchmarks", "data")
    wanted |= {"Makefile", "constraints.txt", "params.yaml", "cluster.yaml", "dvc.yaml"}
    wanted |= {".gitignore", ".dvcignore", ".dvc/config"}
    assert wanted - held == set()


def test_the_sdist_and_the_sources_build_the_same_wheel(sources, built, tmp_path):
    build("--wheel", "--outdir", str(tmp_path), where=sources)
    first, second = (zipfile.ZipFile(next(folder.glob("*.whl"))) for folder in (built, tmp_path))
    assert {name: first.read(name) for name in first.namelist()} == {
        name: second.read(name) for name in second.namelist()
    }


def test_help_imports_nothing_heavy(installed, empty):
    code = (
        "import sys; from pipeline import cli\ntry: cli.main(['--help'])\nexcept SystemExit: print('#', *sys.modules)"
    )
    loaded = run(installed / "python", "-c", code, where=empty).stdout.rsplit("#", 1)[1].split()
    assert "pipeline.cli" in loaded
    assert set(HEAVY) & set(loaded) == set()
    shown = run(installed / "finetrack", "--help", where=empty)
    assert shown.returncode == 0
    assert "exit codes" in shown.stdout


def test_the_version_is_that_of_pyproject(installed, empty):
    shown = run(installed / "finetrack", "--version", where=empty).stdout.splitlines()
    assert shown[0] == f"finetrack {tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['version']}"
    assert not any("not installed" in line for line in shown)


def test_given_detections_are_tracked_and_scored_in_an_empty_folder(installed, empty):
    sequence = empty / "truth" / "walk"
    (sequence / "gt").mkdir(parents=True)
    (sequence / "seqinfo.ini").write_text(SEQINFO)
    people = [(frame, one, 50 + 300 * one + 2 * frame) for one in (0, 1) for frame in range(1, 21)]
    (sequence / "gt/gt.txt").write_text("".join(f"{f},{one + 1},{x},100,50,120,1,1,1\n" for f, one, x in people))
    (empty / "detections").mkdir()
    (empty / "detections/walk.txt").write_text("".join(f"{f},-1,{x},100,50,120,0.9\n" for f, _, x in sorted(people)))
    track = ("track", "--detections", "detections", "--seqinfo", "truth", "--out", "tracks")
    done = run(installed / "finetrack", *track, where=empty)
    assert done.returncode == 0, done.stderr
    scored = run(installed / "finetrack", "score", "--gt", "truth", "--tracks", "tracks", where=empty)
    assert scored.returncode == 0, scored.stderr
    whole = next(line.split() for line in scored.stdout.splitlines() if "COMBINED" in line)
    assert whole[1] == "100.000"


def test_the_published_figures_are_in_the_wheel(installed, empty):
    shown = run(installed / "finetrack", "compare", "paper", where=empty)
    assert shown.returncode == 0, shown.stderr
    assert "FineTrack" in shown.stdout


@pytest.mark.parametrize(
    "call",
    [
        ("plan",),
        ("track", "video.mp4", "--run", "runs/synthetic", "--out", "tracked"),
        ("export", "--run", "runs/synthetic", "--format", "coco", "--out", "exported"),
        ("submit", "--run", "runs/mot17"),
        ("compare", "reports", "paper"),
    ],
    ids=lambda call: call[0],
)
def test_what_needs_the_repository_or_a_run_says_so_in_one_line(installed, empty, call):
    done = run(installed / "finetrack", *call, where=empty)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "repository" in done.stderr or "dvc repro" in done.stderr
    assert list(empty.iterdir()) == []
