"""The distribution of episode scores over time: quantiles of all episodes of all seeds, point by point."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregation.curves.axes import end_frames, left_out, positions
from aggregation.curves.curve_bands import quantile
from aggregation.curves.curve_tables import Grid, carried
from aggregation.curves.curve_view import CurveView
from aggregation.curves.curves import numbers
from aggregation.dataset.episodes import Episodes
from aggregation.sources.sources import RunInfo, Sources

Floats = NDArray[np.float64]

#: Of all seeds together, so that the outer quantiles are not single episodes.
_EPISODES_PER_POINT = 20
_FEWEST_POINTS, _MOST_POINTS = 5, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Fan:
    """The episodes of one label on one task."""

    suite: str
    task: str
    label: str
    #: Shape [points].
    xs: Floats
    #: Of the quantiles, ascending; 0.5 for the median.
    levels: tuple[float, ...]
    #: NaN before the first episode, shape [levels, points].
    values: Floats
    episodes: int
    #: Runs with data, and runs that were planned.
    seeds: int
    planned: int

    def to_json(self) -> dict[str, Any]:
        """NaN as null."""
        return {
            "suite": self.suite,
            "task": self.task,
            "label": self.label,
            "xs": numbers(self.xs),
            "levels": list(self.levels),
            "values": [numbers(row) for row in self.values],
            "episodes": self.episodes,
            "seeds": self.seeds,
            "planned": self.planned,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FanSet:
    """Everything that one picture shows."""

    view: CurveView
    fans: tuple[Fan, ...]
    #: What was left out, and why.
    notes: tuple[str, ...] = ()


def fans(sources: Sources, view: CurveView | None = None) -> FanSet:
    """The fan of every task and label, in the order of the runs, from every single episode.

    Args:
        sources: What was opened.
        view: Its axis, points and levels count; None for quantiles over environment frames.
    """
    view = view or CurveView()
    planned: dict[tuple[str, str, str], int] = {}
    for run in sources.runs:
        planned[run.cell] = planned.get(run.cell, 0) + 1
    found: list[Fan] = []
    outside: list[RunInfo] = []
    for cell, group in groupby(sources.episodes(), key=lambda pair: pair[0].cell):
        pairs = list(group)
        places = [positions(run, view.axis, _steps(run, episodes)) for run, episodes in pairs]
        outside += [run for (run, _), place in zip(pairs, places, strict=True) if place is None]
        kept = [
            (episodes.scores, place) for (_, episodes), place in zip(pairs, places, strict=True) if place is not None
        ]
        if kept:
            found.append(_fan(cell, kept, view, planned[cell]))
    notes = (left_out(outside, view.axis),) if outside else ()
    return FanSet(view=view, fans=tuple(found), notes=notes)


def _suitable_points(episodes: int) -> int:
    return int(np.clip(episodes / _EPISODES_PER_POINT, _FEWEST_POINTS, _MOST_POINTS))


def _steps(run: RunInfo, episodes: Episodes) -> Floats:
    """Of each episode, and of the run's end."""
    return np.append(episodes.steps, end_frames(run)).astype(np.float64)


def _fan(cell: tuple[str, str, str], runs: Sequence[tuple[Floats, Floats]], view: CurveView, planned: int) -> Fan:
    points = view.points or _suitable_points(sum(len(scores) for scores, _ in runs))
    reach = max(float(place[-1]) for _, place in runs)
    grid = Grid.aligned(reach, points, 1) if view.axis == "frames" else Grid.even(np.array([reach]), points)
    scores = np.concatenate([scores for scores, _ in runs])
    where = np.concatenate([place[:-1] for _, place in runs])
    good = np.isfinite(scores)
    scores, where = scores[good], where[good]
    bins = np.minimum((where / grid.width[0]).astype(np.int64), grid.points - 1)
    order = np.lexsort((scores, bins))
    scores, bins = scores[order], bins[order]
    count = np.bincount(bins, minlength=grid.points)
    table = np.full((max(int(count.max(initial=0)), 1), grid.points), np.nan)
    rank = np.arange(len(bins)) - np.repeat(np.cumsum(count) - count, count)
    table[rank, bins] = scores
    values = np.stack([quantile(table, count, level) for level in view.fan])
    suite, task, label = cell
    return Fan(
        suite=suite,
        task=task,
        label=label,
        xs=grid.xs(0),
        levels=view.fan,
        values=carried(values),
        episodes=len(scores),
        seeds=len(runs),
        planned=planned,
    )
