"""The picture of a score table."""

from pathlib import Path

import pytest
from test_evaluation import WINDOW, evaluated, run

from aggregation.pictures.table_plot import draw_table, plot_table
from sweeps.errors import LogError


def test_means_stand_where_the_scale_puts_them(tmp_path: Path) -> None:
    """On one axis where tasks share a scale; a hollow mean and a star where seeds are missing."""
    found = evaluated(tmp_path, run("a", 0, [2.0]), run("a", 1, [4.0]), run("b", 0, [8.0]))
    (axis,) = draw_table(found).axes

    means = [line for line in axis.get_lines() if line.get_markersize() == 5]
    assert [(line.get_xdata()[0], line.get_markerfacecolor() == "white") for line in means] == [
        (3.0, False),
        (8.0, True),
    ]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["a", "b *"]


def test_tasks_without_a_scale_have_an_axis_each(tmp_path: Path) -> None:
    """Otherwise the task with the largest scores would hide the others."""
    plain = WINDOW.model_copy(update={"scores": None})
    found = evaluated(tmp_path, run("a", 0, [2.0]), run("b", 0, [8000.0]), protocol=plain)

    assert len(draw_table(found).axes) == 2


def test_far_scores_do_not_squeeze_the_others(tmp_path: Path) -> None:
    """Beyond the score of 1 the axis is compressed, and says so."""
    found = evaluated(tmp_path, run("a", 0, [2.0]), run("b", 0, [8000.0]))
    (axis,) = draw_table(found).axes

    assert axis.get_xscale() == "symlog"
    assert axis.get_xlabel() == "score, logarithmic beyond 10"
    assert {0, 5, 10, 20, 5000} <= set(axis.get_xticks().tolist())


def test_the_same_table_gives_the_same_file(tmp_path: Path) -> None:
    """Names that would be mathematics stay names."""
    found = evaluated(tmp_path, run("a$x^2$_{", 0, [2.0], method="$"), run("b", 0, [8.0], method="$"))
    for name in ("one", "two"):
        plot_table(found, tmp_path / f"{name}.svg")

    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    with pytest.raises(LogError, match=r"expected a name that ends in \.png, \.svg, \.pdf"):
        plot_table(found, tmp_path / "table.html")
    with pytest.raises(LogError, match="cannot be written"):
        plot_table(found, tmp_path / "one.svg" / "x.png")
