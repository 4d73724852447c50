from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import tables
from pipeline.data import store
from pipeline.data.store import FrameFeatures
from pipeline.inference.embed import Embed, EmbeddingJob, embed_stores, embedding_jobs
from pipeline.inference.stores import store_paths, write_card
from pipeline.inference.targets import SequenceFrames, SequenceTargets
from pipeline.models.folder import save_model
from pipeline.models.reid import FineTrackReID, ReIDHead

HEAD = ReIDHead("fafpn", "mpmg", channels=8, mask_per_head=2, parts=2, part_dim=4, global_dim=6)
CHANNELS = (4, 6, 8)
SHAPES = [(4, 8, 4), (6, 4, 2), (8, 2, 1)]
COUNTS = (2, 0, 3, 1, 0)


def network() -> FineTrackReID:
    torch.manual_seed(1)
    return FineTrackReID(HEAD, CHANNELS).eval()


def save_head(folder: Path) -> Path:
    save_model(folder, network().state_dict(), {"kind": "reid", "head": asdict(HEAD), "in_channels": list(CHANNELS)})
    return folder


def features(*, seed: int = 0) -> list[FrameFeatures]:
    rng = np.random.default_rng(seed)
    return [
        FrameFeatures(
            number,
            rows=2 * np.arange(count),
            identities=np.arange(count),
            levels=tuple(rng.normal(size=(count, *shape)).astype(np.float32) for shape in SHAPES),
        )
        for number, count in enumerate(COUNTS, start=1)
    ]


def save_store(path: Path, *, half: bool = False, seed: int = 0) -> Path:
    store.write(path, SHAPES, features(seed=seed), half=half)
    return path


@torch.inference_mode()
def described(frames: Iterable[FrameFeatures]) -> np.ndarray:
    """Descriptors of the targets of several frames, straight from the network."""
    chosen = [one for one in frames if len(one.rows)]
    levels = [torch.from_numpy(np.concatenate([one.levels[i] for one in chosen])) for i in range(len(SHAPES))]
    return network()(tuple(levels)).descriptor.numpy()


def embedded(tmp_path: Path, *, batch: int, half: bool = False) -> np.ndarray:
    job = EmbeddingJob(save_head(tmp_path / "head"), (("val", "a", save_store(tmp_path / "a.arrow", half=half)),))
    embed_stores(job, tmp_path / "out.parquet", batch=batch)
    return tables.embeddings(tables.read(tmp_path / "out.parquet", tables.embeddings_schema(HEAD.dim)))


def test_rows_name_the_box_that_they_describe(tmp_path: Path) -> None:
    stores = (
        ("val", "b", save_store(tmp_path / "b.arrow", seed=1)),
        ("val", "a", save_store(tmp_path / "a.arrow", seed=2)),
    )
    embed_stores(EmbeddingJob(save_head(tmp_path / "head"), stores), tmp_path / "out.parquet", batch=3)
    found = tables.read(tmp_path / "out.parquet", tables.embeddings_schema(HEAD.dim))
    keys = [(row["split"], row["sequence"], row["frame"], row["row"]) for row in found.to_pylist()]
    assert keys == [("val", name, f, r) for name in "ba" for f, r in [(1, 0), (1, 2), (3, 0), (3, 2), (3, 4), (4, 0)]]
    whole = np.concatenate([described(features(seed=seed)) for seed in (1, 2)])
    np.testing.assert_allclose(tables.embeddings(found), whole, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(tables.embeddings(found), axis=1), 1, atol=1e-6)


def test_stored_single_precision_is_what_the_network_says_to_the_bit(tmp_path: Path) -> None:
    assert np.array_equal(embedded(tmp_path, batch=100), described(features()))


def test_targets_are_batched_by_whole_frames(tmp_path: Path) -> None:
    frames = features()
    batches = [frames[:3], frames[3:]]  # two targets are less than three, five are not
    expected = np.concatenate([described(some) for some in batches])
    assert np.array_equal(embedded(tmp_path, batch=3), expected)


