"""A plan as people read it: one row a run while they are few, one row a label beyond that."""

from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestrator.display import duration
from sweeps.contracts import RunSpec, ratio_text
from sweeps.cost import Cost, GroupCost
from sweeps.grid import Grid
from sweeps.lint import Caution
from sweeps.plan import figures, groups, total
from sweeps.wording import counted, size_text

_MOST_SINGLE_ROWS = 40
_MOST_GROUPS = 100
_MOST_WARNINGS = 20
_MOST_PACES = 12
_SEEDS_WIDTH = 40


def plan_table(grid: Grid) -> Table:
    """The cells of a plan with their figures."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    is_grouped = len(grid) > _MOST_SINGLE_ROWS
    for name in ("suite", "tasks" if is_grouped else "task", "label"):
        table.add_column(name, no_wrap=True)
    for name in ("train_ratio", "seeds" if is_grouped else "seed", "frames", "policy steps", "updates"):
        is_list = name == "seeds"  # of which there may be hundreds
        table.add_column(name, justify="right", no_wrap=not is_list, max_width=_SEEDS_WIDTH if is_list else None)
    if not is_grouped:
        for spec in grid:
            table.add_row(
                spec.key.suite, spec.key.task, spec.key.label, _ratio(spec), str(spec.key.seed), *_cells(spec)
            )
        return table
    parts = groups(grid)
    for group in parts[:_MOST_GROUPS]:
        spec, tasks = group.spec, group.tasks
        shown = tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks"
        table.add_row(spec.key.suite, shown, spec.key.label, _ratio(spec), spans(group.seeds), *_cells(spec))
    if len(parts) > _MOST_GROUPS:
        table.add_row("…", "", f"and {len(parts) - _MOST_GROUPS:,} more")
    return table


def plan_summary(grid: Grid) -> str:
    """The plan in one line."""
    parts = groups(grid)
    sums = total(parts)
    counts = [
        (len({task for group in parts for task in group.tasks}), "task"),
        (len({group.spec.key.label for group in parts}), "label"),
        (len({seed for group in parts for seed in group.seeds}), "seed"),
    ]
    axes = " × ".join(counted(count, name) for count, name in counts)
    return (
        f"{counted(len(grid), 'run')} ({axes}); together {sums.frames:,} environment frames, "
        f"{sums.policy_steps:,} policy steps and {sums.updates:,} gradient updates"
    )


def print_warnings(console: Console, cautions: Sequence[Caution]) -> None:
    """What the plan warns of, each with its reason, what to do, and where that is known from."""
    for caution in cautions[:_MOST_WARNINGS]:
        runs = f"{caution.runs:,} run{'' if caution.runs == 1 else 's'}"
        console.print(
            f"\n[yellow]warning[/] {escape(caution.where)} ({runs}): {escape(caution.reason)}", highlight=False
        )
        for line in filter(None, (caution.advice, f"Source: {caution.source}.")):
            console.print(f"  {escape(line)}", highlight=False)
    if len(cautions) > _MOST_WARNINGS:
        console.print(f"\nand {len(cautions) - _MOST_WARNINGS:,} more warnings: see --json", highlight=False)


def print_cost(console: Console, cost: Cost) -> None:
    """What the plan will cost, each time with where that is known from."""
    if cost.memory_bytes is not None and cost.replay_disk_bytes is not None:
        kept = f", {size_text(cost.checkpoint_bytes)} of it for good" if cost.checkpoint_bytes else ""
        disk = size_text(cost.replay_disk_bytes + (cost.checkpoint_bytes or 0))
        console.print(
            f"memory: up to {size_text(cost.memory_bytes)} a run; disk: up to {disk} while they run{kept}",
            highlight=False,
        )
    known = [part for part in cost.parts if part.pace]
    if known:
        wall = "" if cost.wall_seconds is None else f"about {duration(cost.wall_seconds)} on this cluster; "
        console.print(
            f"time: {wall}{duration(cost.run_seconds)} of runs, {cost.gpu_hours:,.1f} GPU hours", highlight=False
        )
        for line in _pace_lines(known)[:_MOST_PACES]:
            console.print(f"  {escape(line)}", highlight=False)
    unknown = list(dict.fromkeys(f"{group.spec.key.suite} × {group.spec.method}" for group in cost.unknown))
    if unknown:
        more = f" and {len(unknown) - 3:,} more" if len(unknown) > 3 else ""
        console.print(
            f"time not known for {', '.join(unknown[:3])}{more}: no earlier run of it lies under this root or under "
            f"measured_in=. `dreamsweep probe` with the same words measures it.",
            highlight=False,
        )


def _pace_lines(parts: Sequence[GroupCost]) -> list[str]:
    """The time of one run, the labels with the same source together."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for part in parts:
        if part.pace is not None:
            spec = part.group.spec
            found.setdefault((spec.key.suite, spec.method, part.pace.source), []).append(part.pace.seconds)
    return [
        f"{suite} × {method}: {duration(min(times))}"
        + (f" to {duration(max(times))}" if duration(max(times)) != duration(min(times)) else "")
        + f" a run, {source}"
        for (suite, method, source), times in found.items()
    ]


def spans(numbers: Sequence[int]) -> str:
    """Whole numbers with neighbours drawn together: `0-4, 7`."""
    parts = []
    for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        parts.append(str(members[0]) if len(members) == 1 else f"{members[0]}-{members[-1]}")
    return ", ".join(parts)


def _ratio(spec: RunSpec) -> str:
    return "" if spec.train_ratio is None else ratio_text(spec.train_ratio)


def _cells(spec: RunSpec) -> list[str]:
    sums = figures(spec)
    return [f"{sums.frames:,}", f"{sums.policy_steps:,}", f"{sums.updates:,}"]
