"""Aggregates, profiles, comparisons and curves with stratified bootstrap intervals. Pure arrays.

Scores and aggregates are those of aggregation/aggregates.py; the runs within each task are drawn anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregation.aggregates import (
    GAMMA,
    METRICS,
    OF_TASK_MEANS,
    Floats,
    LeaveOneOut,
    Scores,
    leave_one_task_out,
    performance_profile,
    point,
    present,
    probability_of_improvement,
    trimmed_share,
    wins,
)
from aggregation.bootstrap import curve_means, draws, shares_above, task_means, trimmed_means, win_shares

__all__ = [
    "METRICS",
    "Band",
    "Floats",
    "Interval",
    "LeaveOneOut",
    "Scores",
    "curve_intervals",
    "difference_intervals",
    "improvement_interval",
    "intervals",
    "leave_one_task_out",
    "performance_profile",
    "point",
    "probability_of_improvement",
    "profile_band",
]

REPS = 10_000
CONFIDENCE = 0.95
#: Numbers held at once where draws of many points are taken together.
_HELD = 1 << 21


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with the bounds of its percentile interval."""

    point: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Band:
    """Numbers with the bounds of their percentile intervals, each of shape [points]."""

    point: Floats
    low: Floats
    high: Floats


def intervals(
    scores: Scores,
    metrics: Sequence[str] = tuple(METRICS),
    *,
    reps: int = REPS,
    confidence: float = CONFIDENCE,
    generator: np.random.Generator,
) -> dict[str, Interval]:
    """Aggregates with percentile intervals of a bootstrap over the runs within each task, all from the same draws.

    Args:
        scores: Per task an array of shape [runs].
        metrics: Names of `METRICS`.
        reps: Draws.
        confidence: The share of draws between the bounds.
        generator: The same state gives the same intervals.

    Raises:
        ValueError: a task without any score.
    """
    tasks = present(scores)
    drawn = {metric: np.empty(reps) for metric in metrics}
    first = 0
    for counts in draws([len(task) for task in tasks], reps, generator):
        last = first + counts[0].shape[1]
        for metric, values in _drawn(tasks, counts, metrics).items():
            drawn[metric][first:last] = values
        first = last
    return {metric: _interval(point(tasks, metric), drawn[metric], confidence) for metric in metrics}


def difference_intervals(
    x: Scores,
    y: Scores,
    metrics: Sequence[str] = tuple(METRICS),
    *,
    reps: int = REPS,
    confidence: float = CONFIDENCE,
    generator: np.random.Generator,
) -> dict[str, Interval]:
    """How much higher aggregates of `x` are than those of `y`, with their intervals.

    Args:
        x: Per task an array of shape [runs].
        y: The same of the other side, whose tasks may be others.
        metrics: Names of `METRICS`.
        reps: Draws of either side.
        confidence: The share of draws between the bounds.
        generator: The same state gives the same intervals.
    """
    firsts, seconds = present(x), present(y)
    sizes = [len(task) for task in (*firsts, *seconds)]
    drawn: dict[str, list[Floats]] = {metric: [] for metric in metrics}
    for counts in draws(sizes, reps, generator):
        ours, theirs = _drawn(firsts, counts[: len(firsts)], metrics), _drawn(seconds, counts[len(firsts) :], metrics)
        for metric in metrics:
            drawn[metric].append(ours[metric] - theirs[metric])
    return {
        metric: _interval(point(firsts, metric) - point(seconds, metric), np.concatenate(values), confidence)
        for metric, values in drawn.items()
    }


def improvement_interval(
    x: Scores,
    y: Scores,
    *,
    reps: int = REPS,
    confidence: float = CONFIDENCE,
    generator: np.random.Generator,
) -> Interval:
    """`probability_of_improvement` with its interval; the runs of either side are drawn anew within each task."""
    firsts, seconds = present(x), present(y)
    won = [wins(first, second).astype(np.float32) for first, second in zip(firsts, seconds, strict=True)]
    sizes = [len(task) for task in (*firsts, *seconds)]
    drawn = np.concatenate(
        [
            np.mean([win_shares(*each) for each in zip(won, counts, counts[len(won) :], strict=False)], axis=0)
            for counts in draws(sizes, reps, generator)
        ]
    )
    return _interval(probability_of_improvement(firsts, seconds), drawn, confidence)


