"""The seconds of a run and the times of its checkpoints, on a clock that the test sets."""

import pytest

from training import run_clock
from training.run_clock import RunClock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    time = [1000.0]
    monkeypatch.setattr(run_clock.time, "monotonic", lambda: time[0])
    return time


def test_seconds_are_counted_without_those_of_checkpoints(now: list[float]) -> None:
    clock = RunClock(saves=True)
    clock.seconds = 7.0  # of an earlier start
    clock.start()
    now[0] += 5
    clock.count()
    now[0] += 3
    clock.checkpoint_written()
    now[0] += 2
    clock.count()
    assert clock.seconds == 7 + 5 + 2


@pytest.mark.parametrize(("took", "wait"), [(0.1, 20), (0.4, 20), (3, 150)])
def test_large_checkpoints_come_less_often(now: list[float], took: float, wait: float) -> None:
    clock = RunClock(saves=True)
    clock.start()
    for _ in range(2):
        now[0] += took
        clock.checkpoint_written()
        now[0] += wait - 0.01
        assert not clock.checkpoint_is_due
        now[0] += 0.02
        assert clock.checkpoint_is_due
        clock.count()


def test_the_first_checkpoint_is_due_after_twenty_seconds_in_the_process_that_saves(now: list[float]) -> None:
    clocks = [RunClock(saves=saves) for saves in (True, False)]
    assert not clocks[0].checkpoint_is_due  # it has not started
    for clock in clocks:
        clock.start()
    now[0] += 20.01
    assert [clock.checkpoint_is_due for clock in clocks] == [True, False]