def test_stored_half_precision_is_what_the_network_says_to_a_thousandth(tmp_path: Path) -> None:
    np.testing.assert_allclose(embedded(tmp_path, batch=100, half=True), described(features()), atol=1e-3)


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_an_embedding_does_not_depend_on_its_batch(tmp_path: Path, batch: int) -> None:
    np.testing.assert_allclose(embedded(tmp_path, batch=batch), embedded(tmp_path, batch=1000), rtol=0, atol=1e-6)


def test_no_stores_and_empty_stores_give_an_empty_table(tmp_path: Path) -> None:
    head = save_head(tmp_path / "head")
    empty = tuple(np.zeros((0, *shape), np.float32) for shape in SHAPES)
    none = np.zeros(0, np.int64)
    store.write(tmp_path / "a.arrow", SHAPES, [FrameFeatures(1, none, none, empty)], half=False)
    for stores in ((), (("val", "a", tmp_path / "a.arrow"),)):
        embed_stores(EmbeddingJob(head, stores), tmp_path / "out.parquet", batch=4)
        assert tables.read(tmp_path / "out.parquet", tables.embeddings_schema(HEAD.dim)).num_rows == 0


def targets(split: str, name: str) -> SequenceTargets:
    return SequenceTargets(SequenceFrames(split, name, ()), (), (), ())


@pytest.fixture
def card(tmp_path: Path) -> Path:
    people = [targets("train", "a"), targets("val", "a"), targets("val", "b")]
    stores = {
        "ground_truth": store_paths(people, tmp_path / "1"),
        "detections": store_paths(people[1:], tmp_path / "2"),
    }
    write_card(stores, {}, tmp_path / "features.json")
    return tmp_path / "features.json"


def jobs(tmp_path: Path, card: Path, *, batch: int = 8) -> dict[str, tuple[Path, EmbeddingJob]]:
    return embedding_jobs(tmp_path / "reid", card, ("val",), Embed(0.1, batch), folder=tmp_path / "work")


def test_every_model_describes_both_kinds_of_targets_of_the_evaluated_splits(tmp_path: Path, card: Path) -> None:
    for name in ("mpmg/seed1", "mpmg/seed0", "baseline/seed0"):
        save_head(tmp_path / "reid" / name)
    found = jobs(tmp_path, card)
    assert list(found) == [
        f"{name}/{kind}.parquet"
        for name in ("baseline/seed0", "mpmg/seed0", "mpmg/seed1")
        for kind in ("ground_truth", "detections")
    ]
    _, job = found["mpmg/seed1/ground_truth.parquet"]
    assert job.model == tmp_path / "reid" / "mpmg" / "seed1"
    assert job.stores == (
        ("val", "a", tmp_path / "1" / "val-a.arrow"),
        ("val", "b", tmp_path / "1" / "val-b.arrow"),
    )
    assert found["mpmg/seed1/detections.parquet"][1].stores[0][2] == tmp_path / "2" / "val-a.arrow"


def test_a_file_is_named_for_what_it_is_made_from(tmp_path: Path, card: Path) -> None:
    for name in ("a/seed0", "b/seed0"):
        save_head(tmp_path / "reid" / name)
    before = {name: path for name, (path, _) in jobs(tmp_path, card).items()}
    assert {name: path for name, (path, _) in jobs(tmp_path, card).items()} == before
    with torch.no_grad():
        other = {name: x + 1 for name, x in network().state_dict().items()}
    save_model(
        tmp_path / "reid" / "b" / "seed0", other, {"kind": "reid", "head": asdict(HEAD), "in_channels": list(CHANNELS)}
    )
    changed = {name for name, (path, _) in jobs(tmp_path, card).items() if path != before[name]}
    assert changed == {"b/seed0/ground_truth.parquet", "b/seed0/detections.parquet"}
    assert not {path for path, _ in jobs(tmp_path, card, batch=9).values()} & set(before.values())


def test_no_models_are_no_jobs(tmp_path: Path, card: Path) -> None:
    assert jobs(tmp_path, card) == {}
