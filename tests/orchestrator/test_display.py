"""What is seen while a sweep runs: a table in a terminal, only news where output is piped."""

import io
import re

import pytest
from fakes.fake_runs import fake_run, run_key
from rich.console import Console
from sweep_states import SweepUnderTest

from orchestrator.attempts.watch import Progress
from orchestrator.attempts.worker import AttemptReport
from orchestrator.display import Display, duration
from orchestrator.events import AttemptEnded, NodeJoined, RunPaused, RunPlanned, RunResumed


def sweep() -> SweepUnderTest:
    """Two runs of the fake trainer in flight."""
    sweep = SweepUnderTest()
    sweep.opened()
    sweep.feed(*(RunPlanned(at=sweep.now(), key=run_key(seed), group="g") for seed in (0, 1)))
    sweep.feed(NodeJoined(at=sweep.now(), node="a", cpus=2.0))
    return sweep


def shown(*, is_terminal: bool) -> str:
    """What is seen of two runs, one of which fails."""
    stream = io.StringIO()
    console = Console(file=stream, width=120, force_terminal=is_terminal, no_color=True)
    running = sweep()
    specs = {run_key(seed): fake_run(seed=seed, steps=100) for seed in (0, 1)}
    reports = {run_key(0): AttemptReport(host="h", pid=1, progress=Progress(step=50, score=7.25, at=1.0))}
    with Display(console, specs) as display:
        display.show(running.state, reports)
        end = AttemptEnded(at=running.now(), key=run_key(1), attempt=1, outcome="crashed", cause="it [broke]")
        running.feed(end)
        display.show(running.state, reports)
        display.show(running.state, reports)
    return stream.getvalue()


def test_a_pipe_gets_news_only() -> None:
    """One line for a failure, once, without escape codes; nothing for what goes on."""
    assert shown(is_terminal=False) == "gym/gym_CartPole-v1/fake/1 failed (crashed): it [broke]\n"


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (120, ["run", "state", "step of budget", "%", "steps/s", "last score", "left"]),
        (75, ["run", "state", "step of budget", "last score"]),
        (60, ["run", "state", "step of budget"]),
    ],
)
def test_a_narrow_terminal_gets_fewer_columns(width: int, columns: list[str]) -> None:
    """None is cut off, and whoever looks sees at least which run is how far."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, no_color=True)
    running = sweep()
    specs = {run_key(seed): fake_run(seed=seed, steps=100_000) for seed in (0, 1)}
    report = {
        step: AttemptReport(host="h", pid=1, progress=Progress(step=step, score=7.25, at=step)) for step in (1, 50_000)
    }
    with Display(console, specs) as display:
        for step in (1, 50_000):
            stream.truncate(0)
            display.show(running.state, {run_key(0): report[step]})
        lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).replace("\0", "").splitlines()

    head = next(line for line in lines if line.lstrip("\r").startswith("run "))
    assert re.split(r"  +", head.strip()) == columns
    assert any("gym/gym_CartPole-v1/fake/0" in line and "50,000 of 100,000" in line for line in lines)


def test_who_waits_for_paused_runs_only_is_told() -> None:
    """Once, and again when it comes to that again: otherwise nothing would be seen, perhaps for days."""
    stream = io.StringIO()
    waiting = SweepUnderTest()
    waiting.opened()
    waiting.feed(*(RunPlanned(at=waiting.now(), key=run_key(seed), group="g") for seed in (0, 1)))
    with Display(Console(file=stream, width=120, no_color=True), {}) as display:
        for events in ([], [RunPaused, RunPaused], [], [RunResumed], [RunPaused]):
            for seed, event in enumerate(events):
                waiting.feed(event(at=waiting.now(), key=run_key(seed)))
            display.show(waiting.state, {})

    lines = stream.getvalue().splitlines()
    assert (
        lines == ["Only paused runs are left (2); they wait for `dreamsweep resume`. Stopping this loses nothing."] * 2
    )


def test_a_terminal_gets_a_table() -> None:
    """Progress against the budget, the last score, and one line for the whole."""
    text = shown(is_terminal=True)

    assert "50 of 100" in text
    assert "7.2" in text
    assert "0 of 2 done" in text
    assert "1 failed" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (42.4, "42 s"), (119, "119 s"), (180, "3 min"), (19_200, "5 h 20 min"), (187_200, "2 d 4 h")],
)
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    """Two units at most."""
    assert duration(seconds) == text
