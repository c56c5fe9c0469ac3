"""The arithmetic of the report's page, in the engine that runs it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_pages import CHROMIUM, chromium

from aggregation.curves.smoothing import Smoothing
from aggregation.report.script import joined

SOURCES = Path(__file__).parents[2] / "aggregation" / "report"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")

Evaluated = Callable[[str, str], Any]


@pytest.fixture(scope="module")
def evaluated() -> Iterator[Evaluated]:
    """The value of an expression beside the names of a module."""
    with chromium() as browser:
        tab = browser.new_page()

        def value(module: str, expression: str) -> Any:
            script = joined(module, lambda name: (SOURCES / name).read_text("utf-8"))
            return tab.evaluate(script.replace("\n})();\n", f"\nreturn {expression};\n}})()"))

        yield value


@pytest.mark.parametrize(
    ("choice", "smoothing"),
    [
        ("average5", Smoothing("mean", 5)),
        ("average15", Smoothing("mean", 15)),
        ("exponential6", Smoothing("ema", 0.6)),
        ("exponential9", Smoothing("ema", 0.9)),
    ],
)
def test_smoothing_is_that_of_the_pictures(evaluated: Evaluated, choice: str, smoothing: Smoothing) -> None:
    """Named alike, the page and `dreamsweep plot` smooth alike; gaps stay gaps."""
    values = np.random.default_rng(0).normal(size=40).round(3)
    values[[3, 4, 17]] = np.nan
    text = str([None if np.isnan(value) else value for value in values.tolist()]).replace("None", "null")

    found = evaluated("smoothing.js", f"SMOOTHINGS.{choice}.apply({text})")
    shown = np.array([np.nan if value is None else value for value in found], np.float64)
    np.testing.assert_allclose(shown, smoothing.of(values[None])[0], atol=1e-12)


def test_ticks_are_round_and_within(evaluated: Evaluated) -> None:
    """About as many as there is room for."""
    assert evaluated("axis.js", "linearTicks(0, 400000, 5)") == [0, 100000, 200000, 300000, 400000]
    assert evaluated("axis.js", "linearTicks(-0.3, 0.31, 4)") == [-0.2, 0, 0.2]
    assert evaluated("axis.js", "linearTicks(7, 7, 4)") == [7]
    assert evaluated("axis.js", "logTicks(15, 2500, 7)") == [20, 50, 100, 200, 500, 1000, 2000]
    assert evaluated("axis.js", "logTicks(0.5, 2e9, 5)") == [10, 1000, 100000, 10000000, 1000000000]
    for text in ("linearScale([3, 9], [50, 300])", "logScale([3, 9000], [300, 50])"):
        expression = f"(() => {{ const scale = {text}; return [3, 5, 9].map((x) => scale.invert(scale(x))); }})()"
        assert evaluated("axis.js", expression) == pytest.approx([3, 5, 9])


def test_numbers_are_as_long_as_they_say_something(evaluated: Evaluated) -> None:
    """Short at axes, four figures at most in tables."""
    assert evaluated("numbers.js", "[0, 250, 1500, 40e6, 2.5e9, 0.00002, -3].map(shortNumber)") == [
        "0", "250", "1.5k", "40M", "2.5B", "2.0e-5", "-3",
    ]  # fmt: skip
    assert evaluated("numbers.js", "[12345.6, 631.4, 45.23, -4, 0.51234, 0, null].map(scoreText)") == [
        "12,346", "631", "45.2", "−4.00", "0.512", "0", "–",
    ]  # fmt: skip


def test_the_nearest_point_is_found(evaluated: Evaluated) -> None:
    """At both ends too, and where there is but one."""
    expression = "[[0, 1], [14, 1], [16, 1], [99, 1]].map(([x]) => nearest([10, 20, 30], x)).concat(nearest([5], 7))"
    assert evaluated("line_chart.js", expression) == [0, 0, 1, 2, 0]


def test_bands_are_around_the_line(evaluated: Evaluated) -> None:
    """A standard error is the deviation over the root of one seed less; a single seed has none."""
    series = (
        "{x: {frames: [1, 2]}, label: 0, count: [4, 1], mean: [10, 20], std: [6, 0], least: [1, 20], most: [17, 20]}"
    )
    choose = "{get: (name) => ({axis: 'frames', centre: 'mean', band: '%s', smoothing: 'none'})[name]}"

    def edges(band: str) -> tuple[Any, Any]:
        line = evaluated("series.js", f"lineOf({series}, {choose % band})")
        return line["lows"], line["highs"]

    assert edges("std") == ([4, None], [16, None])
    assert edges("sem") == ([10 - 6 / 3**0.5, None], [10 + 6 / 3**0.5, None])
    assert edges("range") == ([1, 20], [17, 20])
    assert edges("bootstrap") == (None, None)
    assert evaluated("series.js", "positions({x: {frames: {width: 10, end: 25, count: 3}}}, 'frames')") == [10, 20, 25]


def test_ratios_stand_as_in_configs(evaluated: Evaluated) -> None:
    """A ratio is a name as well: 1024 is not 1.024k."""
    assert evaluated("numbers.js", "[1024, 0.5, 32, 1048576].map(ratioText)") == ["1024", "0.5", "32", "1048576"]
