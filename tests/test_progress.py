"""What is shown while a model trains."""

from __future__ import annotations

import io
import re
import sys

import pytest

from sailerx.training.progress import Progress


class Clock:
    """Time that passes only when a test says so."""

    now = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that the bar reads."""
    made = Clock()
    monkeypatch.setattr("tqdm.std.time", lambda: made.now)
    monkeypatch.setattr("time.time", lambda: made.now)
    return made


RECORD = {"cells_per_second": 12_345.6, "loss": 321.0, "reconstruction": 300.0, "alignment": 0.0125}


def test_lines_show_epoch_speed_losses_and_from_the_second_on_time_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = Progress("lines", 10)
    shown.update(1, RECORD)
    shown.update(2, RECORD)
    shown.close()
    out, err = capsys.readouterr()
    assert out == ""
    about = r"12,346 cells/s, loss 321 \(reconstruction 300, alignment 0\.0125\)"
    assert re.fullmatch(rf"epoch 1/10: {about}\nepoch 2/10: {about}, \d+ s left\n", err)


def test_what_comes_before_the_first_epoch_does_not_count_as_time_of_epochs(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    shown = Progress("lines", 100)
    for epoch, seconds in ((1, 60.0), (2, 6.0), (3, 6.0)):
        clock.now += seconds
        shown.update(epoch, RECORD)
    shown.close()
    assert [re.findall(r"(\d+) s left", line) for line in capsys.readouterr().err.splitlines()] == [
        [],
        ["588"],
        ["582"],
    ]


def test_lines_come_every_few_seconds_and_at_the_end(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    shown = Progress("lines", 20)
    for epoch in range(1, 21):
        clock.now += 1
        shown.update(epoch, RECORD)
    shown.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"epoch {epoch}/20" for epoch in (1, 5, 10, 15, 20)]
    assert [re.findall(r"(\d+) s left", line) for line in lines] == [[], ["15"], ["10"], ["5"], ["0"]]


def test_bar_counts_epochs_on_the_error_stream(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Progress("bar", 3)
    for epoch in (1, 2, 3):
        shown.update(epoch, RECORD)
    shown.close()
    out, err = capsys.readouterr()
    assert out == ""
    assert "3/3" in err
    assert "12,346 cells/s, loss 321" in err


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Progress("none", 3)
    shown.update(1, RECORD)
    shown.close()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("terminal", "style"), [(True, "bar"), (False, "lines")])
def test_auto_draws_a_bar_in_a_terminal_only(
    terminal: bool, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys, "stderr", stream)
    shown = Progress("auto", 3)
    assert shown.style == style
    shown.close()
