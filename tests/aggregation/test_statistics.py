"""Aggregates and their intervals: values worked out by hand, and properties that hold for any scores."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from aggregation.aggregates import iqm, mean, median, optimality_gap
from aggregation.statistics import (
    METRICS,
    Floats,
    Interval,
    LeaveOneOut,
    curve_intervals,
    difference_intervals,
    improvement_interval,
    intervals,
    leave_one_task_out,
    performance_profile,
    point,
    probability_of_improvement,
    profile_band,
)

# Three tasks of four runs. Task means 1, 2 and 6; sorted runs 0 0 0 1 1 2 3 3 4 4 6 12.
SCORES = [np.array([0.0, 0.0, 1.0, 3.0]), np.array([0.0, 1.0, 3.0, 4.0]), np.array([2.0, 4.0, 6.0, 12.0])]


def generator() -> np.random.Generator:
    return np.random.default_rng(7)


def test_aggregates_of_a_small_matrix_are_those_worked_out_by_hand() -> None:
    """The middle six of twelve runs are 1 1 2 3 3 4; capped at 1 the runs sum to 2 + 3 + 4."""
    assert mean(SCORES) == pytest.approx(3.0, abs=1e-12)
    assert median(SCORES) == pytest.approx(2.0, abs=1e-12)
    assert iqm(SCORES) == pytest.approx(14 / 6, abs=1e-12)
    assert optimality_gap(SCORES) == pytest.approx(1 - 9 / 12, abs=1e-12)
    assert optimality_gap(SCORES, gamma=4.0) == pytest.approx(4 - (4 + 8 + 14) / 12, abs=1e-12)


def test_a_quarter_is_rounded_down_to_whole_runs() -> None:
    """Of seven runs one is cut off at either end, of three none."""
    assert iqm([np.array([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, -100.0])]) == pytest.approx(3.0)
    assert iqm([np.array([1.0, 2.0, 9.0])]) == pytest.approx(4.0)


def test_missing_runs_are_left_out_and_tasks_still_weigh_the_same() -> None:
    """A task of one run counts as much as one of four."""
    ragged = [np.array([np.nan, 3.0, np.inf]), np.array([0.0, 1.0, 1.0, 2.0])]

    assert mean(ragged) == pytest.approx(2.0)
    assert optimality_gap(ragged) == pytest.approx(1 - (1 + 0.75) / 2)
    # In eighths of the weight: 0 1 1 2 and then 3 for four; a cut of one run in five takes 1.6 eighths off either end.
    assert iqm(ragged) == pytest.approx((0.4 * 1 + 1 * 1 + 1 * 2 + 2.4 * 3) / 4.8)


def test_a_task_without_any_score_is_refused() -> None:
    """Leaving it out is the caller's choice, and changes what the number means."""
    with pytest.raises(ValueError, match=r"of 2 tasks those at \[1\] have no score"):
        mean([np.array([1.0]), np.array([np.nan])])


def test_the_probability_of_improvement_counts_pairs() -> None:
    """Two of the four pairs are won and one ties; then all are lost."""
    x = [np.array([1.0, 3.0]), np.array([0.0])]
    y = [np.array([2.0, 1.0]), np.array([5.0, 6.0, np.nan])]

    assert probability_of_improvement(x, y) == pytest.approx((2.5 / 4 + 0) / 2)
    assert probability_of_improvement(y, x) == pytest.approx(1 - (2.5 / 4) / 2)


def test_a_profile_is_the_share_of_runs_strictly_above() -> None:
    """At a run's own score the run is not above."""
    assert performance_profile(SCORES, np.array([-1.0, 0.0, 1.0, 4.0, 12.0])).tolist() == pytest.approx(
        [1.0, 9 / 12, 7 / 12, 2 / 12, 0.0]
    )


def test_leaving_one_task_out_tells_the_range_and_its_tasks() -> None:
    """The mean of 1, 2 and 6 lies between 1.5 without the last and 4 without the first."""
    assert leave_one_task_out(SCORES, "mean") == LeaveOneOut(1.5, 4.0, 2, 0)
    assert leave_one_task_out(SCORES[:1], "mean") is None


def test_the_interval_of_two_runs_is_known() -> None:
    """Of two runs at 0 and 1 a draw has the mean 0, 1/2 or 1 in 1, 2 and 1 of 4 cases."""
    found = intervals([np.array([0.0, 1.0])], ["mean"], reps=4000, confidence=0.4, generator=generator())
    wide = intervals([np.array([0.0, 1.0])], ["mean"], reps=4000, confidence=0.6, generator=generator())

    assert found == {"mean": Interval(0.5, 0.5, 0.5)}
    assert wide == {"mean": Interval(0.5, 0.0, 1.0)}


@pytest.mark.parametrize("sizes", [[5, 5, 5, 5], [1, 5, 3, 4]], ids=["equal", "ragged"])
def test_fast_draws_are_those_of_the_definition(sizes: list[int]) -> None:
    """The bounds agree with a bootstrap that draws and aggregates one by one."""
    source = generator()
    scores = [source.lognormal(size=size) + place for place, size in enumerate(sizes)]
    slow = {metric: [] for metric in METRICS}
    for _ in range(4000):
        drawn = [source.choice(task, len(task)) for task in scores]
        for metric, values in slow.items():
            values.append(point(drawn, metric))
    fast = intervals(scores, reps=40_000, generator=generator())

    for metric, values in slow.items():
        low, high = np.quantile(values, [0.025, 0.975])
        error = 0.06 * (high - low)
        assert (fast[metric].low, fast[metric].high) == (pytest.approx(low, abs=error), pytest.approx(high, abs=error))


