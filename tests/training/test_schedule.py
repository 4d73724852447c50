import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.schedule import stepped, yolox_warm_cosine

PLAN = {
    "steps_per_epoch": 50,
    "epochs": 80,
    "warmup_epochs": 1,
    "flat_epochs": 10,
    "peak": 7.5e-4,
    "minimum_ratio": 0.05,
}


def rates(**changes) -> list[float]:
    plan = PLAN | changes
    return [yolox_warm_cosine(step, **plan) for step in range(plan["steps_per_epoch"] * plan["epochs"])]


def test_the_rate_rises_from_zero_as_the_square_of_progress():
    assert rates()[0] == 0
    assert rates()[25] == pytest.approx(7.5e-4 / 4)


def test_the_peak_comes_right_after_the_warm_up():
    assert rates().index(max(rates())) == 50
    assert max(rates()) == 7.5e-4


def test_half_way_down_the_cosine_the_rate_is_half_way_down():
    middle = (50 + 70 * 50) // 2
    assert rates()[middle] == pytest.approx(7.5e-4 * (1 + 0.05) / 2)


def test_the_last_epochs_stay_at_the_minimum():
    flat = rates()[70 * 50 :]
    assert set(flat) == {7.5e-4 * 0.05}
    assert rates()[70 * 50 - 1] > flat[0]


@given(
    epochs=st.integers(1, 12),
    warmup=st.integers(0, 12),
    flat=st.integers(0, 12),
    steps=st.integers(1, 9),
    ratio=st.floats(0, 1),
)
def test_any_plan_stays_between_zero_and_the_peak_and_never_rises_after_the_warm_up(
    epochs: int, warmup: int, flat: int, steps: int, ratio: float
):
    found = rates(epochs=epochs, warmup_epochs=warmup, flat_epochs=flat, steps_per_epoch=steps, minimum_ratio=ratio)
    assert all(0 <= rate <= 7.5e-4 * (1 + 1e-12) for rate in found)
    after = found[warmup * steps :]
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in pairwise(after))


def test_without_warm_up_training_starts_at_the_peak():
    assert rates(warmup_epochs=0)[0] == 7.5e-4


def test_the_step_comes_at_the_milestone_counted_from_zero():
    found = [stepped(epoch, initial=2e-4, factor=0.1, milestone=10) for epoch in range(20)]
    assert found[:10] == [2e-4] * 10
    assert all(math.isclose(rate, 2e-5) for rate in found[10:])
