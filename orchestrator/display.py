"""What a person sees while a sweep runs: one live table in a terminal, nothing but news where output is piped."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator import clock
from orchestrator.attempts.worker import AttemptReport
from orchestrator.consoles import natural_width
from orchestrator.states import SweepState
from sweeps.contracts import RunKey, RunSpec

_MOST_ROWS = 24
_COLUMNS = ("step of budget", "%", "steps/s", "last score", "left")
#: Where the terminal is too narrow for all columns these go, one after the other.
_DISPENSABLE = ("steps/s", "%", "left", "last score")


@dataclass(slots=True)
class _Pace:
    """Where and when a run was first seen in this launch; its speed is measured from there."""

    step: int
    at: float


class Display:
    """Shows a sweep; call `show` as often as there may be news."""

    def __init__(self, console: Console, specs: Mapping[RunKey, RunSpec]) -> None:
        self._console = console
        self._specs = specs
        self._paces: dict[tuple[RunKey, int], _Pace] = {}
        self._told: set[tuple[RunKey, int]] = set()
        self._started_at = clock.now()
        self._done_before: int | None = None
        #: Whether it was told that only paused runs are left.
        self._waits = False
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)

    def show(self, state: SweepState, reports: Mapping[RunKey, AttemptReport]) -> None:
        """Bring what is seen up to date."""
        if self._done_before is None:
            self._done_before = state.tally["done"]
        self._tell_failures(state)
        self._tell_paused(state)
        if self._live is not None:
            self._live.update(Group(self._table(state, reports), self._line(state, reports)), refresh=True)

    def _tell_failures(self, state: SweepState) -> None:
        for run in state.in_state("failed", "backing_off"):
            if (run.key, run.attempt) not in self._told:
                self._told.add((run.key, run.attempt))
                what = "failed" if run.state == "failed" else "will be tried again"
                self._console.print(
                    Text(
                        f"{run.key} {what} ({run.outcome}): {run.cause}", style="red" if what == "failed" else "yellow"
                    )
                )

    def _tell_paused(self, state: SweepState) -> None:
        if state.waits_for_resume() and not self._waits:
            self._console.print(
                Text(
                    f"Only paused runs are left ({state.tally['paused']}); they wait for `dreamsweep resume`. "
                    f"Stopping this loses nothing.",
                    style="yellow",
                )
            )
        self._waits = state.waits_for_resume()

    def _table(self, state: SweepState, reports: Mapping[RunKey, AttemptReport]) -> Table:
        keys = sorted(state.in_flight)
        rows = []
        for key in keys[:_MOST_ROWS]:
            run = state.runs[key]
            name = str(key) if run.attempt == 1 else f"{key} (attempt {run.attempt})"
            rows.append((name, run.state, self._cells(key, run.attempt, reports.get(key))))
        for dispensed in range(len(_DISPENSABLE) + 1):
            columns = [name for name in _COLUMNS if name not in _DISPENSABLE[:dispensed]]
            table = Table(box=None, pad_edge=False, header_style="bold")
            for name in ("run", "state"):
                table.add_column(name, no_wrap=True)
            for name in columns:
                table.add_column(name, justify="right", no_wrap=True)
            for run_name, run_state, cells in rows:
                table.add_row(run_name, run_state, *(cells.get(name, "") for name in columns))
            if natural_width(self._console, table) <= self._console.width:
                break
        if len(keys) > _MOST_ROWS:
            table.add_row(f"and {len(keys) - _MOST_ROWS} more")
        return table

    def _cells(self, key: RunKey, attempt: int, report: AttemptReport | None) -> dict[str, str]:
        """What is known of an attempt, by column."""
        spec = self._specs.get(key)
        if spec is None or report is None or not report.progress.step:
            return {}
        progress, budget = report.progress, spec.schedule.frames
        pace = self._paces.setdefault((key, attempt), _Pace(progress.step, progress.at))
        elapsed = progress.at - pace.at
        speed = (progress.step - pace.step) / elapsed if elapsed > 0 else 0.0
        left = duration((budget - progress.step) / speed) if speed > 0 else ""
        return {
            "step of budget": f"{progress.step:,} of {budget:,}",
            "%": f"{min(100.0, 100 * progress.step / budget):.0f}",
            "steps/s": f"{speed:,.0f}" if speed else "",
            "last score": "" if progress.score is None else f"{progress.score:,.1f}",
            "left": left,
        }

    def _line(self, state: SweepState, reports: Mapping[RunKey, AttemptReport]) -> Text:
        tally, total = state.tally, len(state.runs) - state.tally["idle"]
        parts = [f"{tally['done']} of {total} done"]
        parts += [f"{tally[name]} {name}" for name in ("running", "waiting", "failed") if tally[name]]
        share = sum(
            min(1.0, report.progress.step / max(1, spec.schedule.frames))
            for key, report in reports.items()
            if (spec := self._specs.get(key)) is not None
        )
        elapsed = clock.now() - self._started_at
        finished = tally["done"] - (self._done_before or 0) + share
        if finished > 0.02 * total:
            parts.append(f"about {duration(elapsed / finished * (total - tally['done'] - share))} left")
        return Text(f"\n{', '.join(parts)}; {duration(elapsed)} so far", style="bold")


def duration(seconds: float) -> str:
    """A time span as people say it: `42 s`, `3 min`, `5 h 20 min`, `2 d 4 h`."""
    seconds = max(0, round(seconds))
    if seconds < 120:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
