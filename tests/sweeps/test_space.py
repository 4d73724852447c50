"""Dimensions and the configurations drawn from them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sweeps.space import Dimension, drawn, grid, size

SPACE = {
    "a": Dimension("uniform", (-1.0, 2.5)),
    "b": Dimension("loguniform", (1e-4, 1e-1)),
    "c": Dimension("integer", (1, 3)),
    "d": Dimension("choice", ("x", None, True, 0.5)),
}
FINITE = {name: SPACE[name] for name in ("c", "d")}


@given(st.integers(0, 2**31), st.integers(0, 30))
def test_every_drawn_value_lies_in_its_dimension(seed, count):
    for one in drawn(SPACE, count, seed):
        assert all(SPACE[name].contains(value) for name, value in one.items())


def test_the_same_seed_draws_the_same_and_fewer_are_the_first_of_more():
    assert drawn(SPACE, 5, seed=3) == drawn(SPACE, 9, seed=3)[:5]
    assert drawn(SPACE, 5, seed=3) != drawn(SPACE, 5, seed=4)


def test_no_configuration_is_drawn_twice():
    found = drawn(FINITE, 12, seed=0)
    assert len({repr(one) for one in found}) == 12 == size(FINITE)


def test_a_grid_is_every_combination_once():
    found = grid(FINITE)
    assert len(found) == size(FINITE) == len({repr(one) for one in found})
    assert found[:2] == [{"c": 1, "d": "x"}, {"c": 1, "d": None}]


def test_a_range_of_numbers_has_no_end():
    assert size(SPACE) == math.inf


def test_loguniform_draws_as_often_below_the_geometric_mean_as_above():
    rng = np.random.default_rng(0)
    values = [SPACE["b"].draw(rng) for _ in range(400)]
    assert 0.4 < np.mean([value < 10**-2.5 for value in values]) < 0.6


@pytest.mark.parametrize(
    ("dimension", "value"), [("c", 4), ("c", 2.0), ("c", True), ("d", 1), ("a", 2.6), ("a", None), ("b", "x")]
)
def test_what_cannot_be_drawn_is_not_contained(dimension, value):
    assert not SPACE[dimension].contains(value)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("normal", (0, 1), "found 'normal', expected one of"),
        ("uniform", (1,), "expected two numbers"),
        ("uniform", (2.0, 1.0), "expected low < high"),
        ("uniform", ("a", "b"), "expected two numbers"),
        ("loguniform", (0.0, 1.0), "expected low < high above 0"),
        ("integer", (1, 2.5), "expected two whole numbers"),
        ("choice", (), "expected values, none twice"),
        ("choice", (1, 2, 1), "expected values, none twice"),
    ],
)
def test_a_dimension_without_meaning_is_refused(kind, values, message):
    with pytest.raises(ValueError, match=message):
        Dimension(kind, values)
