"""Permutation tests: how a sum over some runs of a task lies among the sums over as many taken by lot. Pure arrays.

If nothing sets the runs apart, every choice is as likely as the one that was made, whatever the scores look like and
however few they are. Tasks are independent, so that many tasks make up for few runs.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REPS = 20_000
_CHUNK = 1 << 22  # random numbers held at a time


def subset_sums(values: Floats, taken: int, reps: int, generator: np.random.Generator) -> Floats:
    """Sums of values taken by lot without putting back, shape [reps].

    Args:
        values: Shape [runs].
        taken: How many are taken, from 0 to all.
        reps: Sums to draw.
        generator: The same state gives the same sums.
    """
    runs = len(values)
    if taken > runs // 2:
        total: Floats = values.sum() - subset_sums(values, runs - taken, reps, generator)
        return total
    if taken == 0:
        return np.zeros(reps)
    if taken == 1:
        return values[generator.integers(0, runs, reps)]
    sums = np.empty(reps)
    chunk = max(_CHUNK // runs, 1)
    for first in range(0, reps, chunk):
        lots = generator.random((min(chunk, reps - first), runs), dtype=np.float32)
        chosen = np.argpartition(lots, taken - 1, axis=1)[:, :taken]
        sums[first : first + chunk] = values[chosen].sum(axis=1)
    return sums


def choices(sizes: Sequence[tuple[int, int]]) -> int:
    """In how many ways runs can be taken, per task so many of so many; one over it is the least p-value possible."""
    return math.prod(math.comb(runs, taken) for taken, runs in sizes)


def p_value(observed: float, drawn: Floats) -> float:
    """The share of draws at or above what was observed, which counts as one of them.

    With that a test at level alpha errs no oftener than alpha, however few draws there are (Phipson and Smyth,
    "Permutation P-values should never be zero", 2010).

    Args:
        observed: Larger is less likely by chance.
        drawn: The same of choices by lot, shape [reps].
    """
    slack = 1e-9 * max(abs(observed), 1e-300)  # sums of the same numbers in another order
    return float((1 + np.count_nonzero(drawn >= observed - slack)) / (1 + len(drawn)))


def midranks(values: Floats) -> Floats:
    """Ranks from 1 for the lowest, shape [runs]; equal values share the mean of theirs."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[group]
