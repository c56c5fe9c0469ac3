"""The picture of a comparison: what it holds, and the files it makes."""

from pathlib import Path

import numpy as np
import pytest

from aggregation.pictures.forest_plot import draw_comparison, plot_comparison
from aggregation.verdicts.comparison import Comparison, TaskScores, compare
from sweeps.errors import LogError


def comparison() -> Comparison:
    source = np.random.default_rng(0)
    tasks = [
        TaskScores(suite="dmc", task="walk$1_2$", a=source.normal(100, 2, 5), b=source.normal(50, 2, 5)),
        TaskScores(suite="dmc", task="run", a=np.array([10.0]), b=np.array([11.0])),
        TaskScores(suite="dmc", task="gone", a=np.array([np.nan]), b=np.array([11.0])),
        TaskScores(suite="dmc", task="zero", a=np.zeros(3), b=np.zeros(3)),
    ]
    return compare(tasks, reps=200, generator=source)


def test_each_task_with_a_difference_has_a_line() -> None:
    """One without runs on a side, and one whose scores are all zero, have no place on an axis in percent."""
    (axis,) = draw_comparison(comparison(), "new", "old").axes

    assert [label.get_text() for label in axis.get_yticklabels()] == ["walk$1_2$", "run"]
    assert axis.get_title(loc="left") == "A − B, with A: new, B: old"
    markers = [line.get_xdata()[0] for line in axis.lines if len(line.get_xdata()) == 1]
    assert markers == [pytest.approx(50, abs=3), pytest.approx(-100 / 11)]


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_comparison_makes_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    """In a folder that is made for it."""
    first, second = tmp_path / "new" / f"first.{suffix}", tmp_path / f"second.{suffix}"
    plot_comparison(comparison(), "new", "old", first)
    plot_comparison(comparison(), "new", "old", second)

    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == [first.name, second.name]


def test_a_name_without_a_format_is_a_sentence(tmp_path: Path) -> None:
    """Nothing is written."""
    with pytest.raises(LogError, match="names no format"):
        plot_comparison(comparison(), "new", "old", tmp_path / "picture.gif")
