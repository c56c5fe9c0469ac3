"""A plan as people read it: one row a run while they are few, one row a label beyond that."""

from collections.abc import Sequence
from itertools import groupby

from rich.table import Table

from sweeps.contracts import RunSpec, ratio_text
from sweeps.plan import figures, total

_MOST_SINGLE_ROWS = 40


def plan_table(specs: Sequence[RunSpec]) -> Table:
    """The cells of a plan with their figures."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    is_grouped = len(specs) > _MOST_SINGLE_ROWS
    for name in ("suite", "tasks" if is_grouped else "task", "label"):
        table.add_column(name, no_wrap=True)
    for name in ("train_ratio", "seeds" if is_grouped else "seed", "frames", "policy steps", "updates"):
        table.add_column(name, justify="right", no_wrap=True)
    if not is_grouped:
        for spec in specs:
            table.add_row(
                spec.key.suite, spec.key.task, spec.key.label, _ratio(spec), str(spec.key.seed), *_cells(spec)
            )
        return table
    for _, group in groupby(sorted(specs, key=_group), key=_group):
        members = list(group)
        first = members[0]
        tasks = {spec.key.task for spec in members}
        seeds = sorted({spec.key.seed for spec in members})
        table.add_row(
            first.key.suite, f"{len(tasks)} tasks", first.key.label, _ratio(first), spans(seeds), *_cells(first)
        )
    return table


def plan_summary(specs: Sequence[RunSpec]) -> str:
    """The plan in one line."""
    sums = total(specs)
    counts = [
        (len({spec.key.task for spec in specs}), "task"),
        (len({spec.key.label for spec in specs}), "label"),
        (len({spec.key.seed for spec in specs}), "seed"),
    ]
    axes = " × ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts)
    return (
        f"{len(specs):,} runs ({axes}); together {sums.frames:,} environment frames, {sums.policy_steps:,} policy "
        f"steps and {sums.updates:,} gradient updates"
    )


def spans(numbers: Sequence[int]) -> str:
    """Whole numbers with neighbours drawn together: `0-4, 7`."""
    parts = []
    for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        parts.append(str(members[0]) if len(members) == 1 else f"{members[0]}-{members[-1]}")
    return ", ".join(parts)


def _group(spec: RunSpec) -> tuple[object, ...]:
    return spec.key.suite, spec.method, spec.train_ratio or 0.0, spec.key.label, spec.schedule.steps


def _ratio(spec: RunSpec) -> str:
    return "" if spec.train_ratio is None else ratio_text(spec.train_ratio)


def _cells(spec: RunSpec) -> list[str]:
    sums = figures(spec)
    return [f"{sums.frames:,}", f"{sums.policy_steps:,}", f"{sums.updates:,}"]
