import itertools

import lap
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tracking.matching import match

matrices = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1), st.floats(0.05, 1))


def random_costs(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, (rows, columns))


def cheapest(cost: np.ndarray, limit: float) -> float:
    """Least total of pairs' costs where every pair saves `limit`, by trying all."""
    rows, columns = cost.shape
    if rows > columns:
        return cheapest(cost.T, limit)
    gains = np.minimum(cost - limit, 0)
    return min(
        sum(gains[row, column] for row, column in enumerate(choice))
        for choice in itertools.permutations(range(columns), rows)
    )


@settings(deadline=None)
@given(matrices)
def test_the_total_is_the_least_of_all_assignments(case: tuple[int, int, int, float]) -> None:
    *size, limit = case
    cost = random_costs(*size)
    pairs, _, _ = match(cost, limit)
    total = sum(cost[row, column] - limit for row, column in pairs)
    assert total == pytest.approx(cheapest(cost, limit), abs=1e-12)


@settings(deadline=None)
@given(st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1), st.floats(0.05, 1)))
def test_pairs_are_those_of_lapjv_with_a_cost_limit(case: tuple[int, int, int, float]) -> None:
    *size, limit = case
    cost = random_costs(*size)
    column_of, _ = lap.lapjv(cost, extend_cost=True, cost_limit=limit, return_cost=False)
    expected = [[row, column] for row, column in enumerate(column_of) if column >= 0]
    assert match(cost, limit)[0].tolist() == expected


@settings(deadline=None)
@given(matrices)
def test_every_row_and_column_is_paired_once_or_unmatched(case: tuple[int, int, int, float]) -> None:
    *size, limit = case
    cost = random_costs(*size)
    pairs, rows, columns = match(cost, limit)
    assert sorted([*pairs[:, 0], *rows]) == list(range(cost.shape[0]))
    assert sorted([*pairs[:, 1], *columns]) == list(range(cost.shape[1]))
    assert pairs[:, 0].tolist() == sorted(pairs[:, 0])
    assert (cost[pairs[:, 0], pairs[:, 1]] < limit).all()


def test_one_dear_pair_is_given_up_for_a_cheap_one_rather_than_two_middling_taken() -> None:
    cost = np.array([[0.0, 0.45], [0.45, 0.99]])
    assert match(cost, 0.5)[0].tolist() == [[0, 0]]


def test_a_pair_at_the_limit_is_no_pair() -> None:
    pairs, rows, columns = match(np.array([[0.5]]), 0.5)
    assert (len(pairs), rows.tolist(), columns.tolist()) == (0, [0], [0])


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (0, 3), (2, 0)])
def test_nothing_to_match_leaves_everything_unmatched(rows: int, columns: int) -> None:
    pairs, left_rows, left_columns = match(np.empty((rows, columns)), 0.5)
    assert pairs.shape == (0, 2)
    assert left_rows.tolist() == list(range(rows))
    assert left_columns.tolist() == list(range(columns))
