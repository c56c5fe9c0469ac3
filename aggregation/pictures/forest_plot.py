"""A comparison as a picture: for each task the difference of A and B, its interval, and what could have been seen."""

import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from aggregation.evaluation.table_formats import printable
from aggregation.pictures.picture_files import check_picture, write_picture
from aggregation.pictures.picture_frame import styled
from aggregation.pictures.plot_style import COLOURS, FAINT, QUIET, short_number
from aggregation.verdicts.comparison import Comparison, TaskComparison

_WIDTH_INCHES, _LINE_INCHES, _REST_INCHES = 6.4, 0.2, 1.25
_BETTER, _WORSE, _SAME = COLOURS[0], COLOURS[1], "#555555"
_SEEN = "#dddddd"


def plot_comparison(comparison: Comparison, a: str, b: str, path: Path) -> None:
    """Draw a comparison into a file, whose suffix names its format.

    Raises:
        LogError: the file cannot be written, or its suffix names no format.
    """
    check_picture(path)  # before the drawing, which may take long
    write_picture(draw_comparison(comparison, a, b), path)


def draw_comparison(comparison: Comparison, a: str, b: str) -> Figure:
    """A line for each task, in percent of the larger of both means, so that tasks share an axis."""
    tasks = [task for task in comparison.tasks if task.difference is not None and _scale(task) > 0]
    with styled():
        height = _REST_INCHES + _LINE_INCHES * max(len(tasks), 1)
        figure = Figure(figsize=(_WIDTH_INCHES, height), facecolor="white")
        FigureCanvasAgg(figure)
        axis = figure.subplots()
        for place, task in enumerate(tasks):
            _draw(axis, place, task)
        reach = max((abs(100 * (task.difference or 0) / _scale(task)) for task in tasks), default=1.0)
        reach = min(max(1.6 * reach, 5.0), 160.0)
        axis.set_xlim(-reach, reach)
        axis.set_ylim(len(tasks) - 0.4, -0.6)
        axis.set_yticks(range(len(tasks)), [printable(task.task) for task in tasks], fontsize=8)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:+.0f} %" if value else "0"))
        axis.axvline(0, color="#999999", linewidth=0.8, zorder=1)
        axis.grid(visible=True, axis="x", color=FAINT, linewidth=0.7)
        axis.set_axisbelow(True)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
        axis.set_title(f"A − B, with A: {printable(a)}, B: {printable(b)}", fontsize=9, loc="left", fontweight="bold")
        captions = _captions(comparison)
        figure.tight_layout(rect=(0, (0.08 + 0.13 * len(captions)) / height, 1, 1), pad=0.5)
        for place, line in enumerate(reversed(captions)):
            figure.text(0.5, (0.05 + 0.13 * place) / height, line, ha="center", fontsize=7, color=QUIET)
    return figure


def _draw(axis: Axes, place: int, task: TaskComparison) -> None:
    factor = 100 / _scale(task)
    colour = {"better": _BETTER, "worse": _WORSE}.get(task.verdict, _SAME)
    if task.smallest is not None:
        seen = factor * task.smallest
        axis.barh(place, 2 * seen, left=-seen, height=0.7, color=_SEEN, alpha=0.5, linewidth=0, zorder=0)
    if task.low is not None and task.high is not None:
        axis.plot([factor * task.low, factor * task.high], [place, place], color=colour, linewidth=1.4, zorder=2)
    hollow = "white" if task.verdict == "not tested" else colour
    marker = {"better": ">", "worse": "<"}.get(task.verdict, "o")
    at = [factor * (task.difference or 0.0)]
    axis.plot(at, [place], marker, color=colour, markerfacecolor=hollow, markersize=4.5, zorder=3)


def _scale(task: TaskComparison) -> float:
    means = [abs(mean) for mean in (task.a_mean, task.b_mean) if mean is not None and math.isfinite(mean)]
    return max(means, default=0.0)


def _captions(comparison: Comparison) -> list[str]:
    lines = [
        f"in percent of the larger mean · lines: {100 * (1 - comparison.alpha):g} % interval · hollow: a single run",
        "triangles: told apart after correction (Holm) · grey: too small to be seen",
    ]
    if comparison.improvement is not None:
        found = comparison.improvement
        lines.append(
            f"P(a run of A beats one of B): {found.point:.2f} [{found.low:.2f}, {found.high:.2f}] over "
            f"{short_number(comparison.compared)} tasks: {comparison.verdict}"
        )
    return lines
