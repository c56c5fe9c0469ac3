"""`plan --diff`: what a grid would add to the runs under its root, keep, and contradict. Writes nothing."""

from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.markup import escape

from orchestrator.root import read_spec
from sweeps.contracts import RunKey
from sweeps.extension import Extension, PastRun
from sweeps.layout import SweepRoot
from sweeps.wording import counted

_MOST_CHANGES = 10


def past_runs(root: SweepRoot) -> dict[RunKey, PastRun]:
    """The runs of a root that were started at least once.

    Raises:
        RootError: the record of one cannot be read.
    """
    found: dict[RunKey, PastRun] = {}
    for key, run_dir in root.run_dirs():
        spec = read_spec(run_dir)
        if spec is not None:
            found[key] = PastRun(spec, run_dir.done.exists())
    return found


def print_extension(console: Console, found: Extension, root: SweepRoot) -> None:
    """The comparison in a few lines; every contradiction with its options."""
    console.print(f"root: {root.path}", highlight=False, soft_wrap=True)
    for keys, sign, what in (
        (found.added, "+", "to be added"),
        (found.done, "=", "done: kept as they are"),
        (found.unfinished, "=", "not finished: to be continued"),
        (found.elsewhere, " ", "of the root are not in this grid: left as they are"),
    ):
        if keys:
            console.print(f"{sign} {counted(len(keys), 'run')} {what}: {_by_label(keys)}", highlight=False)
    if found.changed:
        console.print(f"[red]! {counted(len(found.changed), 'run')} contradicted[/]: `run` refuses this grid here")
    for key, differences in list(found.changed.items())[:_MOST_CHANGES]:
        shown = "; ".join(f"{name}: {then!r} then, {now!r} now" for name, (then, now) in differences.items())
        console.print(f"    {escape(f'{key}: {shown}')}", highlight=False)
    if len(found.changed) > _MOST_CHANGES:
        console.print(f"    and {len(found.changed) - _MOST_CHANGES:,} more", highlight=False)


def _by_label(keys: Sequence[RunKey]) -> str:
    """How many runs of each suite and label."""
    pairs = sorted((key.suite, key.label) for key in keys)
    counts = [f"{suite} × {label} ({len(list(group))})" for (suite, label), group in groupby(pairs)]
    return escape(", ".join(counts[:5]) + (f" and {len(counts) - 5:,} more labels" if len(counts) > 5 else ""))
