"""The command `run`: launches a sweep, here or detached, then collects, exports and plots what it made."""

import argparse
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from orchestrator import clock
from orchestrator.attempts.tail import LogTail
from orchestrator.chosen_cluster import cluster_of, host_detached
from orchestrator.command_line.composed_sweep import Sweep, composed
from orchestrator.command_line.failures import failure_json, print_failures
from orchestrator.command_line.plan_table import plan_summary, print_warnings
from orchestrator.consoles import console_for
from orchestrator.interpreter import interpreter
from orchestrator.launch import Launch, LaunchResult
from orchestrator.lock import live_holder
from orchestrator.policy import Limits
from orchestrator.root import make_writable
from sweeps.contracts import RunSpec
from sweeps.errors import ClusterError, RootLockedError
from sweeps.files import read_records
from sweeps.footprint import held_resources
from sweeps.layout import SweepRoot
from sweeps.settings import SweepSettings

if TYPE_CHECKING:
    from orchestrator.command_line.results import ResultFiles, Results

_DETACH_LIMIT_S = 120.0


def run(arguments: argparse.Namespace) -> int:
    """Do what the grid says."""
    sweep = composed(arguments, is_for_launch=True)
    if arguments.cfg:
        print(sweep.config.text, end="")
        return 0
    settings = sweep.config.first
    root = SweepRoot(Path(settings.root).expanduser().resolve())
    console = console_for(sys.stderr if arguments.json else sys.stdout)
    console.print(f"{plan_summary(sweep.grid)}\nroot: {root.path}", highlight=False, soft_wrap=True)
    print_warnings(console, sweep.warnings)
    if arguments.detach:
        return _detach(arguments, sweep, root, console)
    outcome, files = carried_out(sweep, root, launched_specs(sweep), console, words=_words(arguments))
    if arguments.json:
        counts: dict[str, Any] = {"done": outcome.done, "failed": len(outcome.failed), "open": outcome.open}
        counts |= {"cancelled": outcome.cancelled}
        counts |= {"held": dict(outcome.held), "halted": outcome.halted, "set_aside": list(outcome.set_aside)}
        failures = [failure_json(run, root) for run in (*outcome.failed, *outcome.held_up)]
        json.dump({"root": str(root.path), **counts, "failures": failures, **files.to_json()}, sys.stdout)
        print()
    else:
        files.print(console)
        print_failures(console, (*outcome.failed, *outcome.held_up), root)
        _print_end(console, outcome)
    return 2 if outcome.failed or outcome.held else 3 if outcome.open else 0


def carried_out(
    sweep: Sweep, root: SweepRoot, specs: Sequence[RunSpec], console: Console, *, words: Sequence[str] | None = None
) -> "tuple[LaunchResult, ResultFiles]":
    """Run what is missing of some runs under a root, and write the results.

    Args:
        sweep: What the runs were expanded from, for the cluster, the limits and the views.
        root: Where to.
        specs: The runs.
        console: For progress.
        words: Those after `dreamsweep run`, to be kept; None where another command runs it.
    """
    settings = sweep.config.first
    # It takes a second to import, which passes while Ray starts.
    threading.Thread(target=_results, args=(root, sweep), daemon=True).start()
    launch = Launch(
        root,
        specs,
        cluster_of(settings.cluster, settings.storage),
        console=console,
        collect=lambda: _results(root, sweep).collect_quietly(),
        collect_every_s=settings.collect_every_s,
        priorities={block.first.method: block.base.settings.method.priority for block in sweep.grid.blocks},
    )
    made: list[ResultFiles] = []
    outcome = launch.run(
        config_text=sweep.config.text,
        limits=limits_of(settings),
        words=words,
        finish=lambda: made.append(_results(root, sweep).finish()),
    )
    (files,) = made
    return outcome, files


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


def _results(root: SweepRoot, sweep: Sweep) -> "Results":
    from orchestrator.command_line.results import Results

    return Results(root, sweep.config.first.export, sweep.config_dir)


