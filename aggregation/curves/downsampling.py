"""Fewer points of a line that look the same: the lowest and the highest of every stretch stay. Pure arrays."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

#: First, lowest, highest and last.
_PER_STRETCH = 4
MIN_POINTS = _PER_STRETCH


def kept_points(values: Floats, points: int) -> Indices:
    """Which points to draw: at most so many, ascending, always the same for the same values.

    The line is cut into stretches of nearly equal numbers of points, and of each the first, the lowest, the highest
    and the last stay (the M4 aggregation; Jugel et al., VLDB 2014). So no peak is lost, and the lowest and the
    highest value of all are among those kept. Of equal values the first stays. NaN is no value: a point without one
    stays only as the first or last of a stretch that has no value at all, so that a long gap
    stays a gap.

    Args:
        values: In the order of the line, shape [n].
        points: At most so many, 4 or more.
    """
    assert points >= MIN_POINTS, points
    if len(values) <= points:
        return np.arange(len(values))
    stretches = points // _PER_STRETCH
    bounds = np.arange(stretches + 1) * len(values) // stretches
    starts, good = bounds[:-1], np.isfinite(values)
    order = np.arange(len(values))
    stretch = np.repeat(np.arange(stretches), np.diff(bounds))
    lowest = np.minimum.reduceat(np.where(good, values, np.inf), starts)
    highest = np.maximum.reduceat(np.where(good, values, -np.inf), starts)
    is_empty = ~np.logical_or.reduceat(good, starts)
    counted = good | is_empty[stretch]
    first = np.minimum.reduceat(np.where(counted, order, len(values)), starts)
    last = np.maximum.reduceat(np.where(counted, order, -1), starts)
    kept = [first, last]
    for extreme in (lowest, highest):
        places = np.flatnonzero(values == extreme[stretch])
        kept.append(places[np.unique(stretch[places], return_index=True)[1]])
    return np.unique(np.concatenate(kept))
