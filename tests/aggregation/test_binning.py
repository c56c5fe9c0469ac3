"""Bins as DreamerV3's plot.py has them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.dataset.binning import View, binned, filled
from sweeps.errors import ConfigError

#: Bins of random runs by danijar/dreamerv3's plot.py: `bin_runs` on the steps and scores that the test draws.
GOLDEN: list[dict[str, Any]] = [
    {
        "seed": 0,
        "bins": 7,
        "binsize": None,
        "xs": [
            171.28571428571428,
            342.57142857142856,
            513.8571428571429,
            685.1428571428571,
            856.4285714285713,
            1027.7142857142858,
            1199.0,
        ],
        "ys": [
            10.613411510039061,
            11.943814902425459,
            13.96006263432529,
            9.177765110352993,
            10.973658866573995,
            10.257240402023484,
            11.802464681182755,
        ],
    },
    {
        "seed": 1,
        "bins": 30,
        "binsize": None,
        "xs": [
            39.5,
            79.0,
            118.5,
            158.0,
            197.5,
            237.0,
            276.5,
            316.0,
            355.5,
            395.0,
            434.5,
            474.0,
            513.5,
            553.0,
            592.5,
            632.0,
            671.5,
            711.0,
            750.5,
            790.0,
            829.5,
            869.0,
            908.5,
            948.0,
            987.5,
            1027.0,
            1066.5,
            1106.0,
            1145.5,
            1185.0,
        ],
        "ys": [
            14.988136049590869,
            4.4398961865385935,
            13.853115994278633,
            13.315316861881314,
            4.594796143642206,
            10.837323721113705,
            6.99739228632735,
            7.458011743029985,
            9.50865016073891,
            10.273157097495563,
            14.455834771411645,
            11.604241522832808,
            9.78355514098783,
            10.944301499552324,
            4.6410629156127925,
            9.164694232765044,
            10.270511393857703,
            6.9720502784304585,
            9.332087289918206,
            9.500782355469099,
            12.317800307913132,
            9.853573109855063,
            12.873323967464273,
            5.432415040566298,
            8.610402705693787,
            13.876619110237868,
            6.406959039855167,
            9.221564891210107,
            10.098804128773395,
            11.111311893022275,
        ],
    },
    {
        "seed": 2,
        "bins": None,
        "binsize": 100,
        "xs": [100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0, 900.0, 1000.0, 1100.0, 1200.0, 1300.0],
        "ys": [
            12.981519676350146,
            9.431163070779675,
            10.251043920863417,
            11.275847413716608,
            11.038294296390314,
            12.245449295691492,
            9.198772974055297,
            6.818447751991175,
            11.02845158771541,
            9.379210123433646,
            10.823642353387868,
            9.172752109229037,
            9.443453766445032,
        ],
    },
    {
        "seed": 3,
        "bins": None,
        "binsize": 137,
        "xs": [137.0, 274.0, 411.0, 548.0, 685.0, 822.0, 959.0, 1096.0, 1233.0],
        "ys": [
            8.727262542367143,
            8.790131716341069,
            12.183518194445522,
            8.265929307143542,
            6.055796613105476,
            10.370985712294678,
            8.149125676050526,
            11.522242497091696,
            9.77422785034571,
        ],
    },
]


def test_bins_are_closed_on_the_left_and_the_last_on_both_sides() -> None:
    """A score on an edge belongs to the bin behind it, and on the last edge to the last bin."""
    steps = np.array([0, 9, 10, 20, 29, 30, 31])
    scores = np.array([1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 1000.0])

    assert binned(steps, scores, np.array([0.0, 10, 20, 30])).tolist() == [2.0, 5.0, 9.0]


def test_empty_bins_are_nan_or_carry_the_last_value() -> None:
    """Bins before the first score stay empty."""
    steps, scores = np.array([15, 35]), np.array([1.0, np.nan])
    edges = np.arange(0.0, 60, 10)

    np.testing.assert_array_equal(binned(steps, scores, edges), [np.nan, 1, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(binned(steps, scores, edges, fill="last"), [np.nan, 1, 1, 1, 1])
    assert filled(np.array([])).tolist() == []


@pytest.mark.parametrize(
    ("view", "last_step", "want"),
    [
        (View(bins=4), 1000, [0, 250, 500, 750, 1000]),
        (View(bins=2, budget=500), 1000, [0, 250, 500]),
        (View(binsize=300), 1000, [0, 300, 600, 900, 1200]),
        (View(binsize=500), 1000, [0, 500, 1000]),
        (View(binsize=300, budget=600), 1000, [0, 300, 600]),
        (View(binsize=300), 0, [0, 300]),
    ],
)
def test_edges_cover_the_budget_or_the_last_step(view: View, last_step: int, want: list[float]) -> None:
    """A count of bins divides it; a size of bins runs to its end or a little beyond."""
    assert view.edges(last_step).tolist() == want


@pytest.mark.parametrize(
    "options",
    [{"bins": 3, "binsize": 4}, {"bins": 0}, {"budget": -1}, {"fill": "zero", "bins": 3}, {"fill": "last"}],
)
def test_view_that_cannot_be_is_an_error(options: dict[str, object]) -> None:
    """Bins and their size follow from each other; counts are above zero."""
    with pytest.raises(ConfigError):
        View(**options)  # type: ignore[arg-type]


def test_curves_equal_those_of_plot_py() -> None:
    """Golden values computed with the official plot.py on the same random runs."""
    for row in GOLDEN:
        rng = np.random.default_rng(row["seed"])
        steps = np.cumsum(rng.integers(1, 40, 60))
        scores = rng.normal(10, 5, 60)
        view = View(bins=row["bins"], binsize=row["binsize"])

        edges = view.edges(int(steps[-1]))
        assert edges[1:].tolist() == pytest.approx(row["xs"], rel=1e-12)
        assert binned(steps, scores, edges).tolist() == pytest.approx(row["ys"], rel=1e-12, nan_ok=True)


@given(st.lists(st.integers(0, 40), max_size=30), st.booleans())
def test_quick_way_through_ascending_steps_is_digitize(steps: list[int], ascends: bool) -> None:
    """Each step falls into the bin that `numpy.digitize` says, whatever the order."""
    edges = np.arange(5) * 10.0
    given_steps = np.array(sorted(steps) if ascends else steps, np.int64)

    means = binned(given_steps, given_steps.astype(np.float64), edges)
    index = np.minimum(np.digitize(given_steps, edges) - 1, 3)
    want = [given_steps[(index == each)].mean() if (index == each).any() else np.nan for each in range(4)]
    np.testing.assert_allclose(means, want, rtol=1e-12)
