"""What is reckoned of larger clusters follows from its figures."""

import dataclasses

import pandas as pd
import pytest

from benchmarks import scaling

HEADS = ("baseline", "mpmg", "fafpn", "fafpn-nofam", "finetrack", "finetrack-nofam")
FIGURES = scaling.Figures(
    train_image=40.0,
    detect_image=10.0,
    features_image=2.0,
    sample=0.1,
    track_frame=0.001,
    start=12.0,
    tune=0.5,
    train_targets=dict.fromkeys(HEADS, 50.0),
    embed_targets=dict.fromkeys(HEADS, 100.0),
    gradients=400_000_000,
)
CORE, GPU = scaling.Device(1.0, 1, 25e9), scaling.Device(1000.0, 8, 25e9)


@pytest.mark.parametrize(("count", "seconds"), [(1, 12), (2, 7), (3, 5), (4, 4), (9, 3)])
def test_the_longest_piece_left_goes_to_who_is_free_first(count, seconds):
    assert scaling.longest([2, 3, 2, 3, 2], count) == seconds


@pytest.mark.parametrize("device", [CORE, GPU])
def test_more_devices_take_no_longer_and_none_is_used_twice(device):
    seconds = [sum(scaling.experiment_seconds(FIGURES, device, count).values()) for count in scaling.DEVICES]
    assert seconds == sorted(seconds, reverse=True)
    rows = pd.DataFrame({"work": "x", "speed": 1.0, "devices": scaling.DEVICES, "all": seconds})
    assert scaling.with_efficiency(rows)["efficiency_%"].between(0, 100 + 1e-9).all()


def test_a_step_is_divided_among_as_many_devices_as_divide_its_batch():
    quiet = dataclasses.replace(FIGURES, gradients=0)
    by = {count: scaling.detector_seconds(quiet, CORE, count) for count in (1, 24, 32, 47, 48, 64)}
    assert by[1] == pytest.approx(24 * by[24])
    assert by[24] == by[32] == by[47] == 2 * by[48] == 2 * by[64]


def test_a_step_waits_for_its_samples_and_its_gradients():
    fast = dataclasses.replace(FIGURES, train_image=1e-9)
    steps = 80 * ((2659 + 19370) // 48)
    assert scaling.detector_seconds(fast, GPU, 1) == pytest.approx(steps * 48 * 0.1 / 8)
    assert scaling.detector_seconds(fast, GPU, 2) == pytest.approx(steps * (24 * 0.1 / 8 + 4e8 / 25e9))


def test_trials_wait_for_one_another_to_start():
    quick = dataclasses.replace(FIGURES, train_targets=dict.fromkeys(HEADS, 1e9), track_frame=0.0)
    assert scaling.sweep_seconds(quick, GPU, 64) == pytest.approx(12 + 256 * 0.5, rel=1e-3)
