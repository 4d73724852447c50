from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline import tables
from pipeline.cluster import parallel
from pipeline.cluster.session import Cluster, session
from pipeline.data.motchallenge import read_results
from pipeline.inference.tracks import TrackJob, aligned, track_jobs, track_to_file
from pipeline.tracking.sequence import Tracking, track_sequence

SCHEMA = tables.embeddings_schema(2)
SETTINGS = Tracking(min_area=0.0, max_aspect=None)


def detections(path: Path) -> pa.Table:
    """Two people who walk past each other in `a`, one in `b`; a faint box comes first in every frame."""
    rows = []
    for name, count in (("a", 2), ("b", 1)):
        for frame in range(1, 7):
            lefts = [200.0, 10.0 + 2 * frame, 60.0 - 2 * frame][: count + 1]
            scores = [0.05, 0.9, 0.8]
            for left, score in zip(lefts, scores, strict=False):
                box = {"x1": left, "y1": 10.0, "x2": left + 20, "y2": 60.0}
                rows.append({"split": "val", "sequence": name, "frame": frame, **box, "score": score})
    table = pa.Table.from_pylist(rows, schema=tables.DETECTIONS)
    tables.write(table, path, tables.DETECTIONS)
    return table


def embeddings(path: Path, table: pa.Table, *, turned: bool = False) -> pa.Table:
    """A descriptor for each detection but the faint ones: one direction a person."""
    rows = []
    for (split, name, frame), part in tables.groups(table, "split", "sequence", "frame").items():
        for row in range(1, part.num_rows):
            vector = [1.0, 0.0] if (row == 1) != turned else [0.0, 1.0]
            rows.append({"split": split, "sequence": name, "frame": frame, "row": row, "embedding": vector})
    made = pa.Table.from_pylist(rows, schema=SCHEMA)
    tables.write(made, path, SCHEMA)
    return made


