"""Progress bars appear when work lasts, say how far it is, and go away."""

import io

import pytest

from lineart.progress import PATIENCE, Bar, describe, watching


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_work_that_is_over_at_once_shows_nothing():
    stream, clock = io.StringIO(), Clock()
    bar = Bar(stream, "log x", 2, 100, clock)
    bar(1, 50)
    bar(1, 50)
    bar.close()
    assert not bar.shown
    assert stream.getvalue() == ""


def test_work_that_lasts_shows_what_it_is_about():
    stream, clock = Terminal(), Clock()
    bar = Bar(stream, "log \x1b[2Jx", 2, 100 << 20, clock)
    clock.now = PATIENCE
    bar(1, 50 << 20)
    assert bar.shown
    bar.close()
    bar.close()
    assert "log \\x1b[2Jx" in stream.getvalue()


def test_the_rate_is_that_of_the_last_seconds():
    clock = Clock()
    bar = Bar(io.StringIO(), "get x", 9, 1000 << 20, clock)
    for second in range(1, 31):
        clock.now = float(second)
        bar(0, (1 if second < 15 else 10) << 20)
    state = bar._state()
    bar.close()
    assert state == "0/9 files  174.0/1000.0 MiB  10.0 MiB/s  1m22s left"


def test_without_a_total_there_is_no_time_left():
    assert describe(3 << 20, None, 1 << 20) == "3.0 MiB  1.0 MiB/s"
    assert describe(0, 10, 0.0) == "0/10 B"


def test_work_without_bytes_is_counted():
    clock = Clock()
    bar = Bar(io.StringIO(), "check", clock=clock)
    clock.now = 1.0
    bar(1200, 0)
    before = bar._state()
    bar(1, 5 << 20)
    after = bar._state()
    bar.close()
    assert before == "1,200 so far"
    assert after.startswith("5.0 MiB")


def test_bars_are_taken_away_whatever_happens():
    stream = Terminal()

    def work():
        with watching(stream, 1, 10) as watch:
            bar = watch("check")
            bar.draw()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert stream.getvalue().endswith("\x1b[2K")  # the line is erased
