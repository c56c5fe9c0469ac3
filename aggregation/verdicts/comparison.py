"""Whether A is better than B: task by task and over all tasks, and what difference could have been seen at all. Pure.

Per task: Welch's t-test on the scores of the runs, which keeps its level with few runs of unequal spread better than
its rivals (Colas, Sigaud and Oudeyer, "A Hitchhiker's Guide to Statistical Comparisons of Reinforcement Learning
Algorithms", 2019), with p-values corrected by Holm's method ("A Simple Sequentially Rejective Multiple Test
Procedure", 1979): the probability of any false finding among the tasks stays below alpha, however they depend on each
other. With unequal numbers of runs Welch's test fails far out in the tail, where corrected tests are decided (two runs
that happen to lie close look certain beside ten): there the larger of its standard error and Student's counts, with no
more degrees of freedom than two sides like the smaller one would have.

Over all tasks: the probability that a run of A beats one of B, tested by permuting the runs within each task. That
needs no assumption on the scores, and works with a single run per task.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aggregation.permutation import REPS, choices, midranks, p_value, subset_sums
from aggregation.statistics import Interval, improvement_interval
from aggregation.student_t import quantile, tail

Floats = NDArray[np.float64]
Verdict = Literal["better", "worse", "no difference seen", "not tested"]

ALPHA = 0.05
POWER = 0.8
_NEARLY_SURE = 0.99  # normal scores overlap a little, however far they are apart


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScores:
    """The scores of both sides on one task. Arrays have shape [runs planned], NaN where a run has no score."""

    suite: str
    task: str
    a: Floats
    b: Floats
    #: The score that stands for nothing learned, from which relative changes are meant.
    low: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskComparison:
    """One task. Differences are A less B; None stands where a side has too few runs."""

    suite: str
    task: str
    a_runs: int
    a_planned: int
    b_runs: int
    b_planned: int
    a_mean: float | None
    b_mean: float | None
    difference: float | None
    #: Bounds of the difference at a confidence of 1 - alpha, not corrected.
    low: float | None
    high: float | None
    p: float | None
    #: By Holm's method, over all tested tasks.
    corrected_p: float | None
    verdict: Verdict
    #: The least difference that would be found here with the probability `power`, after correction.
    smallest: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A beside B."""

    tasks: tuple[TaskComparison, ...]
    #: Tasks with a score on both sides; the others do not count in what follows.
    compared: int
    #: The probability that a run of A beats one of B. None where no task has runs on both sides.
    improvement: Interval | None
    p: float | None
    verdict: Verdict
    #: The least probability of improvement that would be found with the probability `power`; None where none would.
    smallest_improvement: float | None
    #: The same as one relative change of all tasks' scores, measured from the score that stands for nothing learned;
    #: None where the spread between runs is not known.
    smallest_change: float | None
    alpha: float
    power: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(
    tasks: Sequence[TaskScores],
    *,
    alpha: float = ALPHA,
    power: float = POWER,
    reps: int = REPS,
    generator: np.random.Generator,
) -> Comparison:
    """Compare two sides over tasks.

    Args:
        tasks: Both sides' scores, in one unit per task.
        alpha: The probability of finding a difference where there is none: over all tasks together by their aggregate,
            and of any one of them.
        power: The probability with which the smallest differences told would be found.
        reps: Draws of bootstrap and permutation.
        generator: The same state gives the same result.
    """
    there = [(task.a[np.isfinite(task.a)], task.b[np.isfinite(task.b)]) for task in tasks]
    ps = [welch_p(a, b) for a, b in there]
    corrected = holm(ps)
    tested = sum(p is not None for p in ps)
    details = tuple(
        _task(*each, tested=tested, alpha=alpha, power=power) for each in zip(tasks, there, ps, corrected, strict=True)
    )
    both = [(a, b) for a, b in there if len(a) and len(b)]
    if not both:
        return Comparison(
            tasks=details,
            compared=0,
            improvement=None,
            p=None,
            verdict="not tested",
            smallest_improvement=None,
            smallest_change=None,
            alpha=alpha,
            power=power,
        )
    lifted = [(a - task.low, b - task.low) for task, (a, b) in zip(tasks, there, strict=True) if len(a) and len(b)]
    p = improvement_p(both, reps=reps, generator=generator)
    improvement = improvement_interval([a for a, _ in both], [b for _, b in both], reps=reps, generator=generator)
    smallest = smallest_improvement([(len(a), len(b)) for a, b in both], alpha=alpha, power=power)
    return Comparison(
        tasks=details,
        compared=len(both),
        improvement=improvement,
        p=p,
        verdict=_verdict(p, improvement.point - 0.5, alpha),
        smallest_improvement=smallest,
        smallest_change=None if smallest is None else _change(lifted, smallest),
        alpha=alpha,
        power=power,
    )


def improvement_p(pairs: Sequence[tuple[Floats, Floats]], *, reps: int, generator: np.random.Generator) -> float:
    """The two-sided p-value of the mean probability of improvement, by permuting runs within each task.

    Args:
        pairs: Per task the scores of both sides, each of shape [runs].
        reps: Permutations.
        generator: The same state gives the same p-value.
    """
    observed, drawn = 0.0, np.zeros(reps)
    for a, b in pairs:
        ranks = midranks(np.concatenate([a, b]))
        # The rank sum of A tells how many pairs it wins.
        expected = len(a) * (len(a) + len(b) + 1) / 2
        observed += (ranks[: len(a)].sum() - expected) / (len(a) * len(b))
        drawn += (subset_sums(ranks, len(a), reps, generator) - expected) / (len(a) * len(b))
    return p_value(abs(observed), np.abs(drawn))


