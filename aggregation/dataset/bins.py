"""The scores of a run in fine bins: small enough to hold those of every run, fine enough for any picture.

A bin is `[i * width, (i + 1) * width)` in environment frames, the width a power of two: the least one of which 512
reach the run's last score. So the bins of a shorter run fit into those of a longer one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: A run has at most as many bins, and more than half as many if it has as many frames.
MOST_BINS = 512


@dataclass(frozen=True, slots=True, eq=False)
class RunBins:
    """The scores of one run in bins of equal width. Arrays have shape [bins]; the last bin is not empty."""

    #: Environment frames per bin, a power of two.
    width: int
    #: Finite scores, int32.
    count: NDArray[np.int32]
    #: NaN where a bin is empty, as are `low` and `high`.
    mean: Floats
    low: Floats
    high: Floats
    #: Mean episode length, NaN where a bin has none; None where lengths were not asked for.
    length: Floats | None = None

    @property
    def steps(self) -> Floats:
        """The right edges of the bins, in environment frames, shape [bins]."""
        return np.arange(1, len(self.count) + 1, dtype=np.float64) * self.width


def bins_of(steps: Ints, scores: Floats, lengths: Floats | None = None) -> RunBins:
    """Bin the episodes of a run.

    Args:
        steps: Environment frames, ascending, shape [episodes].
        scores: NaN counts as no score, shape [episodes].
        lengths: Episode lengths, NaN where unknown, shape [episodes].
    """
    good = np.isfinite(scores)
    if not good.all():
        steps, scores = steps[good], scores[good]
        lengths = None if lengths is None else lengths[good]
    if not len(steps):
        nothing = np.empty(0)
        return RunBins(1, np.empty(0, np.int32), nothing, nothing, nothing, None if lengths is None else nothing)
    width = bin_width(int(steps[-1]))
    bins = int(steps[-1]) // width + 1
    edges = np.searchsorted(steps, np.arange(bins + 1, dtype=np.int64) * width)
    count = np.diff(edges).astype(np.int32)
    held = np.flatnonzero(count)
    first = edges[held]
    mean, low, high = (_spread(bins, held, reduce.reduceat(scores, first)) for reduce in _REDUCTIONS)
    mean /= np.where(count, count, 1)
    return RunBins(width, count, mean, low, high, None if lengths is None else _known_mean(lengths, edges, bins))


def bin_width(last_step: int) -> int:
    """The least power of two of which `MOST_BINS` reach the last step."""
    return 1 << (last_step // MOST_BINS).bit_length()


_REDUCTIONS: tuple[Any, ...] = (np.add, np.minimum, np.maximum)


def _spread(bins: int, held: Ints, values: Floats) -> Floats:
    whole = np.full(bins, np.nan)
    whole[held] = values
    return whole


def _known_mean(lengths: Floats, edges: Ints, bins: int) -> Floats:
    known = np.isfinite(lengths)
    if not known.any():
        return np.full(bins, np.nan)
    index = np.repeat(np.arange(bins), np.diff(edges))[known]
    number = np.bincount(index, minlength=bins)
    total = np.bincount(index, weights=lengths[known], minlength=bins)
    means: Floats = np.divide(total, number, out=np.full(bins, np.nan), where=number > 0)
    return means