def test_bands_agree_with_the_intervals_of_their_points() -> None:
    """A curve of one constant shape is the aggregate at each point; a profile's band holds its profile."""
    curve = curve_intervals([np.stack([task, 2 * task], axis=1) for task in SCORES], "iqm", generator=generator())
    single = intervals(SCORES, ["iqm"], generator=generator())["iqm"]
    thresholds = np.linspace(-1, 13, 30)
    profile = profile_band(SCORES, thresholds, reps=2000, generator=generator())

    assert curve.point.tolist() == pytest.approx([single.point, 2 * single.point])
    assert curve.low.tolist() == pytest.approx([single.low, 2 * single.low])
    assert curve.high.tolist() == pytest.approx([single.high, 2 * single.high])
    assert profile.point.tolist() == performance_profile(SCORES, thresholds).tolist()
    assert ((profile.low <= profile.point + 1e-6) & (profile.point <= profile.high + 1e-6)).all()
    assert (profile.low[0], profile.high[0], profile.low[-1], profile.high[-1]) == (1, 1, 0, 0)


def test_a_curve_takes_runs_that_end_early() -> None:
    """Where a run has no score the others count; where a task has none there is no number."""
    first = np.array([[1.0, 1.0, 1.0], [3.0, np.nan, np.nan]])
    second = np.array([[1.0, 1.0, np.nan]])
    band = curve_intervals([first, second], "mean", reps=500, generator=generator())

    assert band.point.tolist() == pytest.approx([1.5, 1.0, np.nan], nan_ok=True)
    assert band.low.tolist() == pytest.approx([1.0, 1.0, np.nan], nan_ok=True)
    assert band.high.tolist() == pytest.approx([2.0, 1.0, np.nan], nan_ok=True)


def test_the_same_generator_gives_the_same_interval() -> None:
    """Whatever the number of chunks."""
    many = [np.arange(5.0)] * 100
    first = intervals(many, reps=9000, generator=generator())

    assert first == intervals(many, reps=9000, generator=generator())
    assert first != intervals(many, reps=9000, generator=np.random.default_rng(8))


def test_small_differences_of_large_scores_are_not_lost() -> None:
    """Single precision would make one number of all of them."""
    offset = 1e9
    near = intervals(SCORES, ["mean", "median", "iqm"], generator=generator())
    far = intervals([task + offset for task in SCORES], ["mean", "median", "iqm"], generator=generator())

    for metric, interval in near.items():
        assert far[metric].low - offset == pytest.approx(interval.low, abs=1e-4)
        assert far[metric].high - offset == pytest.approx(interval.high, abs=1e-4)


def test_an_outlier_that_is_trimmed_does_not_blur_the_rest() -> None:
    """With one run per task there is no spread, however far apart the runs lie."""
    scores = [np.array([value]) for value in (-1e12, 1.0, 2.0, 3.0, 1e12)]

    assert intervals(scores, ["iqm"], reps=100, generator=generator())["iqm"] == Interval(2.0, 2.0, 2.0)


def test_comparing_a_label_with_itself_is_a_toss_up() -> None:
    """The interval lies around one half, and that of a clear winner is a point."""
    same = improvement_interval(SCORES, SCORES, generator=generator())
    better = improvement_interval([task + 100 for task in SCORES], SCORES, generator=generator())

    assert same.point == 0.5
    assert same.low < 0.5 < same.high
    assert (better.point, better.low, better.high) == (1, pytest.approx(1), pytest.approx(1))


def test_the_interval_of_a_difference_is_wider_than_either_side() -> None:
    """Two sides of two runs at 0 and 1 differ by -1 to 1, in 1, 4, 6, 4 and 1 of 16 draws; tasks may be others."""
    sides = [np.array([0.0, 1.0])], [np.array([0.0, 1.0])]
    found = difference_intervals(*sides, ["mean"], reps=4000, confidence=0.8, generator=generator())
    narrow = difference_intervals(*sides, ["mean"], reps=4000, confidence=0.3, generator=generator())
    other = difference_intervals(SCORES, SCORES[:1], ["mean", "iqm"], reps=100, generator=generator())

    assert found == {"mean": Interval(0.0, -0.5, 0.5)}
    assert narrow == {"mean": Interval(0.0, 0.0, 0.0)}
    assert other["mean"].point == pytest.approx(3.0 - 1.0)


matrices = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(-1e3, 1e3, width=32)
)


@given(matrices, st.randoms(use_true_random=False))
def test_neither_the_order_of_tasks_nor_that_of_runs_matters(matrix: Floats, random: Random) -> None:
    """Every aggregate is symmetric in both."""
    scores = list(matrix)
    shuffled = [np.array(random.sample(task.tolist(), len(task))) for task in random.sample(scores, len(scores))]

    for metric in METRICS:
        assert point(shuffled, metric) == pytest.approx(point(scores, metric), abs=1e-9)


@given(matrices)
def test_repeating_every_run_changes_no_task_mean(matrix: Floats) -> None:
    """A ragged set whose tasks repeat their runs differently often has the aggregates of the plain one."""
    repeated = [np.tile(task, 1 + place % 3) for place, task in enumerate(matrix)]

    for metric in ("mean", "median", "optimality_gap"):
        assert point(repeated, metric) == pytest.approx(point(list(matrix), metric), abs=1e-9)


def test_the_capped_mean_caps_tasks_and_not_runs() -> None:
    """A run beyond 1 makes up for another of its task, and no task for another."""
    scores = [np.array([0.0, 1.8]), np.array([3.0, 5.0]), np.array([0.5])]

    assert point(scores, "capped_mean") == pytest.approx((0.9 + 1.0 + 0.5) / 3)
