"""The whole DAG on a cut-down experiment, by `dvc repro` as a user runs it."""

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import small
import yaml

TABLES = ("tracking", "reid", "detection", "curves", "published")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A copy of the repository in which `dvc repro` has run."""
    folder = small.copy_of_repository(tmp_path_factory.mktemp("repository"), small.small_params())
    done = small.repro(folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def change(folder: Path, *path: str, value: object) -> None:
    params = yaml.safe_load((folder / "params.yaml").read_text())
    section = params
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def stages_that_ran(done) -> list[str]:
    lines = done.stdout.splitlines()
    return [line.split("'")[1].split("@")[0] for line in lines if line.startswith("Running stage")]


def digests(folder: Path, *names: str) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def test_every_table_is_filled(finished):
    reports = finished / "reports"
    tracking = pq.read_table(reports / "tracking.parquet").to_pylist()
    variants = {*small.VARIANTS, "bytetrack", "sort"}
    assert {row["variant"] for row in tracking} == variants
    assert {row["sequence"] for row in tracking} == {"street-01", "dance-02", "COMBINED"}
    reid = pq.read_table(reports / "reid.parquet").to_pylist()
    assert {(row["variant"], row["protocol"]) for row in reid} == {
        (variant, protocol) for variant in small.VARIANTS for protocol in ("loo", "gap", "first")
    }
    curves = pq.read_table(reports / "curves.parquet").to_pylist()
    assert {row["curve"] for row in curves} >= {"detector", "reid"}
    assert pq.read_table(reports / "published.parquet").num_rows > 100
    assert json.loads((reports / "metrics.json").read_text())["synthetic"]["tracking"].keys() == variants
    assert "<svg" in (reports / "index.html").read_text()


def test_every_row_leads_to_its_provenance(finished):
    provenance = pq.read_table(finished / "reports/provenance.parquet").to_pylist()
    known = {row["fingerprint"] for row in provenance}
    for name in ("tracking", "reid", "detection"):
        assert {row["fingerprint"] for row in pq.read_table(finished / f"reports/{name}.parquet").to_pylist()} <= known
    assert all(json.loads(row["packages"])["torch"] and row["revision"] for row in provenance)


def test_results_are_written_for_any_other_evaluator(finished):
    text = (finished / "runs/synthetic/tracks/bytetrack/seed0/street-01.txt").read_text()
    assert all(len(line.split(",")) == 10 for line in text.splitlines())


def test_a_second_run_runs_nothing(finished):
    done = small.repro(finished)
    assert done.returncode == 0
    assert stages_that_ran(done) == []


def test_dvc_sees_nothing_of_the_work_folder(finished):
    stages = yaml.safe_load((finished / "dvc.lock").read_text())["stages"].values()
    seen = [entry["path"] for stage in stages for entry in (*stage["deps"], *stage["outs"])]
    assert seen
    assert not any("work" in Path(path).parts for path in seen)
    assert any((finished / "runs/synthetic/work").iterdir())


def test_an_association_threshold_runs_track_score_and_report_again_and_nothing_else(finished):
    change(finished, "synthetic", "track", "new_track_threshold", value=0.65)
    done = small.repro(finished)
    assert done.returncode == 0, done.stderr
    assert stages_that_ran(done) == ["track", "score", "report"]


def test_a_loss_weight_leaves_the_detector_alone(finished):
    before = digests(finished, "runs/synthetic/detector/model.safetensors", "runs/synthetic/detections.parquet")
    change(finished, "synthetic", "reid", "loss", "gamma", value=1.0)
    done = small.repro(finished, "train_reid@synthetic")
    assert done.returncode == 0, done.stderr
    assert stages_that_ran(done) == ["train_reid"]
    assert digests(finished, *before) == before
    change(finished, "synthetic", "reid", "loss", "gamma", value=2.0)


def test_one_changed_variant_is_trained_again_and_the_others_are_kept(finished):
    runs = finished / "runs/synthetic/work/reid"
    done = small.repro(finished, "train_reid@synthetic")
    assert done.returncode == 0, done.stderr
    before = {path.name for path in runs.iterdir()}
    change(finished, "synthetic", "reid", "variants", "baseline", "sampler", value="shuffle")
    done = small.repro(finished, "train_reid@synthetic")
    assert done.returncode == 0, done.stderr
    assert len({path.name for path in runs.iterdir()} - before) == 1
    change(finished, "synthetic", "reid", "variants", "baseline", "sampler", value="sgs")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("synthetic", "track", "treshold"), 0.5, "unknown ['treshold']"),
        (("synthetic", "data", "evaluate"), ["test"], "evaluate ['test']: expected splits among ['train', 'val']"),
    ],
)
def test_bad_parameters_stop_with_one_line_and_outputs_stay_whole(finished, path, value, message):
    made = ("runs/synthetic/sequences.parquet", "runs/synthetic/tracks/bytetrack/seed0/street-01.txt")
    outputs = digests(finished, *made, *(f"reports/{name}.parquet" for name in TABLES))
    text = (finished / "params.yaml").read_text()
    change(finished, *path, value=value)
    done = small.repro(finished)
    (finished / "params.yaml").write_text(text)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert digests(finished, *outputs) == outputs


@pytest.mark.slow
def test_the_same_parameters_give_the_same_tables_to_the_byte_on_one_worker_and_without_ray(finished, tmp_path):
    """Training differs with the workers that share a step; so the detector's workers are one in both."""
    tables = {}
    for workers in (0, 1):
        folder = small.copy_of_repository(tmp_path / str(workers), small.small_params(), workers=workers)
        done = small.repro(folder)
        assert done.returncode == 0, done.stderr
        tables[workers] = digests(folder, *(f"reports/{name}.parquet" for name in TABLES), "reports/metrics.json")
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_a_clone_that_has_the_lock_but_not_the_cache_makes_everything_again(finished, tmp_path):
    before = digests(finished, *(f"reports/{name}.parquet" for name in TABLES))
    folder = tmp_path / "clone"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("cache", "tmp"))
    shutil.rmtree(folder / "runs")
    shutil.rmtree(folder / "reports")
    done = small.repro(folder)
    assert done.returncode == 0, done.stderr
    assert digests(folder, *before) == before
