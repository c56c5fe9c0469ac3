"""Smoothing of curves."""

import numpy as np
import pytest

from aggregation.curves.smoothing import Smoothing
from sweeps.errors import ConfigError

NAN = np.nan


def test_moving_average_is_centred_and_shrinks_at_the_ends() -> None:
    """Nothing is shifted along the axis, and no value is made up beyond the ends."""
    smooth = Smoothing.parse("mean:3").of(np.array([[0.0, 3.0, 6.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))

    np.testing.assert_allclose(smooth, [[1.5, 3.0, 3.0, 3.0], [1.0, 1.0, 1.0, 1.0]])


def test_exponential_starts_at_the_first_value() -> None:
    """With weight 0.5: 4, (4/2 + 1) / 1.5, (4/4 + 1/2 + 0) / 1.75; not drawn towards 0."""
    smooth = Smoothing.parse("ema:0.5").of(np.array([[4.0, 1.0, 0.0]]))

    np.testing.assert_allclose(smooth, [[4.0, 2.0, 1.5 / 1.75]])


@pytest.mark.parametrize("text", ["none", "mean:5", "ema:0.9"])
def test_no_data_stays_no_data(text: str) -> None:
    """Neither before the start nor beyond the end of a run, and what is there is not drawn towards it."""
    table = np.array([[NAN, 2.0, 2.0, 2.0, NAN], [NAN] * 5])

    np.testing.assert_allclose(Smoothing.parse(text).of(table), table)


@pytest.mark.parametrize("text", ["none", "mean:5", "ema:0.9"])
def test_the_text_is_read_back(text: str) -> None:
    """What the command line takes is what is told."""
    assert str(Smoothing.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mean:4", "odd"),
        ("mean:0", "odd"),
        ("ema:1", "below 1"),
        ("ema:", "mean:N"),
        ("gauss:3", "mean:N"),
        ("", "none"),
    ],
)
def test_mistakes_are_told(text: str, told: str) -> None:
    """With what was expected."""
    with pytest.raises(ConfigError, match=told):
        Smoothing.parse(text)
