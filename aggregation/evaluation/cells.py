"""One cell of a score table: the seeds of one task and label, those that are missing, and what the others say."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregation.statistics import CONFIDENCE, Interval
from aggregation.student_t import quantile

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A seed that has no episode in the window."""

    seed: int
    #: The run's state; `absent` where other tasks of its label have the seed and this one has no such run.
    state: str
    #: How far it is, in environment frames.
    last_step: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One task and label. Arrays have shape [seeds planned], NaN where a seed has no episode in the window."""

    task: str
    label: str
    seeds: tuple[int, ...]
    scores: Floats
    normalised: Floats
    missing: tuple[Missing, ...]
    #: The mean score with Student's interval over the seeds that have data: NaN bounds for one, None for no seed.
    mean: Interval | None

    @property
    def with_data(self) -> int:
        """Seeds with an episode in the window."""
        return len(self.seeds) - len(self.missing)

    @property
    def is_complete(self) -> bool:
        return not self.missing

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "label": self.label,
            "mean": None if self.mean is None else _interval_json(self.mean),
            "seeds_with_data": self.with_data,
            "seeds_planned": len(self.seeds),
            "seeds": list(self.seeds),
            "scores": _json_numbers(self.scores),
            "normalised": _json_numbers(self.normalised),
            "missing": [asdict(each) for each in self.missing],
        }


def mean_interval(scores: Floats, confidence: float = CONFIDENCE) -> Interval | None:
    """The mean with Student's t interval: a bootstrap of a handful of seeds would be too narrow.

    Args:
        scores: NaN for a missing seed, shape [seeds].
        confidence: Of the interval.
    """
    good = scores[np.isfinite(scores)]
    if not len(good):
        return None
    mean = float(good.mean())
    if len(good) == 1:
        return Interval(mean, np.nan, np.nan)
    half = _quantile((1 + confidence) / 2, len(good) - 1) * float(good.std(ddof=1)) / len(good) ** 0.5
    return Interval(mean, mean - half, mean + half)


#: A table asks for the same few again and again.
_quantile = lru_cache(quantile)


def best_of(values: Mapping[str, Interval], sign: float = 1.0) -> frozenset[str]:
    """The highest value, and those that lie in its interval and have it in theirs; none without a rival.

    Args:
        values: By label.
        sign: -1 where lower is better.
    """
    if len(values) < 2:
        return frozenset()
    top = max(values.values(), key=lambda value: sign * value.point)
    return frozenset(
        label
        for label, value in values.items()
        if value.point == top.point or (top.low <= value.point <= top.high and value.low <= top.point <= value.high)
    )


def _interval_json(interval: Interval) -> dict[str, float | None]:
    return {
        name: None if np.isnan(value) else value
        for name, value in (("value", interval.point), ("low", interval.low), ("high", interval.high))
    }


def _json_numbers(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]
