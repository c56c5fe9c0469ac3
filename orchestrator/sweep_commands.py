"""The command `plan`, and the composed sweep that `run` shares with it."""

import argparse
import gc
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from orchestrator.consoles import console_for
from orchestrator.host_capacity import capacity_of
from orchestrator.plan_diff import past_runs, print_extension
from orchestrator.plan_table import plan_summary, plan_table, print_cost, print_warnings
from orchestrator.run_speeds import run_speeds
from orchestrator.trainers.option_values import program_finder
from sweeps.capacity import Capacity
from sweeps.config import SweepConfig, compose_sweep
from sweeps.contracts import RunSpec
from sweeps.cost import Cost, cost
from sweeps.extension import extension
from sweeps.grid import Grid, grid_of
from sweeps.layout import SweepRoot
from sweeps.lint import Caution, lint, refuse
from sweeps.plan import groups, plan_json


@dataclass(frozen=True, slots=True)
class Sweep:
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
    # Whether two runs are the same depends on the trainer's revision: a comparison needs the trainer itself.
    sweep = composed(arguments, is_for_launch=arguments.diff)
    if arguments.cfg:
        print(sweep.config.text, end="")
        return 0
    if arguments.diff:
        return _diff(arguments, sweep)
    costs = cost_of(sweep)
    if arguments.json:
        warnings = [caution.to_json() for caution in sweep.warnings]
        sys.stdout.writelines(plan_json(sweep.grid, {"warnings": warnings, "cost": costs.to_json()}))
    else:
        console = console_for(sys.stdout)
        console.print(plan_table(sweep.grid))
        console.print(f"\n{plan_summary(sweep.grid)}", highlight=False)
        print_cost(console, costs)
        console.print(_preemption_line(sweep), highlight=False, soft_wrap=True)
        print_warnings(console, sweep.warnings)
    return 0


def _diff(arguments: argparse.Namespace, sweep: Sweep) -> int:
    root = SweepRoot(Path(sweep.config.first.root).expanduser().resolve())
    found = extension(sweep.grid, past_runs(root))
    if arguments.json:
        json.dump({"root": str(root.path), **found.to_json()}, sys.stdout)
        print()
    else:
        print_extension(console_for(sys.stdout), found, root)
    return 1 if found.changed else 0


def _preemption_line(sweep: Sweep) -> str:
    settings = sweep.config.first
    save_every_s = settings.cluster.save_every_s or settings.trainer.get("save_every_s")
    if save_every_s is None:
        return "preemption   costs what the program repeats when it is started again"
    return (
        f"preemption   costs a run at most {save_every_s} s of training, the time between checkpoints, and a start "
        f"(cluster.save_every_s)"
    )


def composed(arguments: argparse.Namespace, *, is_for_launch: bool) -> Sweep:
    config = compose_sweep(arguments.overrides, arguments.config_dir)
    grid = grid_of(config.products, program_finder(is_for_launch=is_for_launch), config.rules())
    capacity = capacity_of(config.first)
    warnings = lint(grid, capacity)
    if config.first.strict:
        refuse(warnings)
    return Sweep(config, grid, tuple(warnings), capacity)


def cost_of(sweep: Sweep) -> Cost:
    """What a sweep will cost, by its own earlier runs, those of its probe, and those of the roots that it names."""
    settings = sweep.config.first
    root = Path(settings.root).expanduser().resolve()
    others = [Path(other).expanduser() for other in settings.measured_in]
    return cost(
        groups(sweep.grid), sweep.capacity, settings.max_concurrent, run_speeds([root, probe_root(root), *others])
    )


def probe_root(root: Path) -> Path:
    """Where `probe` puts its runs: beside the sweep's own, which they must not be mistaken for."""
    return root.with_name(f"{root.name}.probe")
