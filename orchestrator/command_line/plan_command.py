"""The command `plan`: what a sweep would do, what looks wrong with it, and what it will cost."""

import argparse
import gc
import json
import sys
from pathlib import Path

from orchestrator.command_line.composed_sweep import Sweep, composed, cost_of
from orchestrator.command_line.plan_diff import past_runs, print_extension
from orchestrator.command_line.plan_table import plan_summary, plan_table, print_cost, print_warnings
from orchestrator.consoles import console_for, print_whole
from sweeps.cost import Cost
from sweeps.extension import extension
from sweeps.layout import SweepRoot
from sweeps.plan import plan_json
from sweeps.wording import size_text


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
    if sweep.config.first.storage.kind == "ship":
        from orchestrator.attempts.dock import check_store  # only these plans wait for what it imports

        check_store(sweep.config.first.storage, sweep.config.first.cluster)
    costs = cost_of(sweep)
    if arguments.json:
        warnings = [caution.to_json() for caution in sweep.warnings]
        sys.stdout.writelines(plan_json(sweep.grid, {"warnings": warnings, "cost": costs.to_json()}))
    else:
        console = console_for(sys.stdout)
        print_whole(console, plan_table(sweep.grid))
        console.print(f"\n{plan_summary(sweep.grid)}", highlight=False)
        print_cost(console, costs)
        console.print(_preemption_line(sweep), highlight=False, soft_wrap=True)
        if sweep.config.first.storage.kind == "ship":
            console.print(_storage_line(sweep, costs), markup=False, highlight=False, soft_wrap=True)
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


def _storage_line(sweep: Sweep, costs: Cost) -> str:
    storage = sweep.config.first.storage
    buffers = size_text(costs.replay_disk_bytes) if costs.replay_disk_bytes is not None else "unknown"
    replay = (
        f"replay buffers of up to {buffers} while they run, each part once" if storage.replay else "no replay buffers"
    )
    return (
        f"storage      logs come to the root every {storage.interval_s:g} s; {storage.checkpoints or 'a folder of it'} "
        f"takes each checkpoint, and {replay} (storage.replay). A node that vanishes costs its runs what a preemption "
        f"does, and what such a retry has to fetch"
    )
