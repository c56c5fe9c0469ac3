"""Tells how a launch ended: each failure with its cause, the last lines of its log, and where to look."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from orchestrator.attempts.tail import last_lines
from orchestrator.states import Run
from sweeps.layout import SweepRoot

_LAST_LINES = 8
_MOST_SHOWN = 10


def failure_json(run: Run, root: SweepRoot) -> dict[str, Any]:
    """A failed run as an entry of `--json`."""
    return {
        "run": str(run.key),
        "outcome": run.outcome,
        "cause": run.cause,
        "evidence": list(run.evidence),
        "attempts": run.attempt,
        "log": str(root.run_dir(run.key).stdout),
    }


def print_failures(console: Console, failed: Sequence[Run], root: SweepRoot) -> None:
    """The failures, those of one cause together: the first of each in full, the others by name."""
    groups: dict[tuple[str | None, str], list[Run]] = {}
    for run in failed:
        groups.setdefault((run.outcome, run.cause), []).append(run)
    for (outcome, cause), runs in list(groups.items())[:_MOST_SHOWN]:
        first = runs[0]
        console.print(f"\n[bold red]{len(runs)} failed[/] ({outcome}): {escape(cause)}")
        console.print(f"  {first.key}", markup=False)
        log = root.run_dir(first.key).stdout
        for line in last_lines(log, _LAST_LINES):
            console.print(f"    | {line}", markup=False, style="dim")
        console.print(f"    {log}", markup=False)
        for run in runs[1:_MOST_SHOWN]:
            console.print(f"  {run.key}", markup=False)
        if len(runs) > _MOST_SHOWN:
            console.print(f"  and {len(runs) - _MOST_SHOWN} more")
    if len(groups) > _MOST_SHOWN:
        console.print(f"\nand failures of {len(groups) - _MOST_SHOWN} more causes")
