import pytest

from pipeline import progress
from pipeline.progress import meter


class Clock:
    """A clock that is put forward by hand."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_without_a_terminal_a_line_comes_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with meter("train", 100) as shown:
        for done in range(1, 101):
            clock.now += 1
            shown.show(done, note=f"loss {done}")
    assert capsys.readouterr().out.splitlines() == [
        *(f"train: {n} of 100 after {n} s loss {n}" for n in (15, 30, 45, 60, 75, 90)),
        "train: 100 of 100 after 100 s loss 100",
    ]


def test_the_last_piece_is_told_however_short_the_work(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with meter("detect", 2) as shown:
        shown.show(1)
        shown.show(2)
    assert capsys.readouterr().out == "detect: 2 of 2 after 0 s\n"


def test_a_terminal_shows_a_bar_with_the_note_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with meter("train", 4) as shown:
        shown.show(3, note="[/finetrack]")
    out = capsys.readouterr().out
    assert "train [/finetrack]" in out
    assert "3/4" in out


@pytest.mark.parametrize("is_terminal", [False, True])
def test_an_error_within_passes(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)
    with pytest.raises(KeyError), meter("train", 4):
        raise KeyError
