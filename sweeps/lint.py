"""Warns of what a sweep was hardly meant to do: each warning with a reason, its source and what to do. Pure.

A ratio far from the suite's own is no mistake where the suite's own stands beside it, or where it was written as a
multiple of that: then it is an ablation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sweeps import lint_rules
from sweeps.capacity import Capacity
from sweeps.errors import LintError
from sweeps.grid import Grid
from sweeps.lint_rules import Advice, Case
from sweeps.plan import Group, groups
from sweeps.wording import counted


@dataclass(frozen=True, slots=True)
class Caution:
    """One warning about some of the runs."""

    #: Names the rule, for programs that read the plan.
    code: str
    #: Where it applies, and to how many runs.
    where: str
    runs: int
    reason: str
    source: str
    advice: str

    def __str__(self) -> str:
        return " ".join(filter(None, [f"{self.where}: {self.reason}", self.advice, f"({self.source})"]))

    def to_json(self) -> dict[str, Any]:
        """The form that stands in `plan --json`."""
        return asdict(self)


def lint(grid: Grid, capacity: Capacity) -> list[Caution]:
    """Every warning about a grid, by rule; equal ones about several labels of a suite are one."""
    parts = groups(grid)
    cases = list(_cases(parts, capacity))
    found: dict[tuple[str, str, Advice], list[Group]] = {}
    for rule in lint_rules.RULES:
        for case in cases:
            advice = rule(case)
            if advice is not None:
                code = rule.__name__
                found.setdefault((code, case.suite.name, advice), []).append(case.group)
    return [_caution(code, suite, advice, about) for (code, suite, advice), about in found.items()]


def refuse(cautions: Sequence[Caution]) -> None:
    """Make errors of warnings, as `strict=true` asks.

    Raises:
        LintError: there is one.
    """
    if cautions:
        lines = "".join(f"\n  - {caution}" for caution in cautions)
        raise LintError(f"strict=true, and the plan has {counted(len(cautions), 'warning')}:{lines}")


def _cases(parts: Sequence[Group], capacity: Capacity) -> Iterator[Case]:
    labels: dict[str, int] = {}
    ratios: dict[tuple[str, str], set[float]] = {}
    for group in parts:
        suite = group.spec.key.suite
        labels[suite] = labels.get(suite, 0) + 1
        if group.spec.train_ratio is not None:
            ratios.setdefault((suite, group.spec.method), set()).add(group.spec.train_ratio)
    for group in parts:
        spec = group.spec
        own_ratios = ratios.get((spec.key.suite, spec.method), set())
        yield Case(group, capacity, labels_of_suite=labels[spec.key.suite], ratios_of_method=own_ratios)


def _caution(code: str, suite: str, advice: Advice, about: Sequence[Group]) -> Caution:
    labels = [group.spec.key.label for group in about]
    shown = ", ".join(labels[:3]) + (f" and {len(labels) - 3:,} more" if len(labels) > 3 else "")
    runs = sum(group.runs for group in about)
    return Caution(code, f"{suite} × {shown}", runs, advice.reason, advice.source, advice.advice)
