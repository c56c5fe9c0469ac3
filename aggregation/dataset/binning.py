"""Means of episode scores in bins of environment frames, as DreamerV3's plot.py bins them. Pure arrays."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sweeps.errors import ConfigError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Fill = Literal["null", "last"]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How a curve is cut and binned for a score file."""

    #: So many bins up to the budget, or up to the last step of any run of the task.
    bins: int | None = None
    #: Environment frames per bin.
    binsize: int | None = None
    #: Leave out what lies beyond, in environment frames.
    budget: int | None = None
    #: What stands in a bin without an episode: null, or the last value before it.
    fill: Fill = "null"

    def __post_init__(self) -> None:
        if self.bins is not None and self.binsize is not None:
            raise ConfigError(
                f"bins={self.bins} and binsize={self.binsize} cannot both be set: the one follows from the other. "
                f"Leave one out."
            )
        for name, value in (("bins", self.bins), ("binsize", self.binsize), ("budget", self.budget)):
            if value is not None and value <= 0:
                raise ConfigError(f"{name} is {value!r}; expected a whole number above 0.")
        if self.fill not in ("null", "last"):
            raise ConfigError(f"fill is {self.fill!r}; expected 'null' or 'last'.")
        if self.fill == "last" and not self.is_binned:
            raise ConfigError("fill='last' fills empty bins; set bins or binsize with it.")

    @property
    def is_binned(self) -> bool:
        return self.bins is not None or self.binsize is not None

    def edges(self, last_step: int) -> Floats:
        """The bounds of the bins, shape [bins + 1].

        Args:
            last_step: The last step to cover where there is no budget.
        """
        limit = last_step if self.budget is None else self.budget
        if self.bins is not None:
            return np.arange(self.bins + 1, dtype=np.float64) * (limit / self.bins)
        assert self.binsize is not None
        return np.arange(max(math.ceil(limit / self.binsize), 1) + 1, dtype=np.float64) * self.binsize


def binned(steps: Ints, scores: Floats, edges: Floats, *, fill: Fill = "null") -> Floats:
    """The mean score in each bin, NaN where there is none, shape [bins].

    Bins are closed on the left, the last one on both sides; what lies beyond the last edge is left out. The x value
    of a bin is its right edge, `edges[1:]`.

    Args:
        steps: Environment frames, shape [episodes].
        scores: NaN counts as no score, shape [episodes].
        edges: Ascending, shape [bins + 1].
        fill: `last` carries the last mean forward into empty bins; those before the first score stay empty.
    """
    bins = len(edges) - 1
    good = np.isfinite(scores) & (steps >= edges[0]) & (steps <= edges[-1])
    if not good.all():
        steps, scores = steps[good], scores[good]
    index = np.minimum(_bin_index(steps, edges), bins - 1)
    counts = np.bincount(index, minlength=bins)
    sums = np.bincount(index, weights=scores, minlength=bins)
    means = np.divide(sums, counts, out=np.full(bins, np.nan), where=counts > 0)
    return filled(means) if fill == "last" else means


def _bin_index(steps: Ints, edges: Floats) -> Ints:
    """`numpy.digitize`, less 1; quicker where the steps ascend, as those of a run do."""
    if not (steps[1:] >= steps[:-1]).all():
        return np.digitize(steps, edges) - 1
    first = np.searchsorted(steps, edges, side="left")
    return np.repeat(np.arange(len(edges)), np.diff(first, append=len(steps)))


def filled(means: Floats) -> Floats:
    """`means` with the last value carried forward into every NaN behind it, shape [bins]."""
    index = np.where(np.isfinite(means), np.arange(len(means)), -1)
    latest = np.maximum.accumulate(index) if len(index) else index
    return np.where(latest >= 0, means[latest], np.nan)
