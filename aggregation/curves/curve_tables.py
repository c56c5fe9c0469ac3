"""The scores of many runs on a common grid of points, one row per run. Pure arrays.

Within the span of a run an empty bin carries the run's last value forward; beyond its end the run has no data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from aggregation.curves.axes import Axis, end_frames, positions
from aggregation.dataset.bins import RunBins
from aggregation.sources.sources import RunInfo

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Grid:
    """Points of some groups of runs: each has its own reach, and as many points as the others."""

    #: How far the points reach, shape [groups].
    reach: Floats
    #: Between two points, shape [groups].
    width: Floats
    points: int

    @classmethod
    def even(cls, reach: Floats, points: int) -> Self:
        """As many points for every group, evenly up to its reach."""
        reach = np.where(reach > 0, reach, 1.0)
        return cls(reach, reach / points, points)

    @classmethod
    def aligned(cls, reach: float, points: int, unit: int) -> Self:
        """At most so many points for one group, at multiples of `unit`: where fine bins of that width are exact."""
        reach = max(reach, 1.0)
        width = float(unit * np.ceil(reach / (unit * points)))
        return cls(np.array([reach]), np.array([width]), int(np.ceil(reach / width)))

    def xs(self, group: int) -> Floats:
        """Right edges of the bins of a group, the last at its reach, shape [points]."""
        edges: Floats = np.arange(1, self.points + 1) * self.width[group]
        edges[-1] = self.reach[group]
        return edges


@dataclass(frozen=True, slots=True)
class Scatter:
    """Values of some runs along an axis, run after run. Arrays have shape [n] unless they say otherwise."""

    runs: tuple[RunInfo, ...]
    #: The place of each value's run among `runs`.
    owner: Ints
    #: On the axis.
    xs: Floats
    values: Floats
    #: Episodes behind each value.
    weights: Floats
    #: Where each run ends on the axis, shape [runs].
    ends: Floats
    #: Frames to which `xs` is exact; 1 for episodes.
    unit: int

    def table(self, grid: Grid, group: Ints) -> Floats:
        """The runs on a grid, NaN where one has no data, shape [runs, points].

        Args:
            grid: The points of each group.
            group: The group of each run, shape [runs].
        """
        rows, points = len(self.runs), grid.points
        width = grid.width[group]
        inside = self.xs <= grid.reach[group][self.owner]
        inside &= np.isfinite(self.values)
        owner, xs = self.owner[inside], self.xs[inside]
        place = np.minimum(np.floor(xs / width[owner]).astype(np.int64), points - 1)
        place += owner * points
        weights = self.weights[inside]
        count = np.bincount(place, weights, rows * points)
        total = np.bincount(place, weights * self.values[inside], rows * points)
        means = np.divide(total, count, out=np.full(rows * points, np.nan), where=count > 0).reshape(rows, points)
        last = np.minimum(np.floor(self.ends / width).astype(np.int64), points - 1)
        return np.where(np.arange(points) <= last[:, None], carried(means), np.nan)


def scatter(
    pairs: Sequence[tuple[RunInfo, RunBins]], axis: Axis, *, lengths: bool = False
) -> tuple[Scatter, list[RunInfo]]:
    """The bins of runs along an axis, and the runs that have no place on it.

    Args:
        pairs: Runs with their bins.
        axis: What stands below the curves.
        lengths: Episode lengths in place of scores.
    """
    kept, xs, values, weights, ends, outside = [], [], [], [], [], []
    for run, bins in pairs:
        end = float(end_frames(run))
        # The middle of a bin stands for it: it falls into the bin of a wider grid that holds it.
        steps = np.clip(bins.steps - bins.width / 2, run.first_step, run.last_step)
        where = positions(run, axis, np.append(steps, end))
        if where is None:
            outside.append(run)
            continue
        kept.append(run)
        xs.append(where[:-1])
        ends.append(where[-1])
        values.append(_lengths(bins) if lengths else bins.mean)
        weights.append(bins.count)
    owner = np.repeat(np.arange(len(kept)), [len(each) for each in xs])
    unit = max((bins.width for _, bins in pairs), default=1)
    return Scatter(
        tuple(kept),
        owner,
        _joined(xs),
        _joined(values),
        _joined(weights).astype(np.float64),
        np.array(ends, np.float64),
        unit,
    ), outside


def carried(table: Floats) -> Floats:
    """Every row with its last value carried forward into the gaps behind it, shape [rows, points]."""
    place = np.where(np.isfinite(table), np.arange(table.shape[1]), -1)
    latest = np.maximum.accumulate(place, axis=1)
    filled = np.take_along_axis(table, np.maximum(latest, 0), axis=1)
    return np.where(latest >= 0, filled, np.nan)


def _lengths(bins: RunBins) -> Floats:
    return np.full(len(bins.count), np.nan) if bins.length is None else bins.length


def _joined(parts: Sequence[NDArray[np.generic]]) -> Floats:
    return np.concatenate(parts).astype(np.float64) if parts else np.empty(0)