def sequences(*names: str) -> pa.Table:
    row = {"split": "val", "frame_rate": 15.0, "frames": 6, "width": 300, "height": 100, "first": 1}
    row |= {"has_ground_truth": True, "has_images": True}
    rows = [{**row, "sequence": name} for name in names]
    return pa.Table.from_pylist([*rows, {**row, "split": "train", "sequence": "c"}], schema=tables.SEQUENCES)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with detections.parquet and the embeddings of two models."""
    table = detections(tmp_path / "detections.parquet")
    for name, turned in (("mpmg/seed0", False), ("baseline/seed1", True)):
        embeddings(tmp_path / "embeddings" / name / "detections.parquet", table, turned=turned)
    return tmp_path


def jobs(made: Path, settings: Tracking = SETTINGS, *, min_score: float = 0.1) -> dict[str, tuple[Path, TrackJob]]:
    return track_jobs(
        sequences("a", "b"),
        made / "detections.parquet",
        made / "embeddings",
        ("val",),
        settings=settings,
        min_score=min_score,
        folder=made / "work",
    )


def paths(found: dict[str, tuple[Path, TrackJob]]) -> dict[str, Path]:
    return {name: path for name, (path, _) in found.items()}


def test_every_row_of_the_results_has_a_job_a_sequence(made: Path) -> None:
    found = jobs(made)
    folders = ["baseline/seed1", "mpmg/seed0", "bytetrack/seed0", "sort/seed0"]
    assert list(found) == [f"{folder}/{name}.txt" for folder in folders for name in "ab"]
    described = made / "embeddings" / "mpmg" / "seed0" / "detections.parquet"
    assert found["mpmg/seed0/b.txt"][1] == TrackJob(
        "val", "b", 6, 15.0, "finetrack", made / "detections.parquet", described
    )
    assert found["sort/seed0/a.txt"][1] == TrackJob("val", "a", 6, 15.0, "sort", made / "detections.parquet", None)
    assert len(set(paths(found).values())) == len(found)


def test_without_embeddings_only_the_baselines_are_tracked(made: Path) -> None:
    found = track_jobs(
        sequences("a"),
        made / "detections.parquet",
        made / "nothing",
        ("val",),
        settings=replace(SETTINGS, baselines=("sort",), low_threshold=0.0),
        min_score=0.1,
        folder=made,
    )
    assert list(found) == ["sort/seed0/a.txt"]


def test_a_file_is_named_for_what_it_is_made_from(made: Path) -> None:
    before = paths(jobs(made))
    assert paths(jobs(made)) == before
    table = tables.read(made / "detections.parquet", tables.DETECTIONS)
    embeddings(made / "embeddings" / "mpmg" / "seed0" / "detections.parquet", table.slice(0, 9))
    after = paths(jobs(made))
    assert {name for name in before if before[name] != after[name]} == {"mpmg/seed0/a.txt", "mpmg/seed0/b.txt"}
    assert not set(paths(jobs(made, replace(SETTINGS, buffer=20))).values()) & set(after.values())


def test_thresholds_below_the_embeddings_are_refused(made: Path) -> None:
    with pytest.raises(ValueError) as error:
        jobs(made, min_score=0.2)
    assert str(error.value) == (
        "track.low_threshold: 0.1, expected at least embed.min_score (0.2), below which detections have no embedding. "
        "Change one of them."
    )


def test_detections_without_embedding_get_zeros_and_others_their_own(tmp_path: Path) -> None:
    table = detections(tmp_path / "detections.parquet").slice(0, 18)
    found = aligned(embeddings(tmp_path / "e.parquet", table), table["frame"].to_numpy())
    assert found.dtype == np.float32
    assert found.tolist() == [[0, 0], [1, 0], [0, 1]] * 6


def test_no_embeddings_at_all_are_zeros_of_their_width() -> None:
    assert aligned(tables.empty(SCHEMA), np.array([1, 1, 4])).tolist() == [[0, 0]] * 3
    assert aligned(tables.empty(SCHEMA), np.zeros(0, np.int32)).shape == (0, 2)


@pytest.mark.parametrize("name", ["mpmg/seed0/a.txt", "mpmg/seed0/b.txt", "bytetrack/seed0/a.txt", "sort/seed0/b.txt"])
def test_a_job_writes_what_the_tracker_says_of_its_sequence(made: Path, name: str) -> None:
    path, job = jobs(made)[name]
    track_to_file(job, path, settings=SETTINGS)
    table = tables.groups(tables.read(job.detections, tables.DETECTIONS), "sequence")[(job.sequence,)]
    described = None
    if job.embeddings:
        part = tables.groups(tables.read(job.embeddings, SCHEMA), "sequence")[(job.sequence,)]
        described = aligned(part, table["frame"].to_numpy())
    expected = track_sequence(
        job.sequence,
        table["frame"].to_numpy(),
        tables.boxes(table),
        table["score"].to_numpy(),
        described,
        length=6,
        frame_rate=15.0,
        settings=SETTINGS,
        kind=job.kind,
    )
    found = read_results(path)
    assert len(found.frames) == (12 if job.sequence == "a" else 6)
    assert np.array_equal(found.frames, expected.frames)
    assert np.array_equal(found.identities, expected.identities)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.11)  # one decimal for corner and size


def test_a_sequence_without_detections_gives_an_empty_file(made: Path) -> None:
    job = TrackJob("val", "z", 6, 15.0, "finetrack", made / "detections.parquet", None)
    track_to_file(job, made / "z.txt", settings=SETTINGS)
    assert (made / "z.txt").read_text() == ""


def test_jobs_give_the_same_files_in_any_order(made: Path) -> None:
    found = jobs(made)
    written = []
    for names in (list(found), list(reversed(found))):
        for name in names:
            track_to_file(found[name][1], made / "out" / name, settings=SETTINGS)
        written.append({name: (made / "out" / name).read_bytes() for name in found})
    assert written[0] == written[1]


@pytest.mark.slow
def test_files_do_not_depend_on_the_number_of_workers(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = jobs(made)
    written = {}
    with session(Cluster(address=None, workers=2, cpus_per_worker=1.0, gpus_per_worker=0.0)):
        for workers in (0, 1, 2):
            cluster = Cluster(address=None, workers=workers, cpus_per_worker=2.0 / max(workers, 1), gpus_per_worker=0.0)
            monkeypatch.setattr(parallel, "settings", lambda cluster=cluster: cluster)
            targets = {made / str(workers) / name: job for name, (_, job) in found.items()}
            parallel.make_missing(
                partial(track_to_file, settings=SETTINGS), targets, what="track", reads=lambda job: []
            )
            written[workers] = [path.read_bytes() for path in targets]
    assert written[0] == written[1] == written[2]
    assert all(written[0])
