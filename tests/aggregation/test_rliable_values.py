"""Values that rliable 1.2.0 gives for one matrix, so that every test run stands beside it.

Made by `.venv-oracle/bin/python tests/aggregation/oracle_rliable.py --golden`; `make oracle` compares at large.
"""

import numpy as np
import pytest

from aggregation.statistics import performance_profile, point, probability_of_improvement

RUNS, TASKS = np.arange(5)[:, None], np.arange(26)[None, :]
SCORES = ((7919 * RUNS + 104729 * TASKS + RUNS * TASKS * 31) % 1000) / 400 - 0.3
AGGREGATES = {
    "mean": 0.9175961538461539,
    "median": 0.92375,
    "iqm": 0.9225378787878786,
    "optimality_gap": 0.3522884615384616,
}
PROFILE = [0.8692307692307693, 0.6692307692307692, 0.46153846153846156, 0.046153846153846156]


@pytest.mark.parametrize("metric", AGGREGATES)
def test_aggregates_are_rliables(metric: str) -> None:
    """To 1e-12, on Atari100k's 26 tasks of 5 runs."""
    assert point(list(SCORES.T), metric) == pytest.approx(AGGREGATES[metric], abs=1e-12)


def test_the_profile_is_rliables() -> None:
    """The share of runs above each threshold."""
    found = performance_profile(list(SCORES.T), np.array([0.0, 0.5, 1.0, 2.0]))

    assert found.tolist() == pytest.approx(PROFILE, abs=1e-12)


def test_the_probability_of_improvement_is_rliables() -> None:
    """Of five runs over four, with other tasks' scores."""
    other = SCORES[::-1, ::-1][:4] + 0.1

    assert probability_of_improvement(list(SCORES.T), list(other.T)) == pytest.approx(0.4519230769230769, abs=1e-12)
