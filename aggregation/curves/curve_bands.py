"""The line and the band of some runs at each point. Pure: tables of shape [runs, points], NaN for no data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregation.curves.curve_view import Band, CurveView
from aggregation.statistics import curve_intervals

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: The same table gives the same band.
_SEED = 0
#: Share of the runs that the interquartile mean leaves out at either end.
_TRIM = 0.25


@dataclass(frozen=True, slots=True)
class Summary:
    """NaN where there is no data. Arrays have shape [points]."""

    centre: Floats
    low: Floats
    high: Floats
    #: Runs with data.
    count: Ints


def summary(table: Floats, view: CurveView) -> Summary:
    """The line and the band over the runs of one task."""
    ordered = np.sort(table, axis=0)  # NaN last
    count = np.isfinite(table).sum(axis=0)
    centre = _centre(ordered, count, view)
    if view.band == "bootstrap":
        low, high = _bootstrap(table, ordered, count, view)
    else:
        low, high = _spread(ordered, count, centre, view, view.band)
    return Summary(centre, low, high, count)


def aggregate(tables: Sequence[Floats], view: CurveView) -> Summary:
    """The line and the band over tasks, where every task has data.

    The centre is the mean or the median of the tasks' means, or the interquartile mean of all runs. The band is a
    bootstrap over the runs within each task, or else spreads over the tasks' means.

    Args:
        tables: Per task an array of shape [runs, points]; scores that compare between tasks.
        view: What to show.
    """
    count = np.sum([np.isfinite(table).sum(axis=0) for table in tables], axis=0)
    means = np.stack([mean(table) for table in tables])
    whole = np.isfinite(means).all(axis=0)
    means[:, ~whole] = np.nan
    generator = np.random.default_rng(_SEED)
    if view.aggregate_band == "bootstrap":
        band = curve_intervals(tables, view.centre, reps=view.reps, confidence=view.confidence, generator=generator)
        return Summary(band.point, band.low, band.high, count)
    ordered = np.sort(means, axis=0)
    tasks = np.where(whole, len(tables), 0)
    if view.centre == "iqm":
        centre = curve_intervals(tables, "iqm", reps=1, generator=generator).point
    else:
        centre = _centre(ordered, tasks, view)
    low, high = _spread(ordered, tasks, centre, view, view.aggregate_band)
    return Summary(centre, low, high, count)


def mean(table: Floats) -> Floats:
    """Over the runs that have data, shape [points]."""
    good = np.isfinite(table)
    return _ratio(np.where(good, table, 0.0).sum(axis=0), good.sum(axis=0))


def quantile(ordered: Floats, count: Ints, level: float) -> Floats:
    """Between neighbours it is interpolated, as `numpy.quantile` does, shape [points].

    Args:
        ordered: Ascending in each column with NaN behind, shape [rows, points].
        count: Rows with data, shape [points].
        level: 0.5 for the median.
    """
    place = level * np.maximum(count - 1, 0)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    low, high = (np.take_along_axis(ordered, rank[None], axis=0)[0] for rank in (below, above))
    return np.where(count > 0, low + (high - low) * (place - below), np.nan)


def _centre(ordered: Floats, count: Ints, view: CurveView) -> Floats:
    if view.centre == "median":
        return quantile(ordered, count, 0.5)
    if view.centre == "iqm":
        cut = (_TRIM * count).astype(np.int64)
        rank = np.arange(len(ordered))[:, None]
        return mean(np.where((rank >= cut) & (rank < count - cut), ordered, np.nan))
    return mean(ordered)


def _spread(ordered: Floats, count: Ints, centre: Floats, view: CurveView, band: Band) -> tuple[Floats, Floats]:
    if band == "quantiles":
        low, high = view.quantiles
        return quantile(ordered, count, low), quantile(ordered, count, high)
    if band == "range":
        return quantile(ordered, count, 0.0), quantile(ordered, count, 1.0)
    if band == "none":
        nowhere = np.full(len(centre), np.nan)
        return nowhere, nowhere
    squares = np.nansum((ordered - mean(ordered)) ** 2, axis=0)
    if band == "std":
        half = np.sqrt(_ratio(squares, count))
    else:
        half = np.sqrt(_ratio(squares, (count - 1) * count))
    return centre - half, centre + half


def _bootstrap(table: Floats, ordered: Floats, count: Ints, view: CurveView) -> tuple[Floats, Floats]:
    generator = np.random.default_rng(_SEED)
    if view.centre != "median":
        band = curve_intervals([table], view.centre, reps=view.reps, confidence=view.confidence, generator=generator)
        return band.low, band.high
    # The median of a draw is a run, or the middle of two: which ones depends on how many there are alone.
    low, high = (np.full(table.shape[1], np.nan) for _ in range(2))
    tail = (1 - view.confidence) / 2
    for runs in np.unique(count[count > 0]).tolist():
        columns = np.flatnonzero(count == runs)
        ranks = np.sort(generator.integers(0, runs, (view.reps, runs)), axis=1)
        values = ordered[:, columns]
        drawn = (values[ranks[:, (runs - 1) // 2]] + values[ranks[:, runs // 2]]) / 2
        low[columns], high[columns] = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return low, high


def _ratio(over: Floats, under: NDArray[np.integer]) -> Floats:
    shares: Floats = np.divide(over, under, out=np.full(len(over), np.nan), where=under > 0)
    return shares
