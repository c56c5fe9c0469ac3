"""What many runs say together, as numbers: aggregates over tasks, profiles and comparisons. Pure arrays.

Scores of one label are a sequence with one array per task, of shape [runs of that task]. Tasks may have different
numbers of runs. NaN stands for a run without a score and is left out; so is an infinity. Every task weighs the same,
however many runs it has. With equally many runs everywhere all numbers are those of rliable.

Definitions: Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Scores = Sequence[Floats]

#: The score that nothing beyond counts for in an optimality gap.
GAMMA = 1.0
_TRIM = 0.25


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
    cut = trimmed_share(tasks) * len(values)
    below = np.clip(np.cumsum(weight[order]), cut, len(values) - cut)
    kept = np.diff(below, prepend=cut)
    return float(np.average(values[order], weights=kept))


def optimality_gap(scores: Scores, *, gamma: float = GAMMA) -> float:
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


#: Those that the tasks' means are enough for, of an array with the tasks on its first axis.
OF_TASK_MEANS: Mapping[str, Callable[[Floats], Floats]] = {
    "mean": lambda means: np.asarray(means.mean(axis=0)),
    "median": lambda means: np.asarray(np.median(means, axis=0)),
    "capped_mean": lambda means: np.asarray(np.minimum(means, 1.0).mean(axis=0)),
}


def point(scores: Scores, metric: str) -> float:
    """An aggregate by its name in `METRICS`."""
    return METRICS[metric](scores)


def probability_of_improvement(x: Scores, y: Scores) -> float:
    """How likely a run of `x` beats a run of `y` on a task, the mean over tasks; a tie counts half."""
    pairs = zip(present(x), present(y), strict=True)
    return float(np.mean([wins(first, second).mean() for first, second in pairs]))


def performance_profile(scores: Scores, thresholds: Floats) -> Floats:
    """The share of runs that score above each threshold, shape [thresholds]; every task weighs the same."""
    shares: Floats = np.mean([(task[:, None] > thresholds).mean(axis=0) for task in present(scores)], axis=0)
    return shares


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
    if metric in OF_TASK_MEANS:
        means = np.array([task.mean() for task in tasks])
        others = np.broadcast_to(means, (len(means), len(means)))[~np.eye(len(means), dtype=bool)]
        return OF_TASK_MEANS[metric](others.reshape(len(means), -1).T)
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


def trimmed_share(tasks: Sequence[Floats]) -> float:
    """The share of the weight that the interquartile mean cuts off at either end."""
    runs = sum(len(task) for task in tasks)
    return int(_TRIM * runs) / runs


def wins(first: Floats, second: Floats) -> Floats:
    """1 where a run of the first beats one of the second, 0.5 where they tie, shape [first runs, second runs]."""
    return 0.5 * ((first[:, None] > second).astype(np.float64) + (first[:, None] >= second))
