"""What a person keeps secret stays out of what is written, and no name leads out of its folder."""

import json

import pytest

from pipeline import params, tables
from pipeline.cluster import session
from pipeline.data.layout import Data, read_layout
from pipeline.evaluation.provenance import Provenance
from pipeline.training.reid import ReIDTraining

SECRET = "hunter2-not-to-be-seen"
SEQINFO = "[Sequence]\nname={}\nimDir={}\nframeRate=30\nseqLength=3\nimWidth=64\nimHeight=48\nimExt=.jpg\n"


@pytest.fixture
def secrets(monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "DVC_PASSWORD"):
        monkeypatch.setenv(name, SECRET)


def test_provenance_holds_no_environment_and_no_address(root, tmp_path, monkeypatch, secrets):
    monkeypatch.chdir(root)
    origin = Provenance("synthetic", inputs=(root / "params.yaml",), work=tmp_path)
    origin.key("finetrack", 0)
    [row] = origin.rows()
    assert SECRET not in json.dumps(row)
    assert "address" not in json.loads(row["params"])


def test_an_address_with_a_password_is_refused_without_showing_it(tmp_path):
    path = tmp_path / "cluster.yaml"
    rest = "storage: null\nworkers: 1\ncpus_per_worker: 1\ngpus_per_worker: 0\n"
    path.write_text(f"address: me:{SECRET}@head:6379\n{rest}")
    with pytest.raises(ValueError, match=r"cluster\.yaml: address: holds a user or password") as error:
        session.settings(path)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("name", ["../x", "a/b", "/tmp/x", "..", ".x"])
def test_a_sequence_that_would_lead_out_of_its_folder_is_refused_before_anything_is_written(tmp_path, name):
    folder = tmp_path / "data" / "train" / "A"
    folder.mkdir(parents=True)
    data = Data("MOT17", {"train": "train"}, True, "*", ("val",), None)
    for text in (SEQINFO.format(name, "img1"), SEQINFO.format("A", name)):
        (folder / "seqinfo.ini").write_text(text)
        with pytest.raises(ValueError, match=r"seqinfo\.ini: (name|imDir): found .* expected a plain name"):
            read_layout(tmp_path / "data", data)


@pytest.mark.parametrize("name", ["../x", "a/b"])
@pytest.mark.parametrize("column", ["split", "sequence"])
def test_a_table_that_names_a_way_out_is_neither_written_nor_read(tmp_path, column, name):
    table = tables.empty(tables.FRAMES).from_pylist(
        [{"split": "val", "sequence": "A", "frame": 1, "path": "a.jpg", column: name}], schema=tables.FRAMES
    )
    with pytest.raises(ValueError, match=f"{column}: found .* expected a plain name"):
        tables.write(table, tmp_path / "frames.parquet", tables.FRAMES)
    assert list(tmp_path.iterdir()) == []


def test_a_variant_or_experiment_that_names_a_way_out_is_refused(root, tmp_path):
    shipped = params.raw_section("synthetic", "reid", path=root / "params.yaml")
    variants = {"../../x": shipped["variants"]["mpmg"]}
    with pytest.raises(ValueError, match=r"found '\.\./\.\./x', expected a plain name"):
        params.parse({**shipped, "variants": variants}, ReIDTraining, where="params.yaml:a.reid")
    (tmp_path / "params.yaml").write_text("../x: {}\n")
    with pytest.raises(ValueError, match=r"params\.yaml: a section: found '\.\./x', expected a plain name"):
        params.load(tmp_path / "params.yaml")
