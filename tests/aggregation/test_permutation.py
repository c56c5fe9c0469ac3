"""Sums by lot beside all sums there are."""

from itertools import combinations

import numpy as np
import pytest

from aggregation.permutation import choices, midranks, p_value, subset_sums


@pytest.mark.parametrize("taken", [0, 1, 2, 3, 4, 5])
def test_every_choice_comes_equally_often(taken: int) -> None:
    """Powers of two tell from the sum which values were taken."""
    values = 2.0 ** np.arange(5)
    drawn = subset_sums(values, taken, 60_000, np.random.default_rng(0))
    sums, counts = np.unique(drawn, return_counts=True)

    expected = sorted(sum(choice) for choice in combinations(values.tolist(), taken))
    assert sums.tolist() == expected
    assert counts.tolist() == pytest.approx([60_000 / len(expected)] * len(expected), rel=0.08)


def test_the_least_p_value_is_one_over_the_choices() -> None:
    """Three runs of which one is taken, and four of which two are."""
    assert choices([(1, 3), (2, 4)]) == 18
    assert choices([]) == 1


def test_what_was_observed_counts_as_one_of_the_draws() -> None:
    """So that no p-value is ever zero; equal sums count as equal whatever their rounding."""
    assert p_value(3.0, np.array([1.0, 2.0, 2.5])) == 0.25
    assert p_value(0.3, np.array([0.1 + 0.2, 0.0, 0.3 - 1e-17])) == 0.75


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    """Ranks 2 and 3 are shared, as are 4 to 6."""
    assert midranks(np.array([7.0, 1.0, 7.0, 3.0, 3.0, 7.0])).tolist() == [5.0, 1.0, 5.0, 2.5, 2.5, 5.0]
