"""Fixtures every test may ask for."""

import os
from pathlib import Path

import hypothesis
import pytest
import tiny

from pipeline.storage import Storage

hypothesis.settings.register_profile("patient", deadline=None)  # a loaded machine is no fault
hypothesis.settings.load_profile("patient")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The development material beside the project (reference outputs, real data), where there is any."""
    folder = Path(os.environ.get("FINETRACK_SHARED", ROOT.parent / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip(f"{folder}: no reference material beside the project; set FINETRACK_SHARED to test against it")
    return folder


@pytest.fixture(scope="module")
def bucket():
    """The address of a bucket on this machine."""
    from s3_server import s3_server  # takes seconds to import

    with s3_server() as url:
        yield url


@pytest.fixture(params=["folder", "s3"])
def storage(request, tmp_path) -> Storage:
    """An empty storage of each kind."""
    if request.param == "s3":
        address, options = request.getfixturevalue("bucket").split("?")
        return Storage(f"{address}/{tmp_path.name}?{options}")
    (tmp_path / "shared").mkdir()
    return Storage(str(tmp_path / "shared"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Eight small pictures to train a detector on."""
    return tiny.draw_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def detector_settings():
    """A training of three epochs of two steps."""
    return tiny.DETECTOR
