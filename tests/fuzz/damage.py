"""Damaged input, and what a reader may do with it: read it, or refuse it with its file and a reason."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import strategies as st

TIMES = int(os.environ.get("FINETRACK_FUZZ", "1"))  # how many times more cases, then of fresh randomness
_LONGEST = 4000  # letters of a message
PLANNED: list[int] = []  # cases of each test

# Fields that have broken readers of numbers before.
NASTY = (
    *(
        "",
        " ",
        "-",
        ".",
        "nan",
        "inf",
        "-inf",
        "Infinity",
        "1e400",
        "-1e400",
        "1e-400",
        "0x10",
        "1_0",
        "1d2",
        "1e",
        "--1",
    ),
    *(
        "9" * 400,
        "-1",
        "0",
        "-0",
        "0.5",
        "1.5",
        "2147483648",
        "9007199254740993",
        "1e19",
        "1e9",
        "1000000001",
        "10000001",
    ),
    *(
        '"1"',
        "'1'",
        "1\x00",
        "\x1c1",
        "1\x0b",
        "\u0661",
        "\u00b2",
        "\ufeff1",
        "é",
        "None",
        "true",
        "1;2",
        "../x",
        "{}",
        "[]",
    ),
)
_NEWLINES = (b"\n", b"\r\n", b"\r", b"\n\n", b"\n \n", b"\x0c", b"\x1c", b"\x85", "\u2028".encode())


def cases(count: int) -> hypothesis.settings:
    """Settings of a test of `count` cases: always the same, but for `FINETRACK_FUZZ`."""
    PLANNED.append(count)
    return hypothesis.settings(
        max_examples=count * TIMES,
        derandomize=TIMES == 1,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


def outcome(read: Callable[[Path], Any], path: Path, content: bytes | None = None) -> Any:
    """What `read` makes of the file, or None once its refusal is one a person can act on."""
    if content is not None:
        path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            return read(path)
    except ValueError as error:
        message = str(error)
        is_refusal = type(error) is ValueError and str(path) in message and len(message) > len(str(path)) + 10
        if not is_refusal or "\n" in message or len(message) > _LONGEST:
            raise RuntimeError(f"no refusal: {type(error).__name__}: {message:.1000}") from error
        return None


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, *, separator: bytes = b",") -> bytes:
    """`whole` after a few accidents: flipped bytes, a cut, lines doubled or lost, columns lost, strange fields."""
    accidents = (_flipped, _cut, _doubled_line, _lost_line, _lost_column, _strange_field, _inserted, _other_newlines)
    for accident in draw(st.lists(st.sampled_from(accidents), min_size=1, max_size=3)):
        whole = accident(draw, whole, separator)
    return whole


def _flipped(draw: st.DrawFn, whole: bytes, _: bytes) -> bytes:
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        if content:
            content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content)


def _cut(draw: st.DrawFn, whole: bytes, _: bytes) -> bytes:
    return whole[: draw(st.integers(0, len(whole)))]


def _doubled_line(draw: st.DrawFn, whole: bytes, _: bytes) -> bytes:
    lines = whole.splitlines(keepends=True) or [b""]
    row = draw(st.integers(0, len(lines) - 1))
    return b"".join([*lines[: row + 1], lines[row], *lines[row + 1 :]])


def _lost_line(draw: st.DrawFn, whole: bytes, _: bytes) -> bytes:
    lines = whole.splitlines(keepends=True) or [b""]
    del lines[draw(st.integers(0, len(lines) - 1))]
    return b"".join(lines)


def _lost_column(draw: st.DrawFn, whole: bytes, separator: bytes) -> bytes:
    column = draw(st.integers(0, 9))
    rows = [line.split(separator) for line in whole.split(b"\n")]
    return b"\n".join(separator.join(f for i, f in enumerate(row) if i != column or len(row) == 1) for row in rows)


def _strange_field(draw: st.DrawFn, whole: bytes, separator: bytes) -> bytes:
    rows = [line.split(separator) for line in whole.split(b"\n")]
    row = rows[draw(st.integers(0, len(rows) - 1))]
    row[draw(st.integers(0, len(row) - 1))] = draw(st.sampled_from(NASTY)).encode()
    return b"\n".join(separator.join(row) for row in rows)


def _inserted(draw: st.DrawFn, whole: bytes, _: bytes) -> bytes:
    at = draw(st.integers(0, len(whole)))
    return (
        whole[:at]
        + draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xef\xbb\xbf", b"\0", b","]))
        + whole[at:]
    )


def _other_newlines(draw: st.DrawFn, whole: bytes, _: bytes) -> bytes:
    return whole.replace(b"\n", draw(st.sampled_from(_NEWLINES)))
