"""The scores of a run in fine bins: small enough to hold those of every run, fine enough for any picture.

A bin is `[i * width, (i + 1) * width)` in environment frames, the width a power of two. The width doubles, and bins
merge in pairs, as soon as a run outgrows 512 of them: what was binned along the way equals what is binned at once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: A run has at most as many bins.
MOST_BINS = 512


@dataclass(frozen=True, slots=True)
class RunBins:
    """The scores of one run in bins of equal width. Arrays have shape [bins]; the last bin is not empty."""

    #: Environment frames per bin, a power of two.
    width: int
    #: Finite scores.
    count: Ints
    #: NaN where a bin is empty, as are `low` and `high`.
    mean: Floats
    low: Floats
    high: Floats
    #: Mean episode length; NaN where no episode of a bin has one.
    length: Floats

    @property
    def steps(self) -> Floats:
        """The right edges, in environment frames, shape [bins]: as the xs of a score file."""
        return np.arange(1, len(self.count) + 1, dtype=np.float64) * self.width


def bins_of(steps: Ints, scores: Floats, lengths: Floats | None = None) -> RunBins:
    """Bin the episodes of a run.

    Args:
        steps: Environment frames, ascending, shape [episodes].
        scores: NaN counts as no score, shape [episodes].
        lengths: Episode lengths, NaN where unknown, shape [episodes]; None where none is known.
    """
    good = np.isfinite(scores)
    if not good.all():
        steps, scores = steps[good], scores[good]
        lengths = None if lengths is None else lengths[good]
    width = bin_width(int(steps[-1]) if len(steps) else 0)
    bins = int(steps[-1]) // width + 1 if len(steps) else 0
    index = steps // width
    count = np.bincount(index, minlength=bins)
    empty = np.full(bins, np.nan)
    held = np.flatnonzero(count)
    mean, low, high, length = empty, empty.copy(), empty.copy(), empty.copy()
    if len(held):
        first = np.searchsorted(index, held)
        mean[held] = np.bincount(index, weights=scores, minlength=bins)[held] / count[held]
        low[held] = np.minimum.reduceat(scores, first)
        high[held] = np.maximum.reduceat(scores, first)
    if lengths is not None:
        known = np.isfinite(lengths)
        number = np.bincount(index[known], minlength=bins)
        total = np.bincount(index[known], weights=lengths[known], minlength=bins)
        np.divide(total, number, out=length, where=number > 0)
    return RunBins(width, count, mean, low, high, length)


def bin_width(last_step: int) -> int:
    """The least power of two of which at most `MOST_BINS` reach the last step."""
    return 1 << max((last_step // MOST_BINS).bit_length(), 0)
