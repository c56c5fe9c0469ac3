"""Comparing two sides: known p-values, corrections by hand, and the level and the power that are promised."""

import numpy as np
import pytest

from aggregation.verdicts.comparison import (
    Comparison,
    Floats,
    TaskScores,
    compare,
    holm,
    improvement_p,
    smallest_improvement,
    welch_p,
)


def generator() -> np.random.Generator:
    return np.random.default_rng(3)


def task(name: str, a: Floats | list[float], b: Floats | list[float]) -> TaskScores:
    return TaskScores(suite="dmc", task=name, a=np.array(a, float), b=np.array(b, float))


def test_welch_is_what_others_compute() -> None:
    """As scipy.stats.ttest_ind(a, b, equal_var=False) has it."""
    a = np.array([27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4])
    b = np.array([27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.5, 24.0])

    assert welch_p(a, b) == pytest.approx(0.008551778311418774, abs=1e-12)
    assert welch_p(b, a) == welch_p(a, b)


def test_two_runs_that_lie_close_are_not_certain_beside_ten() -> None:
    """Welch's test finds something in half of all comparisons of equals over 24 tasks with two runs and ten."""
    source = generator()
    found = [
        min(holm([welch_p(source.normal(0, 1, 2), source.normal(0, 1, 10)) for _ in range(24)]), key=lambda p: p or 0)
        for _ in range(150)
    ]

    assert sum((p or 0) <= 0.05 for p in found) < 16


def test_runs_without_spread_have_no_t() -> None:
    """Two against two that never vary are still only one of six choices, to either side."""
    assert welch_p(np.array([1.0, 1.0]), np.array([2.0, 2.0])) == pytest.approx(2 / 6)
    assert welch_p(np.array([1.0, 1.0]), np.array([1.0, 1.0, 1.0])) == 1.0
    assert welch_p(np.array([1.0]), np.array([1.0, 2.0])) is None


def test_holm_multiplies_less_from_step_to_step_and_never_descends() -> None:
    """0.01 × 3, 0.02 × 2, and 0.021 × 1, which may not fall below the one before; tasks without a test do not count."""
    assert holm([0.021, None, 0.01, 0.02]) == [pytest.approx(0.04), None, pytest.approx(0.03), pytest.approx(0.04)]
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_one_run_each_is_a_sign_test() -> None:
    """Six tasks, each won by A: two of the 64 ways are as far from even."""
    pairs = [(np.array([2.0]), np.array([1.0]))] * 6

    assert improvement_p(pairs, reps=40_000, generator=generator()) == pytest.approx(2 / 64, rel=0.1)


def test_a_clear_winner_is_found_and_named() -> None:
    """Task by task and over all; the other way round it is the loser."""
    source = generator()
    tasks = [task(f"t{place}", source.normal(10, 0.5, 5), source.normal(5, 0.5, 5)) for place in range(4)]
    found = compare(tasks, generator=generator())
    turned = compare([task(each.task, each.b, each.a) for each in tasks], generator=generator())

    assert [each.verdict for each in found.tasks] == ["better"] * 4
    assert found.verdict == "better"
    assert (turned.verdict, turned.p) == ("worse", pytest.approx(found.p, abs=1e-3))
    assert found.improvement is not None
    assert found.improvement.point == 1.0
    assert all((each.low or 0) < 5 < (each.high or 0) for each in found.tasks)


def test_missing_runs_are_counted_and_do_not_count() -> None:
    """A task with nothing on one side is shown and left out; one with a single run has no test of its own."""
    found = compare(
        [
            task("gone", [np.nan, np.nan], [1, 2]),
            task("single", [3, np.nan], [1, 2]),
            task("both", [5, 6, 7], [1, 2, 2.5]),
        ],
        generator=generator(),
    )

    assert [(each.a_runs, each.a_planned, each.b_runs) for each in found.tasks] == [(0, 2, 2), (1, 2, 2), (3, 3, 3)]
    assert [each.verdict for each in found.tasks] == ["not tested", "not tested", "better"]
    assert (found.tasks[0].difference, found.tasks[1].difference) == (None, 1.5)
    assert found.compared == 2


def test_nothing_in_common_is_told_and_no_error() -> None:
    """There is no number then."""
    found = compare([task("a", [1.0], [np.nan])], generator=generator())

    assert (found.compared, found.improvement, found.p, found.verdict) == (0, None, None, "not tested")


def test_a_grid_too_small_to_see_anything_says_so() -> None:
    """Two against two have six choices: no p-value below 1/3."""
    assert smallest_improvement([(2, 2)], alpha=0.05, power=0.8) is None
    found = compare([task("only", [1, 2], [3, 4])], generator=generator())
    assert (found.smallest_improvement, found.smallest_change, found.verdict) == (None, None, "no difference seen")


def null_comparison(source: np.random.Generator, shift: float = 0.0) -> Comparison:
    """Six tasks of five against five runs, whose scores are skewed and of very different spread."""
    spread = source.uniform(0.05, 0.6, 6)
    tasks = [
        task(
            f"t{place}", 100 * (1 + shift) * np.exp(source.normal(0, each, 5)), 100 * np.exp(source.normal(0, each, 5))
        )
        for place, each in enumerate(spread)
    ]
    return compare(tasks, reps=500, generator=source)


def test_equal_sides_differ_no_oftener_than_alpha() -> None:
    """Of 400 comparisons at 5 % fewer than 32 may find something: more is likely once in 1,000."""
    source = generator()
    found = [null_comparison(source) for _ in range(400)]

    assert sum(each.verdict != "no difference seen" for each in found) < 33
    assert sum(any(one.verdict != "no difference seen" for one in each.tasks) for each in found) < 33


def test_the_smallest_difference_told_is_seen_as_often_as_promised() -> None:
    """A shift of the median of what the grid promises is found in about 80 of 100 comparisons."""
    source = generator()
    smallest = [null_comparison(source).smallest_change for _ in range(30)]
    shift = float(np.median([each for each in smallest if each is not None]))
    found = [null_comparison(source, shift).verdict == "better" for _ in range(250)]

    assert 0.68 < np.mean(found) < 0.92


def test_the_smallest_difference_of_a_task_is_seen_as_often_as_promised() -> None:
    """With one task nothing is corrected: t-test, five against five, unit spread."""
    source = generator()
    smallest = [
        compare([task("t", source.normal(0, 1, 5), source.normal(0, 1, 5))], reps=10, generator=source)
        .tasks[0]
        .smallest
        for _ in range(200)
    ]
    shift = float(np.sqrt(np.mean([(each or 0) ** 2 for each in smallest])))
    ps = [welch_p(source.normal(shift, 1, 5), source.normal(0, 1, 5)) for _ in range(600)]

    assert 0.72 < np.mean([p is not None and p <= 0.05 for p in ps]) < 0.9