def welch_p(a: Floats, b: Floats) -> float | None:
    """The two-sided p-value of Welch's t-test, or one above it; None where a side has less than two runs.

    Runs without any spread on either side have no t; their p-value is that of the permutation test.
    """
    if min(len(a), len(b)) < 2:
        return None
    error, freedom = _standard_error(a, b)
    if error == 0:
        return 1.0 if a[0] == b[0] else 2 / math.comb(len(a) + len(b), len(a))
    return min(2 * tail(abs(float(a.mean() - b.mean())) / error, freedom), 1.0)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """P-values corrected by Holm's method, in their order; those that are None stay so and do not count."""
    order = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    highest = 0.0
    for rank, (p, place) in enumerate(order):
        highest = max(highest, min(p * (len(order) - rank), 1.0))
        corrected[place] = highest
    return corrected


def smallest_improvement(sizes: Sequence[tuple[int, int]], *, alpha: float, power: float) -> float | None:
    """The least mean probability of improvement that is found with the probability `power`; None where none is.

    From the normal approximation of the rank sums, whose variance is known where there is no difference. It is 1 where
    only a difference that holds in every pair is found.

    Args:
        sizes: Per task the runs of both sides.
        alpha: Level of the two-sided test.
        power: Between 0.5 and 1.
    """
    if 2 / choices([(a, a + b) for a, b in sizes]) > alpha:
        return None
    spread = math.sqrt(sum((a + b + 1) / (12 * a * b) for a, b in sizes)) / len(sizes)
    least = 0.5 + (NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(power)) * spread
    return min(least, 1.0)


def _task(
    task: TaskScores,
    there: tuple[Floats, Floats],
    p: float | None,
    corrected: float | None,
    *,
    tested: int,
    alpha: float,
    power: float,
) -> TaskComparison:
    a, b = there
    difference = float(a.mean() - b.mean()) if len(a) and len(b) else None
    low = high = smallest = None
    if p is not None and difference is not None:
        error, freedom = _standard_error(a, b)
        half = quantile(1 - alpha / 2, freedom) * error
        low, high = difference - half, difference + half
        smallest = (quantile(1 - alpha / tested / 2, freedom) + quantile(power, freedom)) * error
    return TaskComparison(
        suite=task.suite,
        task=task.task,
        a_runs=len(a),
        a_planned=len(task.a),
        b_runs=len(b),
        b_planned=len(task.b),
        a_mean=float(a.mean()) if len(a) else None,
        b_mean=float(b.mean()) if len(b) else None,
        difference=difference,
        low=low,
        high=high,
        p=p,
        corrected_p=corrected,
        verdict=_verdict(corrected, difference or 0.0, alpha),
        smallest=smallest,
    )


def _verdict(p: float | None, difference: float, alpha: float) -> Verdict:
    if p is None:
        return "not tested"
    if p > alpha:
        return "no difference seen"
    return "better" if difference > 0 else "worse"


def _standard_error(a: Floats, b: Floats) -> tuple[float, float]:
    """Of the difference of means, with its degrees of freedom; both sides have two runs or more.

    Welch's where both have equally many; else on the safe side of it.
    """
    variances = float(a.var(ddof=1)), float(b.var(ddof=1))
    parts = variances[0] / len(a), variances[1] / len(b)
    total = sum(parts)
    most = 2.0 * (min(len(a), len(b)) - 1)
    if total == 0:
        return 0.0, most
    freedom = total**2 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))
    pooled = ((len(a) - 1) * variances[0] + (len(b) - 1) * variances[1]) / (len(a) + len(b) - 2)
    student = pooled * (1 / len(a) + 1 / len(b))
    return math.sqrt(max(total, student)), min(freedom, most)


def _change(pairs: Sequence[tuple[Floats, Floats]], improvement: float) -> float | None:
    """The relative change of every task's scores that gives a mean probability of improvement, with normal scores.

    A task with one run on each side is taken to spread as the median of the others.
    """
    ratios: list[float] = []  # of a task's mean to the spread between its runs
    for a, b in pairs:
        freedom = len(a) + len(b) - 2
        if freedom:
            variance = ((len(a) - 1) * _variance(a) + (len(b) - 1) * _variance(b)) / freedom
            mean = abs(float(np.mean([a.mean(), b.mean()])))
            ratios.append(mean / math.sqrt(variance) if variance else math.inf)
    if not ratios:
        return None
    ratios += [float(np.median(ratios))] * (len(pairs) - len(ratios))

    improvement = min(improvement, _NEARLY_SURE)

    def reached(change: float) -> float:
        return sum(NormalDist().cdf(change * ratio / math.sqrt(2)) for ratio in ratios) / len(ratios)

    low, high = 0.0, 1e-3
    while reached(high) < improvement:
        low, high = high, 2 * high
        if high > 1e3:  # most tasks lie around 0, and have no relative change
            return None
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) < improvement else (low, middle)
    return high


def _variance(runs: Floats) -> float:
    return float(runs.var(ddof=1)) if len(runs) > 1 else 0.0
