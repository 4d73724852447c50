"""The door to the linear assignment solver (`lap`)."""

import lap
import numpy as np
from jaxtyping import Float, Int


def match(
    cost: Float[np.ndarray, "rows columns"], limit: float
) -> tuple[Int[np.ndarray, "pairs 2"], Int[np.ndarray, " unmatched_rows"], Int[np.ndarray, " unmatched_columns"]]:
    """Pair rows with columns at least total cost, where leaving a row and a column alone costs `limit`.

    No pair costs `limit` or more, yet this is not the cheapest full assignment with dear pairs struck out afterwards:
    one dear pair may free two cheap ones. Pairs (row, column) are sorted by row, the unmatched ascending.

    The solution is that of `lap.lapjv(cost, extend_cost=True, cost_limit=limit)`, which solves a square problem of
    rows + columns. With the gain over `limit`, or 0, for a pair's cost, max(rows, columns) suffice.

    >>> pairs, rows, columns = match(np.array([[0.1, 0.9], [0.2, 0.9]]), 0.5)
    >>> pairs.tolist(), rows.tolist(), columns.tolist()
    ([[0, 0]], [1], [1])
    """
    count, width = cost.shape
    if cost.size == 0:
        return np.empty((0, 2), dtype=np.intp), np.arange(count), np.arange(width)
    gain = cost - limit
    np.minimum(gain, 0, out=gain)
    column_of, _ = lap.lapjv(gain, extend_cost=True, return_cost=False)
    rows = np.flatnonzero(column_of >= 0)
    columns = column_of[rows]
    is_pair = gain[rows, columns] < 0
    rows, columns = rows[is_pair], columns[is_pair]
    return np.stack([rows, columns], axis=1), _others(rows, count), _others(columns, width)


def _others(chosen: Int[np.ndarray, " chosen"], count: int) -> Int[np.ndarray, " others"]:
    is_other = np.ones(count, dtype=np.bool_)
    is_other[chosen] = False
    return np.flatnonzero(is_other)
