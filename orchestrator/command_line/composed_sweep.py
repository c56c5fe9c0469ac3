"""What the words of a command line compose to: configuration, grid, warnings and cost."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from orchestrator.command_line.host_capacity import capacity_of
from orchestrator.command_line.run_speeds import run_speeds
from orchestrator.trainers.option_values import program_finder
from sweeps.capacity import Capacity
from sweeps.config import SweepConfig, compose_sweep
from sweeps.cost import Cost, cost
from sweeps.grid import Grid, grid_of
from sweeps.lint import Caution, lint, refuse
from sweeps.plan import groups


@dataclass(frozen=True, slots=True)
class Sweep:
    """A grid with everything that a plan tells about it."""

    config: SweepConfig
    grid: Grid
    warnings: tuple[Caution, ...]
    capacity: Capacity
    #: The user's own, whose suites and protocols count beside ours.
    config_dir: Path | None


def composed(arguments: argparse.Namespace, *, is_for_launch: bool) -> Sweep:
    """Compose the overrides of a command line, expand the grid and look it over.

    Args:
        is_for_launch: whether the trainer must be there; a plan needs its options only.

    Raises:
        ConfigError: the words do not compose to a grid, or `strict` and the grid has warnings.
    """
    config = compose_sweep(arguments.overrides, arguments.config_dir)
    grid = grid_of(config.products, program_finder(is_for_launch=is_for_launch), config.rules())
    capacity = capacity_of(config.first)
    warnings = lint(grid, capacity)
    if config.first.strict:
        refuse(warnings)
    return Sweep(config, grid, tuple(warnings), capacity, arguments.config_dir)


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
