"""Fewer points of a line."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from aggregation.curves.downsampling import MIN_POINTS, kept_points

values = npst.arrays(
    np.float64, st.integers(0, 400), elements=st.one_of(st.integers(-3, 3).map(float), st.just(np.nan), st.floats())
)


@given(values, st.integers(MIN_POINTS, 120))
def test_extremes_order_and_number(line: np.ndarray, points: int) -> None:
    """Of any line at most N points stay, in order, among them both ends and the first lowest and highest value."""
    kept = kept_points(line, points)

    assert len(kept) <= points
    assert (np.diff(kept) > 0).all()
    assert (kept >= 0).all()
    assert (kept < len(line)).all()
    good = np.flatnonzero(np.isfinite(line))
    if len(good):
        assert {good[0], good[-1]} <= set(kept.tolist())
        finite = np.where(np.isfinite(line), line, np.nan)
        assert {int(np.nanargmin(finite)), int(np.nanargmax(finite))} <= set(kept.tolist())
    np.testing.assert_array_equal(kept, kept_points(line.copy(), points))


@given(values, st.integers(MIN_POINTS, 120))
def test_twice_is_once(line: np.ndarray, points: int) -> None:
    """What has few enough points is left alone."""
    fewer = line[kept_points(line, points)]

    np.testing.assert_array_equal(kept_points(fewer, points), np.arange(len(fewer)))


def test_every_stretch_keeps_its_peak() -> None:
    """Ten spikes of one point in a thousand are all there in a hundred, and random sampling would lose nine."""
    line = np.zeros(1000)
    line[50::100] = np.arange(1, 11)

    kept = kept_points(line, 100)

    assert set(range(50, 1000, 100)) <= set(kept.tolist())


def test_a_long_gap_stays_a_gap() -> None:
    """Where a run has no data for a while, the line is not drawn across."""
    line = np.ones(100)
    line[30:70] = np.nan

    kept = kept_points(line, 20)

    assert np.isnan(line[kept]).any()
