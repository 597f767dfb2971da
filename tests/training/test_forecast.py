"""What a training says that it will take."""

from __future__ import annotations

import pytest
from torch import nn

from training import forecast
from training.forecast import Forecast, describe_plan, duration


def test_plan():
    networks = {"trained": nn.Linear(1000, 1000, bias=False), "frozen": nn.Linear(1000, 500, bias=False)}
    said = describe_plan(8, 20, 40, 6, networks, ["trained"])
    assert said == (
        "8 clips × 20 repeats are 40 steps an epoch, 240 in 6 epochs; a checkpoint takes 14 MB, one older than the "
        "last two 6 MB"
    )
    said = describe_plan(8, 20, 40, 6, networks, ["trained"], 200)
    assert "240 in 6 epochs, the first 200 of which train the appearance alone; a" in said
    said = describe_plan(6, 20, 30, 6, networks, ["trained"], 200)
    assert "180 in 6 epochs, all of which train the appearance alone: for the motion, fewer train_params.app" in said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "1 seconds"), (40, "40 seconds"), (300, "5 minutes"), (9000, "2.5 hours"), (400000, "4.6 days")],
)
def test_duration(seconds, said):
    assert duration(seconds) == said


def run(monkeypatch, seconds: list[float], change: int = 0, total: int | None = None) -> dict[int, str]:
    """What is said after which step, of steps that take so long."""
    now, said = [0.0], {}
    monkeypatch.setattr(forecast.time, "monotonic", lambda: now[0])
    clock = Forecast(0, total or len(seconds), change, True, lambda text: said.setdefault(step, text))
    for step, took in enumerate(seconds):
        now[0] += took
        clock.made(step)
    return said


def test_a_short_first_step_is_left_out(monkeypatch):
    said = run(monkeypatch, [4, 1, 1, 1, 1, 1, 1], total=1000)
    assert said == {5: "a step takes about 1 seconds on this machine, the 994 to come 17 minutes"}


def test_long_steps_are_said_at_once_with_the_way_out(monkeypatch):
    said = run(monkeypatch, [35, 35], total=4400)
    assert list(said) == [0] and "about 35 seconds" in said[0] and "1.8 days" not in said[0]
    assert "42.8 hours" in said[0] and said[0].endswith(forecast.WAY_OUT)


def test_steps_that_train_the_motion_are_forecast_for_themselves(monkeypatch):
    said = run(monkeypatch, [1] * 20 + [4] * 4, change=20, total=60)
    assert list(said) == [5, 22]
    assert "the 14 to come 14 seconds; the 40 after them" in said[5]
    assert "about 4 seconds" in said[22] and "the 37 to come 2 minutes" in said[22]
