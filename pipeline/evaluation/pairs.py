"""Pairs of annotated and tracked boxes that overlap, for all frames of a sequence at once.

Most boxes of a frame overlap nothing, so a list of the pairs that do is short where a matrix a frame is large. A frame
is looked at on its own only where one box could go with several.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from pipeline.boxes import area

CELLS = 2**17  # frames are compared in blocks of so many pairs, which stay in the cache


@dataclass(frozen=True, eq=False)
class Pairs:
    """Overlapping boxes, sorted by frame, row and column; frames count from 0.

    `row` and `column` count the annotated and the tracked boxes of the whole sequence; those of frame f are
    `rows_at[f]` to `rows_at[f + 1]` and `columns_at[f]` to `columns_at[f + 1]`. `overlap` is IoU, above 0.
    """

    rows_at: Int[np.ndarray, " edges"]
    columns_at: Int[np.ndarray, " edges"]
    frame: Int[np.ndarray, " pairs"]
    row: Int[np.ndarray, " pairs"]
    column: Int[np.ndarray, " pairs"]
    overlap: Float[np.ndarray, " pairs"]

    def where(self, chosen: Bool[np.ndarray, " pairs"]) -> "Pairs":
        """The chosen pairs, of the same boxes."""
        names = ("frame", "row", "column", "overlap")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})

    def among(self, rows: Bool[np.ndarray, " rows"], columns: Bool[np.ndarray, " columns"]) -> "Pairs":
        """The pairs of the boxes that stay, which are counted anew."""
        rows_before = np.concatenate([[0], np.cumsum(rows)])
        columns_before = np.concatenate([[0], np.cumsum(columns)])
        kept = self.where(rows[self.row] & columns[self.column])
        return replace(
            kept,
            rows_at=rows_before[self.rows_at],
            columns_at=columns_before[self.columns_at],
            row=rows_before[kept.row],
            column=columns_before[kept.column],
        )

    def crowds(self, most: int = 1) -> list[slice]:
        """The pairs of each frame in which a box is in more than `most` pairs."""
        rivals = np.maximum(np.bincount(self.row)[self.row], np.bincount(self.column)[self.column])
        frames = np.flatnonzero(np.bincount(self.frame[rivals > most]))
        starts, ends = (np.searchsorted(self.frame, frames, side).tolist() for side in ("left", "right"))
        return list(map(slice, starts, ends))

    def boxes(self, part: slice) -> tuple[slice, slice]:
        """The rows and the columns of the one frame whose pairs `part` holds."""
        frame = int(self.frame[part.start])
        return (
            slice(int(self.rows_at[frame]), int(self.rows_at[frame + 1])),
            slice(int(self.columns_at[frame]), int(self.columns_at[frame + 1])),
        )

    def matrix(self, part: slice, values: Float[np.ndarray, " part"]) -> Float[np.ndarray, "rows columns"]:
        """`values` of the pairs of one frame as a matrix of all its boxes, 0 elsewhere; in C order."""
        rows, columns = self.boxes(part)
        matrix = np.zeros((rows.stop - rows.start, columns.stop - columns.start))
        matrix[self.row[part] - rows.start, self.column[part] - columns.start] = values
        return matrix

    def solve(self, part: slice, scores: Float[np.ndarray, " part"]) -> Bool[np.ndarray, " part"]:
        """Which pairs of one frame belong to its one-to-one matching of the greatest total score."""
        chosen = np.zeros_like(matrix := self.matrix(part, scores), dtype=bool)
        chosen[linear_sum_assignment(-matrix)] = True
        rows, columns = self.boxes(part)
        return chosen[self.row[part] - rows.start, self.column[part] - columns.start]

    def best(self, scores: Float[np.ndarray, " pairs"]) -> Bool[np.ndarray, " pairs"]:
        """Which pairs belong to the one-to-one matching of the greatest total score in each frame.

        Pairs with no rival belong to every best matching. A frame with rivals is solved whole, so that where several
        matchings are best the same is chosen as if every frame were solved.
        """
        chosen = np.ones(len(scores), dtype=bool)
        for part in self.crowds():
            chosen[part] = self.solve(part, scores[part])
        return chosen


def overlapping(
    first: Float[np.ndarray, "rows 4"],
    rows_at: Int[np.ndarray, " edges"],
    second: Float[np.ndarray, "columns 4"],
    columns_at: Int[np.ndarray, " edges"],
) -> Pairs:
    """Every pair of a box of `first` and one of `second` in the same frame whose IoU is above 0.

    Overlaps are those of `pipeline.boxes.iou` to the bit.
    """
    frame, row, column = _touching(_padded(first, rows_at), _padded(second, columns_at))
    row, column = row + rows_at[frame], column + columns_at[frame]
    overlap = _iou(first[row], second[column])
    return Pairs(rows_at, columns_at, frame, row, column, overlap).where(overlap > 0)


def _padded(
    boxes: Float[np.ndarray, "boxes 4"], starts: Int[np.ndarray, " edges"]
) -> Float[np.ndarray, "4 frames most"]:
    """Boxes by frame; places left over hold boxes that touch nothing."""
    counts = np.diff(starts)
    frame = np.repeat(np.arange(len(counts)), counts)
    padded = np.full((4, len(counts), counts.max(initial=0)), np.inf)
    padded[:, frame, np.arange(len(boxes)) - starts[frame]] = boxes.T
    return padded


def _touching(
    first: Float[np.ndarray, "4 frames rows"], second: Float[np.ndarray, "4 frames columns"]
) -> tuple[np.ndarray, ...]:
    """Frame, row and column of the pairs whose intervals meet in both directions."""
    (_, frames, rows), columns = first.shape, second.shape[2]
    block = max(1, CELLS // max(1, rows * columns))
    x1, y1, x2, y2 = first[..., None]
    other_x1, other_y1, other_x2, other_y2 = second[:, :, None]
    found = [np.zeros(0, dtype=np.int64)]
    for start in range(0, frames, block):
        part = slice(start, start + block)
        touch = (x1[part] < other_x2[part]) & (other_x1[part] < x2[part])
        touch &= (y1[part] < other_y2[part]) & (other_y1[part] < y2[part])
        found.append(np.flatnonzero(touch) + start * rows * columns)
    return np.unravel_index(np.concatenate(found), (frames, rows, columns))


def _iou(first: Float[np.ndarray, "pairs 4"], second: Float[np.ndarray, "pairs 4"]) -> Float[np.ndarray, " pairs"]:
    """IoU of each box with its partner."""
    sides = np.maximum(np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2]), 0)
    shared = sides[:, 0] * sides[:, 1]
    union = area(first) + area(second) - shared
    return shared / np.maximum(union, np.finfo(union.dtype).tiny)
