"""The commands that look at a root, or ask its orchestrator for something: `status`, `attach`, `cancel` and so on."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from orchestrator import clock
from orchestrator.consoles import console_for, print_whole
from orchestrator.lock import live_holder
from orchestrator.requests import SELECTORS, Request, write_request
from orchestrator.status import RunStatus, SweepStatus, check_is_root, replayed, status_of
from sweeps.errors import ConfigError, DreamsweepError
from sweeps.layout import SweepRoot
from sweeps.wording import counted

if TYPE_CHECKING:
    from aggregation.verdicts.lookout import EarlyWarning

_MOST_ROWS = 30
_MOST_WARNINGS = 8
_LOOK_EVERY_S = 2.0


def status(arguments: argparse.Namespace) -> int:
    """Print how a sweep stands, and which of its runs leave their references."""
    root = _root(arguments)
    found = status_of(root, in_full=arguments.all or arguments.json)
    _print(found, arguments, _early_warnings(root))
    return 0


def attach(arguments: argparse.Namespace) -> int:
    """Watch a sweep until nobody drives it any more; leaving does not touch it."""
    root = _root(arguments)
    console = console_for(sys.stdout)
    if console.is_terminal and not arguments.json:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                found = status_of(root)
                live.update(_view(found, every_run=arguments.all), refresh=True)
                if found.orchestrator is None:
                    break
                clock.sleep(_LOOK_EVERY_S)
    else:
        while live_holder(root.lock) is not None:
            clock.sleep(_LOOK_EVERY_S)
        found = status_of(root)
        _print(found, arguments, _early_warnings(root))
    rest = sum(count for name, count in found.counts.items() if name not in ("done", "failed", "idle", "cancelled"))
    return 2 if found.counts.get("failed") or found.held else 3 if rest else 0


def ask(arguments: argparse.Namespace) -> int:
    """Leave a request for the orchestrator: cancel, pause, resume or retry."""
    root = _root(arguments)
    select = {name: getattr(arguments, name) for name in SELECTORS if getattr(arguments, name)}
    if not select and not arguments.all:
        raise ConfigError(
            f"Say which runs to {arguments.action}: --run, --suite, --task, --method, --label or --group with a name "
            f"or a wild card, or --all."
        )
    request = Request(arguments.action, select, fresh=getattr(arguments, "fresh", False))
    state = replayed(root)
    matching = [run for run in state.runs.values() if request.matches(run)]
    if not matching:
        raise ConfigError(f"No run of {root.path} matches {select}; `dreamsweep status {root.path} --all` lists them.")
    done = sum(run.state == "done" for run in matching)
    if done == len(matching) and not any(state.groups[run.group].held for run in matching):
        print(
            f"{counted(done, 'run')} of {root.path} done: nothing to {arguments.action}, since what is done stays so."
        )
        return 0
    write_request(root, request)
    holder = live_holder(root.lock)
    changing = sum(request.changes(run, state) for run in matching)
    others = len(matching) - changing
    what = f"{arguments.action} {counted(changing, 'run')}"
    what += f" ({counted(others, 'other')} {'stays as it is' if others == 1 else 'stay as they are'})" if others else ""
    if holder is None:
        print(f"{what}: no orchestrator is there; the next `dreamsweep run` on this root does it first.")
    else:
        print(f"{what}: asked of the orchestrator ({holder}).")
    return 0


def _root(arguments: argparse.Namespace) -> SweepRoot:
    root = SweepRoot(arguments.root.expanduser().resolve())
    check_is_root(root)
    return root


def _early_warnings(root: SweepRoot) -> "list[EarlyWarning]":
    """What the collected scores tell; nothing where none were collected yet."""
    if not root.runs_table.exists():
        return []
    from aggregation.sources.sources import open_sources
    from aggregation.verdicts.lookout import early_warnings

    try:
        with open_sources([root.path]) as sources:
            return early_warnings(sources)
    except (DreamsweepError, OSError):
        return []  # how the sweep stands is told from the root alone


def _print(found: SweepStatus, arguments: argparse.Namespace, warnings: "Sequence[EarlyWarning]") -> None:
    if arguments.json:
        told = [warning.to_json() for warning in warnings]
        json.dump({**found.to_json(), "early_warnings": told}, sys.stdout, allow_nan=False)
        print()
        return
    console = console_for(sys.stdout)
    for part in _view(found, every_run=arguments.all).renderables:
        if isinstance(part, Table):
            print_whole(console, part)
        else:
            console.print(part)
    for warning in warnings[: None if arguments.all else _MOST_WARNINGS]:
        console.print(f"[yellow]early warning[/] {escape(warning.sentence())}", soft_wrap=True)
        for cause in warning.causes:
            console.print(f"  perhaps {escape(cause)}", soft_wrap=True)
    if not arguments.all and len(warnings) > _MOST_WARNINGS:
        console.print(f"and {len(warnings) - _MOST_WARNINGS} more early warnings (--all)")


def _view(found: SweepStatus, *, every_run: bool) -> Group:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("attempts", "step of budget", "%", "last score"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("host", no_wrap=True)
    shown = [run for run in found.runs if every_run or run.state not in ("idle", "waiting", "done", "cancelled")]
    for run in shown if every_run else shown[:_MOST_ROWS]:
        table.add_row(*_cells(run))
    lines = [_head_line(found)]
    if not every_run and len(shown) > _MOST_ROWS:
        lines.append(f"and {len(shown) - _MOST_ROWS} more rows (--all)")
    lines += [f"[bold red]held back[/] {escape(group)}: {escape(reason)}" for group, reason in found.held.items()]
    lines += [f"[yellow]set aside[/] {escape(reason)}" for reason in found.set_aside]
    if found.halted:
        lines.append(f"[bold red]halted[/]: {escape(found.halted)}")
    for failure in found.failures:
        lines.append(f"[bold red]{failure.runs} failed[/] ({failure.outcome}): {escape(failure.cause)}")
        lines.append(f"  for example {failure.example}: {escape(failure.log)}")
    return Group(*([table] if shown else []), *lines)


def _head_line(found: SweepStatus) -> str:
    counts = ", ".join(f"{count:,} {name}" for name, count in found.counts.items())
    driver = f"driven by {found.orchestrator}" if found.orchestrator else "no orchestrator drives it"
    return f"[bold]{counts}[/]; {driver}"


def _cells(run: RunStatus) -> list[str]:
    has_step = run.step is not None and run.budget
    return [
        run.run,
        run.state,
        str(run.attempts) if run.attempts else "",
        f"{run.step:,} of {run.budget:,}" if has_step else "",
        f"{min(100, 100 * (run.step or 0) // (run.budget or 1))}" if has_step else "",
        "" if run.score is None else f"{run.score:,.1f}",
        run.host,
    ]
