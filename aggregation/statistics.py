"""What many runs say together: aggregates over tasks, profiles and comparisons, with bootstrap intervals. Pure arrays.

Scores of one label are a sequence with one array per task, of shape [runs of that task]. Tasks may have different
numbers of runs. NaN stands for a run without a score and is left out; so is an infinity. Every task weighs the same,
however many runs it has. With equally many runs everywhere all numbers are those of rliable.

Definitions: Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregation.bootstrap import curve_means, draws, shares_above, task_means, trimmed_means, win_shares

Floats = NDArray[np.float64]
Scores = Sequence[Floats]

REPS = 10_000
CONFIDENCE = 0.95
_TRIM = 0.25
#: Numbers held at once where draws of many points are taken together.
_HELD = 1 << 21
#: Metrics that the tasks' means are enough for, of an array with the tasks on its first axis.
_OF_MEANS: dict[str, Callable[[Floats], Floats]] = {
    "mean": lambda means: np.asarray(means.mean(axis=0)),
    "median": lambda means: np.asarray(np.median(means, axis=0)),
    "capped_mean": lambda means: np.asarray(np.minimum(means, 1.0).mean(axis=0)),
}
_GAMMA = 1.0


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


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """Between which values an aggregate moves when any one task is left out."""

    low: float
    high: float
    #: The place of the task without which the aggregate is lowest, and of that without which it is highest.
    low_without: int
    high_without: int


def mean(scores: Scores) -> float:
    """The mean of the tasks' means."""
    return float(np.mean([task.mean() for task in present(scores)]))


def median(scores: Scores) -> float:
    """The median of the tasks' means."""
    return float(np.median([task.mean() for task in present(scores)]))


def iqm(scores: Scores) -> float:
    """The interquartile mean: the mean of all runs without the lowest and the highest quarter.

    A quarter is rounded down to whole runs, as `scipy.stats.trim_mean` does. A run of a task with n runs weighs 1/n;
    where that splits a run at the edge, it counts in part.
    """
    tasks = present(scores)
    values = np.concatenate(tasks)
    weight = np.concatenate([np.full(len(task), len(values) / (len(tasks) * len(task))) for task in tasks])
    order = np.argsort(values, kind="stable")
    cut = _cut(tasks) * len(values)
    below = np.clip(np.cumsum(weight[order]), cut, len(values) - cut)
    kept = np.diff(below, prepend=cut)
    return float(np.average(values[order], weights=kept))


def optimality_gap(scores: Scores, *, gamma: float = _GAMMA) -> float:
    """How far runs fall short of `gamma` on average; what lies beyond it counts as `gamma`."""
    return gamma - mean([np.minimum(task, gamma) for task in present(scores)])


def capped_mean(scores: Scores) -> float:
    """The mean of the tasks' means, each of which counts as 1 at most: the headline of DMLab-30 (IMPALA, ICML 2018)."""
    return float(np.mean([min(task.mean(), 1.0) for task in present(scores)]))


METRICS: Mapping[str, Callable[[Scores], float]] = {
    "mean": mean,
    "median": median,
    "iqm": iqm,
    "optimality_gap": optimality_gap,
    "capped_mean": capped_mean,
}


#: Those that need no more than the tasks' means, of many sets at once: from shape [sets, tasks] to [sets].
_OF_TASK_MEANS: Mapping[str, Callable[[Floats], Floats]] = {
    "mean": lambda means: means.mean(axis=1),
    "median": lambda means: np.median(means, axis=1),
    "capped_mean": lambda means: np.minimum(means, 1.0).mean(axis=1),
}


def point(scores: Scores, metric: str) -> float:
    """An aggregate by its name in `METRICS`."""
    return METRICS[metric](scores)


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


def probability_of_improvement(x: Scores, y: Scores) -> float:
    """How likely a run of `x` beats a run of `y` on a task, the mean over tasks; a tie counts half."""
    pairs = zip(present(x), present(y), strict=True)
    return float(np.mean([_wins(first, second).mean() for first, second in pairs]))


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
    wins = [_wins(first, second).astype(np.float32) for first, second in zip(firsts, seconds, strict=True)]
    sizes = [len(task) for task in (*firsts, *seconds)]
    drawn = np.concatenate(
        [
            np.mean([win_shares(*each) for each in zip(wins, counts, counts[len(wins) :], strict=False)], axis=0)
            for counts in draws(sizes, reps, generator)
        ]
    )
    return _interval(probability_of_improvement(firsts, seconds), drawn, confidence)


