"""A sweep's page says what its table says."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import swept

from pipeline import params
from pipeline.reports.sweep import Point, front, write_page
from pipeline.sweeps.declaration import Sweep

SPACE = {
    "reid.loss.alpha": {"uniform": [0.0, 6.0]},
    "reid.parts": {"integer": [1, 8]},
    "track.kind": {"choice": ["sort", "finetrack"]},
}


def sweep(**changed) -> Sweep:
    both = {"space": SPACE, "objectives": {"mAP_gap": "max", "IDSW": "min"}}
    return params.parse(swept.declaration(**both, **changed), Sweep, where="test")


def trials(*, count: int = 20, seeds: int = 2, failed: tuple[int, ...] = ()) -> pa.Table:
    """alpha decides mAP, best at 4; trial 0 has alpha 3."""
    rng = np.random.default_rng(0)
    rows = []
    for trial in range(count):
        alpha = 3.0 if trial == 0 else float(rng.uniform(0, 6))
        chosen = {"reid.loss.alpha": alpha, "reid.parts": int(rng.integers(1, 9)), "track.kind": "sort"}
        chosen["track.kind"] = ["sort", "finetrack"][trial % 2]
        for seed in range(seeds):
            row = {"sweep": "wide", "experiment": "tiny", "trial": trial, "seed": seed, "seconds": 30.0, **chosen}
            if trial in failed:
                rows.append(
                    {**row, "status": "failed", "error": "reid.rate: too <high>", "mAP_gap": None, "IDSW": None}
                )
            else:
                scores = {"mAP_gap": 60 - (alpha - 4) ** 2 + seed, "IDSW": 100 + 10 * alpha}
                rows.append({**row, "status": "finished", "error": "", **scores})
    return pa.Table.from_pylist(rows)


def page(tmp_path: Path, table: pa.Table, declared: Sweep) -> str:
    write_page(table, declared, tmp_path)
    return (tmp_path / "index.html").read_text()


def test_the_page_has_all_its_parts(tmp_path):
    text = page(tmp_path, trials(failed=(3,)), sweep(seeds=[0, 1]))
    for part in ("All trials", "What each parameter does", "Which parameters decide", "Best configurations"):
        assert f">{part}<" in text
    assert text.count("<svg") == 3 * 2 + 3  # parameter by objective; lines, front, shares
    assert "19</strong><small>finished, 0 stopped early, 1 failed" in text
    assert "reid.rate: too &lt;high&gt;" in text
    assert "params.yaml" in re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)
    assert 'href="trials.parquet"' in text
    assert 'href="../../index.html"' in text
    assert not re.search(r"https?://(?!www.w3.org)", text)


def test_the_best_configuration_is_a_fragment_of_params(tmp_path):
    table = trials()
    text = page(tmp_path, table, sweep(seeds=[0, 1]))
    best = max(table.to_pylist(), key=lambda row: row["mAP_gap"])
    fragment = re.search(r"<pre>(.*?)</pre>", text, re.DOTALL)[1]
    value = best["reid.loss.alpha"]
    assert f"tiny:\n  reid:\n    loss:\n      alpha: {value}\n    parts: {best['reid.parts']}\n" in fragment


def test_the_same_trials_give_the_same_bytes(tmp_path):
    one, other = (page(tmp_path / name, trials(), sweep(seeds=[0, 1])) for name in "ab")
    assert one == other


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_trials_and_one_seed_make_a_page_too(tmp_path, count):
    text = page(tmp_path, trials(count=count, seeds=1), sweep())
    assert "Best configurations" in text
    assert "One seed" in text
    assert "Which parameters decide" not in text


def test_a_point_of_params_that_failed_is_said(tmp_path):
    assert "(params.yaml: failed)" in page(tmp_path, trials(failed=(0,)), sweep())


def test_the_front_holds_what_no_trial_beats():
    values = [(1.0, 5.0), (2.0, 5.0), (3.0, 9.0), (0.5, 1.0), (3.0, 8.0)]
    points = [Point(n, {}, {"up": up, "down": down}, {}) for n, (up, down) in enumerate(values)]
    assert [point.trial for point in front(points, {"up": "max", "down": "min"})] == [3, 1, 4]