def profile_band(
    scores: Scores,
    thresholds: Floats,
    *,
    reps: int = REPS,
    confidence: float = CONFIDENCE,
    generator: np.random.Generator,
) -> Band:
    """`performance_profile` with pointwise intervals.

    Args:
        scores: Per task an array of shape [runs].
        thresholds: Ascending, shape [thresholds].
        reps: Draws.
        confidence: The share of draws between the bounds.
        generator: The same state gives the same band.
    """
    tasks = present(scores)
    drawn = np.empty((len(thresholds), reps), np.float32)
    first = 0
    for counts in draws([len(task) for task in tasks], reps, generator):
        last = first + counts[0].shape[1]
        for place, shares in shares_above(tasks, counts, thresholds):
            drawn[place, first:last] = shares
        first = last
    return Band(performance_profile(tasks, thresholds), *_bounds(drawn, confidence))


def curve_intervals(
    curves: Sequence[Floats],
    metric: str,
    *,
    reps: int = REPS,
    confidence: float = CONFIDENCE,
    generator: np.random.Generator,
) -> Band:
    """An aggregate at each point of the curves, with pointwise intervals: the sample-efficiency curve.

    Points at which the same runs have a score share their draws. Where a task has none, all three values are NaN.

    Args:
        curves: Per task an array of shape [runs, points], NaN where a run has no score.
        metric: A name of `METRICS`.
        reps: Draws.
        confidence: The share of draws between the bounds.
        generator: The same state gives the same band.
    """
    points = curves[0].shape[1]
    band = Band(*(np.full(points, np.nan) for _ in range(3)))
    there = [np.isfinite(curve) for curve in curves]
    for places in _alike(there):
        if not all(mask[:, places[0]].any() for mask in there):
            continue
        columns = [
            [curve[mask[:, place], place] for curve, mask in zip(curves, there, strict=True)] for place in places
        ]
        drawn = np.empty((len(places), reps))
        first = 0
        for counts in draws([len(task) for task in columns[0]], reps, generator):
            last = first + counts[0].shape[1]
            if metric in OF_TASK_MEANS:
                tables = [np.stack(runs, axis=1) for runs in zip(*columns, strict=True)]
                drawn[:, first:last] = _drawn_of_means(tables, counts, metric)
            else:
                for row, tasks in zip(drawn, columns, strict=True):
                    row[first:last] = _drawn(tasks, counts, [metric])[metric]
            first = last
        band.point[places] = [point(tasks, metric) for tasks in columns]
        band.low[places], band.high[places] = _bounds(drawn, confidence)
    return band


def _drawn(tasks: Sequence[Floats], counts: Sequence[NDArray[np.float32]], metrics: Sequence[str]) -> dict[str, Floats]:
    """Each metric in each draw, shape [draws]."""
    drawn: dict[str, Floats] = {}
    if OF_TASK_MEANS.keys() & set(metrics):
        means = task_means(tasks, counts)
        drawn |= {name: of_means(means) for name, of_means in OF_TASK_MEANS.items()}
    if "optimality_gap" in metrics:
        capped = task_means([np.minimum(task, GAMMA) for task in tasks], counts)
        drawn["optimality_gap"] = GAMMA - capped.mean(axis=0)
    if "iqm" in metrics:
        drawn["iqm"] = trimmed_means(tasks, counts, trimmed_share(tasks))
    return {metric: drawn[metric] for metric in metrics}


def _drawn_of_means(tables: Sequence[Floats], counts: Sequence[NDArray[np.float32]], metric: str) -> Floats:
    """An aggregate of the tasks' means at each point in each draw, shape [points, draws].

    Args:
        tables: Per task an array of shape [runs, points].
        counts: Of each task's runs.
        metric: A name of `OF_TASK_MEANS`.
    """
    at_once = max(1, _HELD // (len(tables) * counts[0].shape[1]))
    points = range(0, tables[0].shape[1], at_once)
    return np.concatenate(
        [
            OF_TASK_MEANS[metric](curve_means([table[:, place : place + at_once] for table in tables], counts))
            for place in points
        ]
    )


def _interval(value: float, drawn: NDArray[np.floating], confidence: float) -> Interval:
    low, high = _bounds(drawn, confidence)
    return Interval(value, float(low), float(high))


def _bounds(drawn: NDArray[np.floating], confidence: float) -> tuple[Floats, Floats]:
    """Lower and upper percentile of the last axis."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=-1)
    return low, high


def _alike(masks: Sequence[NDArray[np.bool_]]) -> list[list[int]]:
    """Points at which the same runs have a score, together."""
    columns = np.concatenate(masks)
    groups: dict[bytes, list[int]] = {}
    for place in range(columns.shape[1]):
        groups.setdefault(columns[:, place].tobytes(), []).append(place)
    return list(groups.values())
