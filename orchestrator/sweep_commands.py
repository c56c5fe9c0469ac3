"""The commands that take a grid: `plan` and `run`."""

import argparse
import gc
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from orchestrator.clusters import cluster_of
from orchestrator.consoles import console_for
from orchestrator.failures import failure_json, print_failures
from orchestrator.host_capacity import capacity_of
from orchestrator.launch import Launch, LaunchResult
from orchestrator.plan_table import plan_summary, plan_table, print_cost, print_warnings
from orchestrator.policy import Limits
from orchestrator.run_speeds import run_speeds
from orchestrator.trainers.option_values import program_finder
from sweeps.capacity import Capacity
from sweeps.config import SweepConfig, compose_sweep
from sweeps.contracts import RunSpec
from sweeps.cost import Cost, cost
from sweeps.grid import Grid, grid_of
from sweeps.layout import SweepRoot
from sweeps.lint import Caution, lint, refuse
from sweeps.plan import groups, plan_json
from sweeps.settings import SweepSettings


@dataclass(frozen=True, slots=True)
class _Sweep:
    config: SweepConfig
    grid: Grid
    warnings: tuple[Caution, ...]
    capacity: Capacity

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        return tuple(self.grid)


def plan(arguments: argparse.Namespace) -> int:
    """Print what a sweep would do."""
    gc.disable()  # the process ends with the plan, and of a million cells none is garbage
    sweep = _compose(arguments, is_for_launch=False)
    if arguments.cfg:
        print(sweep.config.text, end="")
        return 0
    costs = _cost(sweep)
    if arguments.json:
        warnings = [caution.to_json() for caution in sweep.warnings]
        sys.stdout.writelines(plan_json(sweep.grid, {"warnings": warnings, "cost": costs.to_json()}))
    else:
        console = console_for(sys.stdout)
        console.print(plan_table(sweep.grid))
        console.print(f"\n{plan_summary(sweep.grid)}", highlight=False)
        print_cost(console, costs)
        print_warnings(console, sweep.warnings)
    return 0


def run(arguments: argparse.Namespace) -> int:
    """Launch a sweep, then collect, export and plot what it made."""
    sweep = _compose(arguments, is_for_launch=True)
    if arguments.cfg:
        print(sweep.config.text, end="")
        return 0
    from orchestrator.results import Results  # takes a second to import, and a plan does without it

    settings = sweep.config.first
    root = SweepRoot(Path(settings.root).expanduser().resolve())
    console = console_for(sys.stderr if arguments.json else sys.stdout)
    console.print(f"{plan_summary(sweep.grid)}\nroot: {root.path}", highlight=False)
    print_warnings(console, sweep.warnings)
    results = Results(root, settings.export)
    launch = Launch(
        root,
        sweep.specs,
        cluster_of(settings.cluster),
        console=console,
        collect=results.collect_quietly,
        collect_every_s=settings.collect_every_s,
    )
    outcome = launch.run(config_text=sweep.config.text, limits=limits_of(settings))
    files = results.finish()
    if arguments.json:
        counts: dict[str, Any] = {"done": outcome.done, "failed": len(outcome.failed), "open": outcome.open}
        counts |= {"held": dict(outcome.held), "halted": outcome.halted, "set_aside": list(outcome.set_aside)}
        failures = [failure_json(run, root) for run in outcome.failed]
        json.dump({"root": str(root.path), **counts, "failures": failures, **files.to_json()}, sys.stdout)
        print()
    else:
        files.print(console)
        print_failures(console, outcome.failed, root)
        _print_end(console, outcome)
    return 2 if outcome.failed or outcome.held else 3 if outcome.open else 0


def limits_of(settings: SweepSettings) -> Limits:
    """What the configuration tells an orchestrator to keep to."""
    retry = settings.retry
    return Limits(
        max_concurrent=settings.max_concurrent,
        max_gpu_hours=settings.max_gpu_hours,
        retries={
            "out_of_memory": retry.out_of_memory,
            "crashed": retry.crashed,
            "stalled": retry.stalled,
            "diverged": retry.diverged,
        },
        retry_delay_s=retry.delay_s,
        max_retry_delay_s=retry.max_delay_s,
        canary=settings.canary,
        hold_after=settings.hold_after,
    )


def _print_end(console: Console, outcome: LaunchResult) -> None:
    parts = [f"{outcome.done:,} done"]
    if outcome.failed:
        parts.append(f"{len(outcome.failed):,} failed")
    if outcome.open:
        parts.append(f"{outcome.open:,} not finished: the same command continues")
    for reason in outcome.set_aside:
        console.print(f"\n[yellow]set aside[/] {escape(reason)}")
    for group, reason in outcome.held.items():
        console.print(f"\n[bold red]held back[/] {escape(group)}: {escape(reason)}")
        console.print("  Mend the cause, then run the same command again: one run tries first.")
    if outcome.halted:
        console.print(f"\n[bold red]halted[/]: {escape(outcome.halted)}")
    console.print(f"\n[bold]{', '.join(parts)}[/]")


def _compose(arguments: argparse.Namespace, *, is_for_launch: bool) -> _Sweep:
    config = compose_sweep(arguments.overrides, arguments.config_dir)
    grid = grid_of(config.products, program_finder(is_for_launch=is_for_launch), config.rules())
    capacity = capacity_of(config.first)
    warnings = lint(grid, capacity)
    if config.first.strict:
        refuse(warnings)
    return _Sweep(config, grid, tuple(warnings), capacity)


def _cost(sweep: _Sweep) -> Cost:
    settings = sweep.config.first
    roots = [Path(root).expanduser() for root in (settings.root, *settings.measured_in)]
    return cost(groups(sweep.grid), sweep.capacity, settings.max_concurrent, run_speeds(roots))
