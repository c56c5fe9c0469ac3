"""The curves of a report: statistics over seeds at each point, per task and over the tasks of a suite.

The page holds no single run. A series has, at each of its points, the mean, median, standard deviation, quartiles,
extremes and a bootstrap interval, so that the reader chooses line and band without a further file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from aggregation.curves.axes import TITLES, Axis, positions
from aggregation.curves.curve_bands import Summary, aggregate, mean, summary
from aggregation.curves.curve_tables import Grid, Scatter, scatter
from aggregation.curves.curve_view import Centre, CurveView
from aggregation.dataset.bins import RunBins
from aggregation.evaluation.scales import Scale
from aggregation.report.rounding import rounded, rounded_number
from aggregation.sources.sources import RunInfo, Sources
from sweeps.wording import counted

Floats = NDArray[np.float64]
Pair = tuple[RunInfo, RunBins]
#: Name and reading of a statistic.
Part = dict[str, Any]

_MOST_POINTS, _FEWEST_POINTS = 100, 40
#: Episodes of a typical run per point, so that a point is a mean.
_EPISODES_PER_POINT = 2
_LEAST_POINTS = 10
#: Points of all curves together that keep the page small: those of 26 tasks and 5 labels.
_ALL_POINTS = 26 * 5 * _MOST_POINTS
#: Draws of the bootstrap: bounds of a band need no more.
_REPS = 1000
_MEASURED: tuple[Axis, ...] = ("gpu_hours", "wall_hours")
_STEPPED: tuple[Axis, ...] = ("policy_steps", "updates")
_NOTES: Mapping[Axis, str] = {
    "policy_steps": "A policy step is one decision of the agent: frames over the action repeat.",
    "updates": "Updates follow from the train_ratio, the batch and the steps.",
    "gpu_hours": "Hours of a run grow evenly with its frames; they include start-up and what resumes repeated.",
    "wall_hours": "Hours of a run grow evenly with its frames; they include start-up and what resumes repeated.",
}


@dataclass(frozen=True, slots=True)
class _Bands:
    """The views whose bands the page offers, for a line through the seeds or through the tasks."""

    std: CurveView
    quantiles: CurveView
    range: CurveView
    median: CurveView


_VIEWS = _Bands(
    CurveView(band="std"), CurveView(band="quantiles"), CurveView(band="range"), CurveView(centre="median", band="none")
)


def curve_part(sources: Sources, labels: Mapping[str, int], scales: Mapping[str, Scale]) -> Part:
    """Everything that the page draws as curves; its shape is told in payload.py.

    Args:
        sources: What was opened.
        labels: The place of each label among the page's labels.
        scales: By suite, what makes its tasks comparable; there is no curve over all tasks without.
    """
    cells = len({run.cell for run in sources.runs if run.rows}) or 1
    points = int(np.clip(_ALL_POINTS // cells, _FEWEST_POINTS, _MOST_POINTS))
    used: set[str] = {"frames"}
    suites = []
    for suite, pairs in groupby(sources.bins(), key=lambda pair: pair[0].key.suite):
        tasks = [list(group) for _, group in groupby(pairs, key=lambda pair: pair[0].key.task)]
        panels = [_panel(task, labels, points) for task in tasks]
        whole, note = _aggregate(tasks, labels, points, scales.get(suite))
        used.update(axis for panel in panels for series in panel["series"] for axis in series["x"])
        suites.append({"name": suite, "note": note, "aggregate": whole, "panels": panels})
    if "gpu_hours" in used:
        used.discard("wall_hours")
    return {
        "axes": [
            {"name": axis, "title": title, "note": _NOTES.get(axis, "")}
            for axis, title in TITLES.items()
            if axis in used
        ],
        "centres": ["mean", "median", *(["iqm"] if any(each["aggregate"] for each in suites) else [])],
        "bands": ["bootstrap", "std", "sem", "quantiles", "range", "none"],
        "band": "bootstrap",
        "suites": suites,
    }


def _panel(pairs: Sequence[Pair], labels: Mapping[str, int], points: int) -> Part:
    """The chart of one task."""
    cells = _cells(pairs)
    over_frames = [scatter(cell, "frames")[0] for cell in cells]
    suitable = [_suitable(cell, points) for cell in cells]
    series = []
    for cell, scores, grid in zip(cells, over_frames, _frame_grids(over_frames, suitable), strict=True):
        held, count = _statistics(_table(scores, grid))
        if not count:
            continue
        first = cell[0][0]
        x = {"frames": _even(grid, count), **_stepped(first, grid.xs(0)[:count])}
        series.append({"label": labels[first.label], "x": x, **held, **_measured(cell, x, points)})
    return {"title": pairs[0][0].key.task, "unit": "episode score", "note": "", "series": series}


def _suitable(pairs: Sequence[Pair], points: int) -> int:
    """Fewer points where runs have few episodes; those of a published file may be means already."""
    episodes = float(np.median([run.rows for run, _ in pairs]))
    is_published = all(run.state == "reference" for run, _ in pairs)
    return int(np.clip(episodes / (1 if is_published else _EPISODES_PER_POINT), _LEAST_POINTS, points))


def _cells(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """The runs of one task by label; those of a label are neighbours."""
    return [list(group) for _, group in groupby(pairs, key=lambda pair: pair[0].label)]


def _table(scores: Scatter, grid: Grid) -> Floats:
    return scores.table(grid, np.zeros(len(scores.runs), np.int64))


def _frame_grids(scores: Sequence[Scatter], points: Sequence[int]) -> list[Grid]:
    """The points of each label over frames, so many of each, up to one end for those that reach about as far."""
    ends = _common_ends([float(each.ends.max()) for each in scores])
    return [_grid(end, count, each.unit) for end, count, each in zip(ends, points, scores, strict=True)]


def _common_ends(ends: Sequence[float]) -> list[float]:
    """The furthest end among those that are at most twice as far."""
    return [max(other for other in ends if other <= 2 * end) for end in ends]


def _grid(reach: float, points: int, unit: int) -> Grid:
    """Even points up to `reach`; a rest of less than half a bin joins the last, and does not stand out as a peak."""
    grid = Grid.aligned(reach, points, unit)
    rest = reach - (grid.points - 1) * float(grid.width[0])
    return replace(grid, points=max(1, grid.points - (rest < grid.width[0] / 2)))


def _stepped(run: RunInfo, xs: Floats) -> dict[str, Any]:
    """Where the points of a label lie on the axes that its schedule tells, the same for all its seeds."""
    found: dict[str, Any] = {}
    for axis in _STEPPED:
        where = positions(run, axis, xs)
        if where is not None:
            width = where[0]
            is_even = np.array_equal(where, np.minimum(np.arange(1, len(where) + 1) * width, where[-1]))
            found[axis] = _places(width, where[-1], len(where)) if is_even else rounded(where, 6)
    return found


def _measured(cell: Sequence[Pair], x: dict[str, Any], points: int) -> Part:
    """The same over hours, with their place on `x`: each run has a pace of its own, so the seeds meet elsewhere."""
    for axis in _MEASURED:
        scores, _ = scatter(cell, axis)
        if scores.runs:
            grid = Grid.even(scores.ends.max(keepdims=True), points)
            held, count = _statistics(_table(scores, grid))
            x[axis] = _even(grid, count)
            return {"over": {axis: held}}
    return {}


def _aggregate(
    tasks: Sequence[Sequence[Pair]], labels: Mapping[str, int], points: int, scale: Scale | None
) -> tuple[Part | None, str]:
    """The chart over all tasks that every label has, and a note where there is none."""
    if scale is None or scale.spans is None:
        return None, ""
    cells = [{cell[0][0].label: cell for cell in _cells(pairs)} for pairs in tasks]
    shown = [label for label in labels if any(label in held for held in cells)]
    common = [held for held in cells if all(label in held for label in shown)]
    if len(common) < 2:
        few = f"its {len(shown)} labels have {counted(len(common), 'task')} in common"
        return None, "" if len(tasks) < 2 else f"No curve over all tasks: {few}; two are needed."
    made = [[scatter(held[label], "frames")[0] for held in common] for label in shown]
    ends = _common_ends([max(float(each.ends.max()) for each in parts) for parts in made])
    series = []
    for label, parts, end in zip(shown, made, ends, strict=True):
        suitable = min(_suitable(cell[label], points) for cell in common)
        grid = _grid(end, suitable, max(each.unit for each in parts))
        tables = [_shown(scale, part.runs[0].key.task, _table(part, grid)) for part in parts]
        held, count = _aggregate_statistics(tables)
        if not count:
            continue
        stepped = [_stepped(part.runs[0], grid.xs(0)[:count]) for part in parts]
        x = {"frames": _even(grid, count)}
        x |= {axis: where for axis, where in stepped[0].items() if all(each.get(axis) == where for each in stepped)}
        series.append({"label": labels[label], "x": x, **held})
    note = f"{len(common)} tasks" if len(common) == len(tasks) else f"the {len(common)} of {len(tasks)} tasks in common"
    return {"title": "All tasks", "unit": scale.name, "note": note, "series": series}, ""


def _shown(scale: Scale, task: str, table: Floats) -> Floats:
    return scale.offset + scale.factor * scale.of(task, table)


def _statistics(table: Floats) -> tuple[Part, int]:
    """The statistics of some runs at each point up to the last with data, and the number of these points.

    Args:
        table: NaN where a run has no data, shape [runs, points].
    """
    table = table[:, : _reach(mean(table))]
    std = summary(table, _VIEWS.std)
    held: Part = {"count": _constant(std.count), "mean": rounded(std.centre)}
    if std.count.max(initial=0) < 2:
        return held, table.shape[1]
    held["median"] = rounded(summary(table, _VIEWS.median).centre)
    held |= _spreads(std, summary(table, _VIEWS.quantiles), summary(table, _VIEWS.range))
    held |= _interval("mean", summary(table, CurveView(band="bootstrap", reps=_REPS)))
    return held, table.shape[1]


def _aggregate_statistics(tables: Sequence[Floats]) -> tuple[Part, int]:
    count = min(_reach(mean(table)) for table in tables)
    tables = [table[:, :count] for table in tables]
    std = aggregate(tables, _VIEWS.std)
    held: Part = {"count": len(tables), "runs": _constant(std.count), "mean": rounded(std.centre)}
    held["median"] = rounded(aggregate(tables, _VIEWS.median).centre)
    held |= _spreads(std, aggregate(tables, _VIEWS.quantiles), aggregate(tables, _VIEWS.range))
    for centre in get_args(Centre):
        band = aggregate(tables, CurveView(centre=centre, band="bootstrap", reps=_REPS))
        held[centre] = rounded(band.centre)
        if std.count.max(initial=0) > len(tables):
            held |= _interval(centre, band)
    return held, tables[0].shape[1]


def _spreads(std: Summary, quantiles: Summary, extremes: Summary) -> Part:
    return {
        "std": rounded(std.high - std.centre),
        "quartile_low": rounded(quantiles.low),
        "quartile_high": rounded(quantiles.high),
        "least": rounded(extremes.low),
        "most": rounded(extremes.high),
    }


def _interval(centre: str, band: Summary) -> Part:
    return {f"{centre}_low": rounded(band.low), f"{centre}_high": rounded(band.high)}


def _reach(values: Floats) -> int:
    """How many points there are up to the last that is not NaN."""
    held = np.flatnonzero(np.isfinite(values))
    return int(held[-1]) + 1 if len(held) else 0


def _even(grid: Grid, points: int) -> Part:
    return _places(float(grid.width[0]), float(grid.reach[0]), points)


def _places(width: float, end: float, count: int) -> Part:
    return {"width": rounded_number(width, 12), "end": rounded_number(end, 12), "count": count}


def _constant(counts: NDArray[np.int64]) -> int | list[int]:
    """One number where all points have the same."""
    return int(counts[0]) if len(counts) and (counts == counts[0]).all() else counts.tolist()
