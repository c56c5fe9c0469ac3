"""Sample efficiency against compute: what each train ratio spent until it first reached a score. Pure."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregation.curves.curve_tables import carried
from aggregation.ratio_study.ratio_budgets import Kind, RunTrail, rounded

Floats = NDArray[np.float64]

#: Points of a run's curve on which it is looked for.
_POINTS = 60


@dataclass(frozen=True, slots=True)
class Expense:
    """What one ratio spent until it first reached a score: medians over its runs, None where half or more never did."""

    ratio: float
    #: Runs that reached it, and runs with data.
    reached: int
    runs: int
    frames: float | None
    updates: float | None
    #: GPU hours, or hours of running where there was no GPU.
    hours: float | None
    #: No other ratio needed fewer frames without more updates, or fewer updates without more frames.
    is_best_of_updates: bool = False
    #: The same for hours.
    is_best_of_hours: bool = False


@dataclass(frozen=True, slots=True)
class Frontier:
    """The ratios on the way to one score."""

    #: Of the way from the first scores to the best ratio's last.
    fraction: float
    score: float
    ratios: tuple[Expense, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "fraction": self.fraction,
            "score": self.score,
            "ratios": [asdict(each) for each in self.ratios],
        }


def frontiers(
    trails: Sequence[Sequence[RunTrail]],
    ratios: Sequence[float],
    *,
    best: float,
    fractions: Sequence[float],
    hours: Kind | None,
) -> list[Frontier]:
    """One frontier for each threshold; none where no ratio ended above where they all began.

    Args:
        trails: The runs with data of each ratio.
        ratios: Their ratios.
        best: The best ratio's score at equal frames.
        fractions: Thresholds between the first scores, the mean over all runs, and `best`.
        hours: Which hours are known of all ratios; None for none.
    """
    reach = max(trail.end for runs in trails for trail in runs)
    tables = [_table(runs, reach) for runs in trails]
    start = float(np.mean([row[np.isfinite(row)][0] for table in tables for row in table]))
    if not best > start:
        return []
    edges = np.arange(1, _POINTS + 1, dtype=np.float64) * (reach / _POINTS)
    found = []
    for fraction in fractions:
        score = start + fraction * (best - start)
        expenses = [
            _expense(ratio, runs, table, edges, score, hours)
            for ratio, runs, table in zip(ratios, trails, tables, strict=True)
        ]
        found.append(Frontier(fraction, rounded(score), tuple(_marked(expenses))))
    return found


def _table(runs: Sequence[RunTrail], reach: float) -> Floats:
    """The runs on common points in frames, shape [runs, points]."""
    table = np.full((len(runs), _POINTS), np.nan)
    width = reach / _POINTS
    for row, trail in zip(table, runs, strict=True):
        place = np.minimum((trail.steps / width).astype(np.int64), _POINTS - 1)
        weight = np.bincount(place, trail.weights, _POINTS)
        total = np.bincount(place, trail.weights * trail.scores, _POINTS)
        np.divide(total, weight, out=row, where=weight > 0)
    return carried(table)


def _expense(
    ratio: float, runs: Sequence[RunTrail], table: Floats, edges: Floats, score: float, hours: Kind | None
) -> Expense:
    spent: dict[str, list[float]] = {"frames": [], "updates": [], "hours": []}
    kinds: dict[str, Kind] = {"frames": "frames", "updates": "updates"}
    if hours is not None:
        kinds["hours"] = hours
    reached = 0
    for trail, row in zip(runs, table, strict=True):
        above = np.flatnonzero(row >= score)
        reached += len(above) > 0
        for name, kind in kinds.items():
            if not len(above):
                spent[name].append(math.inf)
                continue
            place = trail.spent(kind, np.array([min(edges[above[0]], trail.end)]))
            if place is not None:
                spent[name].append(float(place[0]))
    medians = {name: _median(values, len(runs)) for name, values in spent.items()}
    return Expense(ratio, reached, len(runs), medians["frames"], medians["updates"], medians["hours"])


def _median(values: Sequence[float], runs: int) -> float | None:
    """None where so many did not get there that there is none, and where too little is known."""
    if len(values) < runs:
        return None
    middle = (sorted(values)[(runs - 1) // 2] + sorted(values)[runs // 2]) / 2
    return rounded(middle) if math.isfinite(middle) else None


def _marked(expenses: Sequence[Expense]) -> list[Expense]:
    return [
        Expense(
            each.ratio,
            each.reached,
            each.runs,
            each.frames,
            each.updates,
            each.hours,
            _is_best((each.frames, each.updates), [(other.frames, other.updates) for other in expenses]),
            _is_best((each.frames, each.hours), [(other.frames, other.hours) for other in expenses]),
        )
        for each in expenses
    ]


def _is_best(own: tuple[float | None, float | None], others: Sequence[tuple[float | None, float | None]]) -> bool:
    """Whether nothing else is at least as good in both and better in one."""
    frames, compute = own
    if frames is None or compute is None:
        return False
    return not any(
        other[0] is not None and other[1] is not None and other[0] <= frames and other[1] <= compute and other != own
        for other in others
    )
