"""Lines and bands over seeds and over tasks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from aggregation.curves.curve_bands import aggregate, quantile, summary
from aggregation.curves.curve_view import CurveView
from sweeps.errors import ConfigError, UnknownNameError

NAN = np.nan
TABLE = np.array([[1.0, NAN, 1.0], [3.0, 2.0, NAN], [8.0, 4.0, NAN]])

tables = npst.arrays(
    np.float64,
    st.tuples(st.integers(1, 9), st.integers(1, 6)),
    elements=st.one_of(st.floats(-1e6, 1e6), st.just(NAN)),
)


@pytest.mark.parametrize(("centre", "expected"), [("mean", [4, 3, 1]), ("median", [3, 3, 1]), ("iqm", [4, 3, 1])])
def test_centre_is_over_the_seeds_with_data(centre: str, expected: list[float]) -> None:
    """Three, two and one seed; of fewer than four the interquartile mean leaves none out."""
    shown = summary(TABLE, CurveView(centre=centre, band="none"))

    np.testing.assert_allclose(shown.centre, expected)
    assert shown.count.tolist() == [3, 2, 1]
    assert np.isnan(shown.low).all()


def test_interquartile_mean_leaves_out_a_quarter_at_either_end() -> None:
    """Of 0, 1, 2, 100 the middle two count."""
    shown = summary(np.array([[100.0], [0.0], [2.0], [1.0]]), CurveView(centre="iqm"))

    assert shown.centre.tolist() == [1.5]


@pytest.mark.parametrize(
    ("band", "low", "high"),
    [
        ("std", [4 - np.sqrt(26 / 3), 2, 1], [4 + np.sqrt(26 / 3), 4, 1]),
        ("sem", [4 - np.sqrt(26 / 2 / 3), 2, NAN], [4 + np.sqrt(26 / 2 / 3), 4, NAN]),
        ("quantiles", [2, 2.5, 1], [5.5, 3.5, 1]),
        ("range", [1, 2, 1], [8, 4, 1]),
    ],
)
def test_bands(band: str, low: list[float], high: list[float]) -> None:
    """Computed by hand; the standard error of one seed is not known."""
    shown = summary(TABLE, CurveView(band=band))

    np.testing.assert_allclose(shown.low, low)
    np.testing.assert_allclose(shown.high, high)


@given(tables, st.floats(0, 1))
def test_quantiles_are_those_of_numpy(table: np.ndarray, level: float) -> None:
    """With any number of missing runs."""
    got = quantile(np.sort(table, axis=0), np.isfinite(table).sum(axis=0), level)
    some = np.isfinite(table).any(axis=0)

    np.testing.assert_allclose(got[some], np.nanquantile(table[:, some], level, axis=0), rtol=1e-9, atol=1e-6)
    assert np.isnan(got[~some]).all()


@given(tables, st.sampled_from(["mean", "median", "iqm"]))
def test_bootstrap_holds_the_centre_and_stays_in_the_range(table: np.ndarray, centre: str) -> None:
    """Whatever is missing; and the same table gives the same band."""
    view = CurveView(centre=centre, band="bootstrap", reps=50)
    shown, again = summary(table, view), summary(table.copy(), view)
    some = np.isfinite(table).any(axis=0)
    slack = 1e-6 * np.nanmax(np.abs(table), initial=0.0, where=np.isfinite(table))

    assert (np.nanmin(table[:, some], axis=0) <= shown.low[some] + slack).all()
    assert (shown.low[some] <= shown.high[some]).all()
    assert (shown.high[some] <= np.nanmax(table[:, some], axis=0) + slack).all()
    np.testing.assert_array_equal(shown.low, again.low)


def test_bootstrap_of_the_median_is_that_of_drawn_seeds() -> None:
    """With five seeds 1 to 5 a draw's median is 1 with probability 0.058, so that the 80 % interval is 2 to 4."""
    table = np.arange(1.0, 6.0)[:, None]
    wide = summary(table, CurveView(centre="median", band="bootstrap", reps=20_000, confidence=0.95))
    narrow = summary(table, CurveView(centre="median", band="bootstrap", reps=20_000, confidence=0.8))

    assert (wide.low[0], wide.high[0], narrow.low[0], narrow.high[0]) == (1, 5, 2, 4)


@pytest.mark.parametrize(("centre", "expected"), [("mean", 11.0), ("median", 2.0), ("iqm", 6.5)])
def test_an_aggregate_weighs_tasks_alike(centre: str, expected: float) -> None:
    """Tasks of one, two and one run; where a task has no data there is no aggregate."""
    tasks = [np.array([[1.0, 1.0]]), np.array([[1.0, 1.0], [3.0, 1.0]]), np.array([[30.0, NAN]])]
    for band in ("std", "bootstrap"):
        shown = aggregate(tasks, CurveView(centre=centre, aggregate_band=band, reps=50))

        np.testing.assert_allclose(shown.centre, [expected, NAN])
        assert shown.count.tolist() == [4, 3]
        assert np.isnan(shown.high[1])


def test_the_spread_of_an_aggregate_is_over_tasks() -> None:
    """From the lowest task to the highest."""
    tasks = [np.array([[0.0], [2.0]]), np.array([[5.0]])]
    shown = aggregate(tasks, CurveView(aggregate_band="range"))

    assert (shown.low[0], shown.centre[0], shown.high[0]) == (1, 3, 5)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"centre": "mode"}, UnknownNameError),
        ({"band": "box"}, UnknownNameError),
        ({"aggregate_band": "box"}, UnknownNameError),
        ({"axis": "epochs"}, UnknownNameError),
        ({"quantiles": (0.5, 0.5)}, ConfigError),
        ({"points": 0}, ConfigError),
        ({"confidence": 95}, ConfigError),
    ],
)
def test_mistakes_in_a_view_are_told(options: dict[str, object], error: type[Exception]) -> None:
    """Before anything is read."""
    with pytest.raises(error):
        CurveView(**options)
