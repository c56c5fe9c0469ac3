"""The evidence of replay-ratio studies as a table: per task and budget, the ratio to take and how sure that is."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aggregation.curves.axes import TITLES
from aggregation.ratio_study.ratio_study import RatioStudy
from orchestrator.consoles import print_whole
from sweeps.contracts import ratio_text


def print_studies(console: Console, studies: Sequence[RatioStudy]) -> None:
    """One table for each study."""
    for study in studies:
        ratios = ", ".join(map(ratio_text, study.ratios))
        console.print(f"\n{study.suite} {study.name}: train ratio {ratios}", style="bold", markup=False)
        print_whole(console, _table(study))
        for note in study.notes:
            console.print(note, soft_wrap=True, markup=False)


def _table(study: RatioStudy) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("task", "equal", "budget", "ratio", "score", "next best", "difference", "seeds", ""):
        table.add_column(column, justify="left" if column in ("task", "equal", "") else "right")
    for task in study.tasks:
        budgets = {budget.kind: budget.value for budget in task.budgets}
        for place, each in enumerate(task.recommended):
            bounds = "" if each.low is None or each.high is None else f" ({each.low:.4g} to {each.high:.4g})"
            table.add_row(
                escape(task.task) if not place else "",
                TITLES[each.kind],
                f"{budgets[each.kind]:,.4g}" if budgets[each.kind] < 1 else f"{budgets[each.kind]:,.0f}",
                ratio_text(each.ratio),
                f"{each.mean:.4g}",
                ratio_text(each.next_best),
                f"{each.difference:.4g}{bounds}",
                f"{each.seeds}, {each.next_seeds}",
                each.verdict,
            )
    return table
