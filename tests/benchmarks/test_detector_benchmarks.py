"""The detector's benchmarks run, small, and refuse what they cannot measure."""

import subprocess
import sys

import pandas as pd
import pytest
import torch

from benchmarks import detector, detector_gpu

FOREIGN = ("ray", "dvc", "trackeval", "pycocotools", "lap", "matplotlib", "rich")


def in_a_process(code: str, root) -> subprocess.CompletedProcess[str]:
    """Run code without the type checks of these tests."""
    return subprocess.run([sys.executable, "-c", code], cwd=root, check=False, capture_output=True, text=True)


def run(monkeypatch, module, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
    module.main()


def test_a_frame_of_yolox_x_takes_the_published_number_of_operations():
    assert detector_gpu.frame_flops("x", (800, 1440)) / 1e9 == pytest.approx(790.3, abs=0.05)


@pytest.mark.slow
def test_the_gpu_benchmark_runs_without_a_gpu_when_told_to(monkeypatch, tmp_path):
    monkeypatch.setattr(detector_gpu, "TARGETS", (2,))
    small = ("--device", "cpu", "--size", "nano", "--input", "64", "96", "--seconds", "0.01", "--train-batch", "2")
    run(monkeypatch, detector_gpu, *small, "--eager", "--out", str(tmp_path / "table.parquet"))
    table = pd.read_parquet(tmp_path / "table.parquet")
    assert (table["value"] > 0).all()
    measures = " ".join(table["measure"])
    assert all(name in measures for name in ("batch 1, eager", "batch 8, eager", "training", "Re-ID head, 2 targets"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_the_gpu_benchmark_refuses_a_machine_without_one(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, detector_gpu)
    assert "torch sees no CUDA device" in capsys.readouterr().err


def test_the_gpu_benchmark_needs_neither_ray_nor_what_evaluates(root):
    blocked = f"import sys; sys.modules.update(dict.fromkeys({FOREIGN})); import benchmarks.detector_gpu"
    assert in_a_process(blocked, root).returncode == 0


ONE_GRAPH = """
import torch
from pipeline.models.yolox import YOLOX
network = torch.compile(YOLOX.build("nano").fused(), backend="eager", fullgraph=True)
with torch.inference_mode():
    print(tuple(network(torch.zeros(1, 3, 64, 96)).shape))
"""


@pytest.mark.slow
def test_the_detector_can_be_compiled_as_one_graph(root):
    done = in_a_process(ONE_GRAPH, root)
    assert done.stdout == "(1, 126, 6)\n", done.stderr


def test_images_read_at_half_size_and_from_a_cache_are_as_large_as_their_boxes_say(tmp_path):
    full = detector.full_hd_images(tmp_path / "full", count=2)
    cached = detector.resized(full, tmp_path / "cached")
    assert cached.load(0).size == (detector.HEIGHT, detector.WIDTH)
    assert cached.boxes[1] == pytest.approx(full.boxes[1] * 448 / 1920)
    halved = detector.HalfDecoded(full.paths, full.boxes).load(0)
    assert halved.size == (540, 960)
