"""The command `probe`: short runs that measure how long a sweep will take, in a root of their own."""

import argparse
import json
import sys
from pathlib import Path

from orchestrator.chosen_cluster import cluster_of
from orchestrator.command_line.composed_sweep import composed, cost_of, probe_root
from orchestrator.command_line.failures import print_failures
from orchestrator.command_line.plan_table import print_cost
from orchestrator.command_line.run_command import limits_of
from orchestrator.consoles import console_for
from orchestrator.launch import Launch
from sweeps.layout import SweepRoot
from sweeps.probe import probe_runs


def probe(arguments: argparse.Namespace) -> int:
    """Run one short run of every suite and method, then say what the sweep will cost."""
    sweep = composed(arguments, is_for_launch=not arguments.cfg)
    if arguments.cfg:
        print(sweep.config.text, end="")
        return 0
    settings = sweep.config.first
    root = SweepRoot(probe_root(Path(settings.root).expanduser().resolve()))
    console = console_for(sys.stderr if arguments.json else sys.stdout)
    specs = tuple(probe_runs(sweep.grid))
    for spec in specs:
        console.print(f"probe {spec.key}: {spec.schedule.steps:,} policy steps", highlight=False)
    launch = Launch(
        root,
        specs,
        cluster_of(settings.cluster, settings.storage),
        console=console,
        collect=lambda: None,
        collect_every_s=0,
    )
    outcome = launch.run(config_text=sweep.config.text, limits=limits_of(settings))
    costs = cost_of(sweep)
    if arguments.json:
        json.dump({"root": str(root.path), "cost": costs.to_json()}, sys.stdout)
        print()
    else:
        print_failures(console, outcome.failed, root)
        print_cost(console, costs)
    return 2 if outcome.failed or outcome.held else 3 if outcome.open else 0