def launched_specs(sweep: Sweep) -> list[RunSpec]:
    """The runs as they are launched: with the memory that their replay will fill, and the cluster's checkpoints."""
    save_every_s = sweep.config.first.cluster.save_every_s
    specs: list[RunSpec] = []
    for block in sweep.grid.blocks:
        # Asked for up front: replay grows for hours, and a node would be overfilled long after all seemed well.
        first = replace(block.first, resources=held_resources(block))
        if save_every_s is not None and "save_every_s" in first.trainer:
            first = replace(first, trainer={**first.trainer, "save_every_s": save_every_s})
        specs += block.runs(first)
    return specs


def _words(arguments: argparse.Namespace) -> list[str]:
    """The words after `dreamsweep run`."""
    words = list(arguments.overrides)
    if arguments.config_dir is not None:
        words += ["--config-dir", str(arguments.config_dir.resolve())]
    return words


def _detach(arguments: argparse.Namespace, sweep: Sweep, root: SweepRoot, console: Console) -> int:
    """Leave an orchestrator behind: on the head of a cluster that was joined, else in the background here."""
    make_writable(root)
    holder = live_holder(root.lock)
    if holder is not None:
        raise RootLockedError(
            f"Another orchestrator holds {root.path}: {holder}. `dreamsweep attach {root.path}` shows it."
        )
    words = ["run", *_words(arguments)]
    # The root as it is from here, whatever folder the orchestrator works in.
    words = [word for word in words if not word.startswith("root=")] + [f"root={root.path}"]
    exit_status = root.orchestrator_exit_status
    exit_status.unlink(missing_ok=True)
    journal = LogTail(root.journal, root.journal.stat().st_size if root.journal.exists() else 0)
    is_driven = False
    size = root.orchestrator_log.stat().st_size if root.orchestrator_log.exists() else 0
    process: subprocess.Popen[bytes] | None = None
    if sweep.config.first.cluster.backend == "ray":
        host_detached(sweep.config.first.cluster, words, root, Path.cwd())
    else:
        with root.orchestrator_log.open("ab") as log:
            process = subprocess.Popen(
                [*interpreter(), "-m", "orchestrator.cli", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    deadline = clock.monotonic() + _DETACH_LIMIT_S
    while True:
        # Once it has seen nodes, it has refused what it could refuse.
        is_driven = is_driven or '"NodeJoined"' in journal.read()
        is_late = clock.monotonic() > deadline
        holder = live_holder(root.lock)
        if holder is not None and (is_driven or is_late):
            console.print(f"{holder} drives it. `dreamsweep attach {root.path}` shows it.", soft_wrap=True)
            if arguments.json:
                _print_detached(root, str(holder), None)
            if process is not None:
                process.returncode = 0  # it goes on without us; Popen shall not complain
            return 0
        code = process.poll() if process else _exit_code(exit_status)
        if code is not None:
            said = root.orchestrator_log.read_bytes()[size:].decode("utf-8", "replace").strip()
            console.print(said, markup=False, soft_wrap=True)
            if arguments.json:
                _print_detached(root, None, code)
            return code
        if is_late:
            raise ClusterError(
                f"The orchestrator did not take the root within {_DETACH_LIMIT_S:g} s; see {root.orchestrator_log}."
            )
        clock.sleep(0.1)


def _exit_code(exit_status: Path) -> int | None:
    """How an orchestrator ended, as its guard wrote it down: as a shell says it. None where it goes on."""
    for record in read_records(exit_status):
        return int(record["exit_code"]) if record["exit_code"] is not None else 128 + int(record["signal"])
    return None


def _print_detached(root: SweepRoot, orchestrator: str | None, exit_code: int | None) -> None:
    """One JSON object: who drives a root now, or how it ended already."""
    json.dump({"root": str(root.path), "orchestrator": orchestrator, "exit_code": exit_code}, sys.stdout)
    print()


def _print_end(console: Console, outcome: LaunchResult) -> None:
    parts = [f"{outcome.done:,} done"]
    if outcome.failed:
        parts.append(f"{len(outcome.failed):,} failed")
    if outcome.cancelled:
        parts.append(f"{outcome.cancelled:,} cancelled")
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
