"""Re-ID quality: how high boxes of the same person rank among all boxes (Rank-1, Rank-5, mAP).

The paper reports Rank-1 and mAP but no protocol, so three are named here, and only differences between variants compare
with its Tables 3 to 5.
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Integer

Protocol = Literal["loo", "gap", "first"]
Indices = Integer[np.ndarray, " _"]


class Retrieval(NamedTuple):
    """Scores in percent over `queries` that have a positive, ranked among `gallery` boxes.

    With no such query the scores are NaN. In `loo` and `gap` the gallery counts the query itself, which is left out.
    """

    rank1: float
    rank5: float
    mAP: float  # noqa: N815 (the measure's own name)
    queries: int
    gallery: int


def retrieval(
    embeddings: Float32[np.ndarray, "boxes dim"],
    identities: Integer[np.ndarray, " boxes"],
    sequences: Integer[np.ndarray, " boxes"],
    frames: Integer[np.ndarray, " boxes"],
    *,
    protocol: Protocol,
    gap: int = 10,
    query_stride: int = 1,
    block: int = 1024,
) -> Retrieval:
    """Rank a gallery shared by all sequences by cosine similarity to each query.

    `embeddings` are of unit length; a person is a pair of sequence and identity. Protocols:

    - `loo`: every box is a query, all other boxes are the gallery;
    - `gap`: as `loo`, without the query's person within `gap` frames of it, which are neither right nor wrong;
    - `first`: the first box of each person is a query, all boxes that are no query are the gallery.

    Every `query_stride`-th query is taken. A query without any positive counts nowhere. Choice: between equal
    similarities wrong boxes rank before right ones, so that embeddings that are all alike score nothing.
    `block` queries are compared at a time, block x boxes float32 in memory; average precision is exact.

    Raises:
        ValueError: an embedding is not finite, or `query_stride` or `block` is below 1.
    """
    _refuse(embeddings, query_stride=query_stride, block=block)
    people, frames = _number(sequences, identities), frames.astype(np.int64)
    queries, gallery = _split(people, frames, protocol)
    queries, targets = queries[::query_stride], embeddings[gallery].T
    members = _members(people[gallery], int(people.max(initial=0)) + 1)
    reach = gap if protocol == "gap" else -1
    scores = []
    for start in range(0, len(queries), block):
        rows = queries[start : start + block]
        for row, similarity in zip(rows, embeddings[rows] @ targets, strict=True):
            own = members[people[row]]
            boxes = gallery[own]
            is_positive = (boxes != row) & (np.abs(frames[boxes] - frames[row]) > reach)
            if is_positive.any():
                scores.append(_score(_ranks(similarity, own, own[is_positive])))
    if not scores:
        return Retrieval(np.nan, np.nan, np.nan, queries=0, gallery=len(gallery))
    rank1, rank5, mean_ap = (100 * np.mean(scores, axis=0)).tolist()
    return Retrieval(rank1, rank5, mean_ap, queries=len(scores), gallery=len(gallery))


def _number(sequences: Indices, identities: Indices) -> Indices:
    """A number from 0 for each box's person, the same for the same sequence and identity."""
    _, sequence = np.unique(sequences, return_inverse=True)
    names, identity = np.unique(identities, return_inverse=True)
    return np.unique(sequence * len(names) + identity, return_inverse=True)[1]


def _split(people: Indices, frames: Indices, protocol: Protocol) -> tuple[Indices, Indices]:
    """Rows of the queries and of the gallery."""
    every = np.arange(len(people))
    if protocol != "first":
        return every, every
    order = np.lexsort((frames, people))
    queries = np.sort(order[np.unique(people[order], return_index=True)[1]])
    return queries, np.setdiff1d(every, queries)


def _members(people: Indices, count: int) -> list[Indices]:
    """The rows of each person, by number."""
    order = np.argsort(people, kind="stable")
    return np.split(order, np.searchsorted(people[order], np.arange(1, count)))


def _ranks(similarity: Float32[np.ndarray, " gallery"], own: Indices, positive: Indices) -> Indices:
    """Rank of each positive, ascending from 1; `own` are all boxes of the person, `similarity` is overwritten there."""
    wanted = np.sort(similarity[positive])[::-1]
    similarity[own] = -np.inf
    rivals = np.sort(similarity[similarity >= wanted[-1]])
    return len(rivals) - np.searchsorted(rivals, wanted) + np.arange(1, len(wanted) + 1)


def _score(ranks: Indices) -> tuple[bool, bool, float]:
    """Whether a positive ranks first, whether one ranks among five, and average precision."""
    return bool(ranks[0] <= 1), bool(ranks[0] <= 5), float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def _refuse(embeddings: Float32[np.ndarray, "boxes dim"], *, query_stride: int, block: int) -> None:
    broken = np.count_nonzero(~np.isfinite(embeddings).all(axis=1))
    if broken:
        raise ValueError(
            f"embeddings: {broken} of {len(embeddings)} are not finite, expected unit vectors. Train the network anew."
        )
    if query_stride < 1 or block < 1:
        raise ValueError(f"query_stride is {query_stride} and block {block}, expected 1 or more. Correct the value.")