def performance_profile(scores: Scores, thresholds: Floats) -> Floats:
    """The share of runs that score above each threshold, shape [thresholds]; every task weighs the same."""
    shares: Floats = np.mean([(task[:, None] > thresholds).mean(axis=0) for task in present(scores)], axis=0)
    return shares


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
            if metric in _OF_MEANS:
                tables = [np.stack(runs, axis=1) for runs in zip(*columns, strict=True)]
                drawn[:, first:last] = _drawn_of_means(tables, counts, metric)
            else:
                for row, tasks in zip(drawn, columns, strict=True):
                    row[first:last] = _drawn(tasks, counts, [metric])[metric]
            first = last
        band.point[places] = [point(tasks, metric) for tasks in columns]
        band.low[places], band.high[places] = _bounds(drawn, confidence)
    return band


def leave_one_task_out(scores: Scores, metric: str) -> LeaveOneOut | None:
    """The range of an aggregate when any one task is left out; None where there is only one."""
    tasks = present(scores)
    if len(tasks) < 2:
        return None
    left = _without_each(tasks, metric)
    lowest, highest = int(np.argmin(left)), int(np.argmax(left))
    return LeaveOneOut(float(left[lowest]), float(left[highest]), lowest, highest)


def _without_each(tasks: Sequence[Floats], metric: str) -> Floats:
    """An aggregate without each task in turn, shape [tasks]."""
    if metric in _OF_TASK_MEANS:
        means = np.array([task.mean() for task in tasks])
        others = np.broadcast_to(means, (len(means), len(means)))[~np.eye(len(means), dtype=bool)]
        return _OF_TASK_MEANS[metric](others.reshape(len(means), -1))
    return np.array([point([*tasks[:place], *tasks[place + 1 :]], metric) for place in range(len(tasks))])


def present(scores: Scores) -> list[Floats]:
    """The scores without missing ones.

    Raises:
        ValueError: there is no task, or one without any score.
    """
    tasks = [np.asarray(task, np.float64) for task in scores]
    tasks = [task[np.isfinite(task)] for task in tasks]
    if not tasks or not all(len(task) for task in tasks):
        empty = [place for place, task in enumerate(tasks) if not len(task)]
        raise ValueError(f"of {len(tasks)} tasks those at {empty} have no score; expected one or more in each.")
    return tasks


def _drawn(tasks: Sequence[Floats], counts: Sequence[NDArray[np.float32]], metrics: Sequence[str]) -> dict[str, Floats]:
    """Each metric in each draw, shape [draws]."""
    drawn: dict[str, Floats] = {}
    if _OF_MEANS.keys() & set(metrics):
        means = task_means(tasks, counts)
        drawn |= {name: of_means(means) for name, of_means in _OF_MEANS.items()}
    if "optimality_gap" in metrics:
        capped = task_means([np.minimum(task, _GAMMA) for task in tasks], counts)
        drawn["optimality_gap"] = _GAMMA - capped.mean(axis=0)
    if "iqm" in metrics:
        drawn["iqm"] = trimmed_means(tasks, counts, _cut(tasks))
    return {metric: drawn[metric] for metric in metrics}


def _drawn_of_means(tables: Sequence[Floats], counts: Sequence[NDArray[np.float32]], metric: str) -> Floats:
    """An aggregate of the tasks' means at each point in each draw, shape [points, draws].

    Args:
        tables: Per task an array of shape [runs, points].
        counts: Of each task's runs.
        metric: A name of `_OF_MEANS`.
    """
    at_once = max(1, _HELD // (len(tables) * counts[0].shape[1]))
    points = range(0, tables[0].shape[1], at_once)
    return np.concatenate(
        [
            _OF_MEANS[metric](curve_means([table[:, place : place + at_once] for table in tables], counts))
            for place in points
        ]
    )


def _cut(tasks: Sequence[Floats]) -> float:
    """The share of the weight that the interquartile mean cuts off at either end."""
    runs = sum(len(task) for task in tasks)
    return int(_TRIM * runs) / runs


def _wins(first: Floats, second: Floats) -> Floats:
    """1 where a run of the first beats one of the second, 0.5 where they tie, shape [first runs, second runs]."""
    return 0.5 * ((first[:, None] > second).astype(np.float64) + (first[:, None] >= second))


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
