"""Student's t beside published table values and closed forms."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.student_t import quantile, tail


@pytest.mark.parametrize(
    ("probability", "freedom", "expected"),
    [(0.975, 1, 12.706), (0.975, 4, 2.776), (0.95, 8, 1.860), (0.995, 10, 3.169), (0.9995, 30, 3.646)],
)
def test_quantiles_are_those_of_the_tables(probability: float, freedom: float, expected: float) -> None:
    """To the three digits that tables print."""
    assert quantile(probability, freedom) == pytest.approx(expected, abs=6e-4)
    assert quantile(1 - probability, freedom) == pytest.approx(-expected, abs=6e-4)


@given(st.floats(-50, 50))
def test_one_and_two_degrees_of_freedom_have_closed_forms(t: float) -> None:
    """With one it is Cauchy's distribution."""
    assert tail(t, 1) == pytest.approx(0.5 - math.atan(t) / math.pi, abs=1e-13)
    assert tail(t, 2) == pytest.approx(0.5 - t / (2 * math.sqrt(2 + t * t)), abs=1e-13)


@given(st.floats(0.001, 0.999), st.floats(0.5, 1e5))
def test_a_quantile_cuts_off_its_probability(probability: float, freedom: float) -> None:
    """Both functions are each other's inverse."""
    assert 1 - tail(quantile(probability, freedom), freedom) == pytest.approx(probability, abs=1e-9)


def test_with_many_degrees_of_freedom_it_is_normal() -> None:
    """Infinite values have all or nothing above them."""
    assert quantile(0.975, 1e7) == pytest.approx(1.959964, abs=1e-5)
    assert (tail(math.inf, 3), tail(-math.inf, 3)) == (0.0, 1.0)
