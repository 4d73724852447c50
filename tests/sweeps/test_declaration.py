"""Everything that can be known to be wrong is refused before the first trial."""

from pathlib import Path

import pytest
import yaml
from swept import TRAINED, change, study

from pipeline.sweeps.declaration import GRID_LIMIT, declared

ROOT = Path(__file__).resolve().parents[2]
RANGE = {"uniform": [0.1, 0.9]}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"space": {}}, "space: found no parameter"),
        (
            {"space": {"track.treshold": RANGE}},
            r"space.track.treshold: no parameter of tiny, .*'track.match_threshold'",
        ),
        ({"space": {"reid.loss": RANGE}}, "space.reid.loss: no parameter of tiny"),
        ({"space": {"embed.min_score": RANGE}}, r"a parameter of embed, .*dvc exp run -S tiny.embed.min_score=..."),
        ({"trials": 1, "space": {"reid.seeds": {"choice": [1, 2]}}}, "space.reid.seeds: the sweep's own `seeds`"),
        ({"trials": 1, "space": {"reid.variants.finetrack.sampler": {"choice": ["sgs"]}}}, "the sweep's own `variant`"),
        ({"trials": 1, "space": {"track.baselines": {"choice": ["sort"]}}}, "space.track.baselines: a trial tracks"),
        ({"space": {"track.ema": {"normal": [0, 1]}}}, "space.track.ema: found 'normal'"),
        ({"space": {"track.ema": {"uniform": [0, 1], "choice": [1]}}}, "found .'choice', 'uniform'., expected one of"),
        ({"space": {"track.ema": {"uniform": [0.5, 1.5]}}}, r"track.ema = 1.5: .*ema: found 1.5, expected"),
        ({"trials": 1, "space": {"track.kind": {"choice": ["sort", "deepsort"]}}}, "found 'deepsort', expected one of"),
        ({"space": {"reid.parts": RANGE}}, "reid.parts = 0.1: .*found 0.1, expected int"),
        ({"trials": 1, "space": {"reid.parts": {"integer": [0, 3]}}}, "parts is 0, expected 1 or more"),
        ({"space": {"track.low_threshold": {"uniform": [0.01, 0.3]}}}, "expected at least embed.min_score"),
        ({"objectives": {"HOTTA": "max"}}, r"objectives.HOTTA: expected one of \['HOTA'"),
        ({"objectives": {"mAP_gap": "max"}}, "objectives.mAP_gap: .*association changes no retrieval"),
        ({"space": TRAINED, "objectives": {"mAP_far": "max"}}, "objectives.mAP_far: expected one of .*'mAP_gap'"),
        ({"objectives": {}}, "objectives: found .., expected one or two"),
        ({"objectives": {"HOTA": "up"}}, "found 'up', expected one of"),
        ({"seeds": [0, 0]}, "seeds: found .0, 0."),
        ({"trials": 0}, "trials: found 0, expected more than 0"),
        ({"trials": None}, "trials: found None of inf"),
        ({"trials": 5, "space": {"track.kind": {"choice": ["sort"]}}}, "trials: found 5 of 1 configurations"),
        ({"searcher": "grid", "trials": None}, "grid with ranges .'track.match_threshold'."),
        ({"searcher": "grid", "space": {"track.buffer": {"integer": [1, 9]}}}, "and trials 4, .*trials: null"),
        (
            {"searcher": "grid", "trials": None, "space": {"track.buffer": {"integer": [1, GRID_LIMIT + 1]}}},
            f"a grid of {GRID_LIMIT + 1} configurations, expected at most {GRID_LIMIT}",
        ),
        ({"scheduler": "asha"}, "scheduler: found asha .*training"),
        ({"scheduler": "asha", "space": TRAINED, "seeds": [0, 1]}, "scheduler: found asha .*one seed"),
        ({"experiment": "mot99"}, "experiment: no section 'mot99'"),
        ({"variant": "best"}, "variant: found 'best', expected one of .'baseline', 'finetrack'."),
        ({"split": "test"}, "split: found 'test', expected one that is evaluated"),
        ({"speed": 1}, "unknown .'speed'."),
    ],
)
def test_a_sweep_that_cannot_run_is_refused_where_it_is_declared(tiny, changed, message):
    change("association", **changed)
    with pytest.raises(ValueError, match=rf"(?s)params.yaml:sweeps.association.*{message}"):
        study("association")
    assert not (tiny / "runs/tiny/work/sweeps").exists()


def test_an_unknown_sweep_is_refused_with_the_known_ones(tiny):
    with pytest.raises(ValueError, match=r"params.yaml:sweeps: keys are \['association', 'reid'\], expected also 'x'"):
        study("x")


def test_the_point_of_params_comes_first_and_is_not_drawn():
    for name in yaml.safe_load((ROOT / "params.yaml").read_text())["sweeps"]:
        sweep, _ = declared(name, path=ROOT / "params.yaml")
        first, *others = sweep.configurations()
        assert first == {}
        assert len(others) == sweep.trials
        assert all(one.keys() == sweep.space.keys() for one in others)


def test_only_what_an_objective_needs_is_computed(tiny):
    change("reid", objectives={"mAP_gap": "max"})
    assert not study("reid").sweep.is_tracked
    change("reid", objectives={"mAP_gap": "max", "IDF1": "max"})
    assert study("reid").sweep.is_tracked
    assert study("association").sweep.is_tracked
