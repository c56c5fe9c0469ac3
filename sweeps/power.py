"""How likely a comparison shows a difference that is there. Pure."""

from math import ceil, sqrt
from statistics import NormalDist

_NORMAL = NormalDist()


def power(seeds: int, tasks: int, *, difference: float = 1.0, alpha: float = 0.05) -> float:
    """The chance that a two-sided test of two methods shows a difference.

    The normal approximation of a test of the mean over tasks, with the same tasks and seeds for both methods. The true
    spread is taken as known, so that it is optimistic for very few seeds.

    Args:
        difference: between the methods on every task, in standard deviations between seeds.
    """
    shift = difference * sqrt(seeds * tasks / 2)
    return _NORMAL.cdf(shift - _NORMAL.inv_cdf(1 - alpha / 2))


def seeds_needed(tasks: int, *, wanted: float = 0.8, difference: float = 1.0, alpha: float = 0.05) -> int:
    """The fewest seeds per task with which `power` reaches what is wanted."""
    shift = _NORMAL.inv_cdf(wanted) + _NORMAL.inv_cdf(1 - alpha / 2)
    return max(2, ceil(2 * (shift / difference) ** 2 / tasks))
