import math

import pytest
import torch
from torch import nn

from pipeline.training.ema import Ema


def model(value: float = 0.0) -> nn.Module:
    made = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    return fill(made, value)


def fill(made: nn.Module, value: float) -> nn.Module:
    with torch.no_grad():
        for tensor in made.state_dict().values():
            tensor.fill_(value)
    return made


def test_it_starts_as_a_copy_that_does_not_follow_the_model():
    live = model(3.0)
    average = Ema(live)
    fill(live, 5.0)
    assert average.state_dict()["0.weight"].unique().tolist() == [3.0]


def test_an_update_keeps_the_share_that_the_ramp_gives():
    average = Ema(model(1.0), decay=0.9)
    average.update(model(0.0))
    kept = 0.9 * (1 - math.exp(-1 / 2000))
    assert average.state_dict()["0.weight"][0, 0].item() == pytest.approx(kept, abs=1e-7)
    average.update(model(0.0))
    kept *= 0.9 * (1 - math.exp(-2 / 2000))
    assert average.state_dict()["0.weight"][0, 0].item() == pytest.approx(kept, abs=1e-7)


def test_long_after_the_ramp_the_share_is_the_decay():
    average = Ema(model(1.0), decay=0.9998)
    average.load(average.state_dict(), updates=10**6)
    average.update(model(0.0))
    assert average.state_dict()["0.weight"][0, 0].item() == pytest.approx(0.9998)


def test_running_statistics_are_averaged_and_counts_are_the_latest():
    average = Ema(model(1.0))
    average.load(average.state_dict(), updates=10**6)
    average.update(model(7.0))
    state = average.state_dict()
    assert 1.0 < state["1.running_mean"][0].item() < 1.01
    assert state["1.num_batches_tracked"].item() == 7


def test_a_constant_model_stays_what_it_is():
    live = model(0.3)
    average = Ema(live)
    for _ in range(5):
        average.update(live)
    assert all(torch.equal(value, live.state_dict()[name]) for name, value in average.state_dict().items())


def test_the_averaged_weights_fill_a_model():
    average = Ema(model(2.0))
    other = model(0.0)
    other.load_state_dict(average.state_dict())
    assert other[0].weight.unique().tolist() == [2.0]


def test_a_resumed_average_goes_on_as_if_never_stopped():
    torch.manual_seed(0)
    steps = [fill(model(), torch.rand(()).item()) for _ in range(6)]
    whole, first = Ema(steps[0]), Ema(steps[0])
    for live in steps:
        whole.update(live)
    for live in steps[:3]:
        first.update(live)
    resumed = Ema(steps[3])
    resumed.load(first.state_dict(), updates=first.updates)
    for live in steps[3:]:
        resumed.update(live)
    assert resumed.updates == 6
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


def test_weights_of_another_model_are_refused_by_name():
    with pytest.raises(ValueError, match=r"such as '0\.weight'"):
        Ema(model()).load(model().state_dict() | {"0.weight": torch.zeros(3)}, updates=0)
    state = Ema(model()).state_dict()
    del state["0.bias"]
    with pytest.raises(ValueError, match=r"1 tensors differ.*'0\.bias'"):
        Ema(model()).load(state, updates=0)
