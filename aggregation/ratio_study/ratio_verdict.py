"""Which train ratio a task's scores speak for, and how loudly. Pure."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aggregation import student_t
from aggregation.ratio_study.ratio_budgets import Kind, RatioScore, rounded

Floats = NDArray[np.float64]
Verdict = Literal["better", "no difference seen", "too few seeds"]

#: With fewer the spread between seeds is a guess.
FEWEST_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The ratio with the highest mean score at a budget, beside the next best."""

    #: What was equal.
    kind: Kind
    ratio: float
    mean: float
    seeds: int
    next_best: float
    next_mean: float
    next_seeds: int
    #: Of the two means, with Welch's interval; None for fewer than two seeds of either.
    difference: float
    low: float | None
    high: float | None
    verdict: Verdict
    #: Ratios, the recommended one included, that were not seen to be worse; that is no proof that they are as good.
    not_seen_worse: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"not_seen_worse": list(self.not_seen_worse)}


def recommendation(kind: Kind, scores: Sequence[RatioScore], *, confidence: float) -> Recommendation | None:
    """The ratio to take where `kind` is what is scarce; None with fewer than two ratios that have a score."""
    ranked = sorted((each for each in scores if len(each.present)), key=lambda each: (-each.present.mean(), each.ratio))
    if len(ranked) < 2:
        return None
    best, following = ranked[:2]
    interval = difference_interval(best.present, following.present, confidence)
    low, high = interval or (None, None)
    verdict: Verdict = "no difference seen"
    if not _are_enough(best, following):
        verdict = "too few seeds"
    elif low is not None and low > 0:
        verdict = "better"
    return Recommendation(
        kind=kind,
        ratio=best.ratio,
        mean=rounded(float(best.present.mean())),
        seeds=len(best.present),
        next_best=following.ratio,
        next_mean=rounded(float(following.present.mean())),
        next_seeds=len(following.present),
        difference=rounded(float(best.present.mean() - following.present.mean())),
        low=None if low is None else rounded(low),
        high=None if high is None else rounded(high),
        verdict=verdict,
        not_seen_worse=tuple(
            sorted([best.ratio, *(each.ratio for each in ranked[1:] if not _is_worse(best, each, confidence))])
        ),
    )


def difference_interval(first: Floats, second: Floats, confidence: float) -> tuple[float, float] | None:
    """Bounds of mean(first) - mean(second) by Welch's approximation; None for fewer than two runs of either.

    The percentile bootstrap is too narrow for so few runs. B. L. Welch, Biometrika 34 (1947).

    Args:
        first: Shape [runs].
        second: Shape [runs].
        confidence: Such as 0.95.
    """
    if min(len(first), len(second)) < 2:
        return None
    shares = [float(np.var(runs, ddof=1)) / len(runs) for runs in (first, second)]
    difference = float(first.mean() - second.mean())
    if not sum(shares):
        return difference, difference
    freedom = sum(shares) ** 2 / (shares[0] ** 2 / (len(first) - 1) + shares[1] ** 2 / (len(second) - 1))
    half = student_t.quantile(1 - (1 - confidence) / 2, freedom) * math.sqrt(sum(shares))
    return difference - half, difference + half


def wilson_interval(chance: float, pairs: float, confidence: float) -> tuple[float, float]:
    """Bounds of a probability that was seen in so many pairs, also where one side won them all.

    E. B. Wilson, Journal of the American Statistical Association 22 (1927).
    """
    squared = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    middle = (chance + squared / (2 * pairs)) / (1 + squared / pairs)
    half = math.sqrt(squared * chance * (1 - chance) / pairs + (squared / (2 * pairs)) ** 2) / (1 + squared / pairs)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _are_enough(*scores: RatioScore) -> bool:
    return all(len(each.present) >= FEWEST_SEEDS for each in scores)


def _is_worse(best: RatioScore, other: RatioScore, confidence: float) -> bool:
    interval = difference_interval(best.present, other.present, confidence)
    return interval is not None and interval[0] > 0 and _are_enough(best, other)
