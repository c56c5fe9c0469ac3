"""An evaluation as a picture: per task and label the mean with its interval, and each seed as a dot."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from aggregation.evaluation.cells import Floats
from aggregation.evaluation.evaluation import Evaluation
from aggregation.evaluation.table_formats import printable
from aggregation.pictures.picture_files import check_picture, write_picture
from aggregation.pictures.picture_frame import styled
from aggregation.pictures.plot_style import FAINT, QUIET, Labelled, Look, looks, short_number

#: Height of a label's line, of the space between tasks, and of the axis below them, in inches.
_LINE_INCHES, _GAP_INCHES, _AXIS_INCHES, _LOWEST_INCHES = 0.13, 0.09, 0.3, 0.3
_LEGEND_INCHES, _CAPTION_INCHES = 0.2, 0.32
_WIDTH_INCHES = 6.4
#: With a mean beyond so many times the score of 1, the axis of a shared scale is compressed beyond it.
_FAR = 4.0


def plot_table(evaluation: Evaluation, path: Path) -> None:
    """Draw an evaluation into a file, whose suffix names its format.

    Raises:
        LogError: the file cannot be written, or its suffix names no format.
    """
    check_picture(path)  # before the drawing, which may take long
    write_picture(draw_table(evaluation), path)


def draw_table(evaluation: Evaluation) -> Figure:
    """A block of lines for each task: on one axis where tasks share a scale, else each with its own."""
    style = looks([Labelled(label, label, None) for label in evaluation.labels])
    blocks = [evaluation.tasks] if evaluation.scale.spans is not None else [(task,) for task in evaluation.tasks]
    block_inches = _LINE_INCHES * len(evaluation.labels) + _GAP_INCHES
    heights = [max(block_inches * len(tasks), _LOWEST_INCHES) + _AXIS_INCHES for tasks in blocks]
    columns = min(len(style), max(1, int(_WIDTH_INCHES / (0.07 * max(map(len, style)) + 0.5))))
    foot = _CAPTION_INCHES + _LEGEND_INCHES * -(-len(style) // columns)
    with styled(), mpl.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(_WIDTH_INCHES, sum(heights) + foot), facecolor="white")
        FigureCanvasAgg(figure)
        panels = figure.subplots(len(blocks), 1, squeeze=False, height_ratios=heights).flatten().tolist()
        for axis, tasks in zip(panels, blocks, strict=True):
            _draw(axis, evaluation, tasks, style)
        panels[-1].set_xlabel(_axis_name(panels[-1], evaluation))
        height = figure.get_figheight()
        figure.tight_layout(rect=(0, foot / height, 1, 1), pad=0.5, h_pad=0.3)
        figure.legend(
            [mpl.lines.Line2D([], [], color=look.colour, marker="o", linewidth=1.6) for look in style.values()],
            [printable(look.name) for look in style.values()],
            loc="lower center",
            bbox_to_anchor=(0.5, _CAPTION_INCHES / height),
            ncol=columns,
            frameon=False,
            borderaxespad=0.1,
        )
        for place, line in enumerate(reversed(_captions(evaluation))):
            y = (0.05 + 0.125 * place) / height
            figure.text(0.5, y, line, ha="center", va="bottom", fontsize=7, color=QUIET)
    return figure


def _captions(evaluation: Evaluation) -> tuple[str, str]:
    protocol = printable(evaluation.protocol.name) or "of its own"
    percent = f"{100 * evaluation.confidence:g} %"
    return (
        f"{printable(evaluation.suite)}, protocol {protocol} · large dots: mean over seeds · small dots: seeds",
        f"lines: {percent} interval (Student's t) · hollow and *: seeds are missing",
    )


def _draw(axis: Axes, evaluation: Evaluation, tasks: tuple[str, ...], style: dict[str, Look]) -> None:
    step = 1.0 / (len(evaluation.labels) + 1)
    means = []
    for row, task in enumerate(tasks):
        if row % 2 == 0 and len(tasks) > 1:
            axis.axhspan(row - 0.5, row + 0.5, color=FAINT, alpha=0.5, linewidth=0, zorder=0)
        for place, label in enumerate(evaluation.labels):
            cell = evaluation.cells[task, label]
            if cell.mean is None:
                continue
            y = row - 0.5 + step * (place + 1)
            colour = style[label].colour
            seeds = _shown(evaluation, task, cell.scores[np.isfinite(cell.scores)])
            low, mean, high = _shown(evaluation, task, np.array([cell.mean.low, cell.mean.point, cell.mean.high]))
            means.append(mean)
            axis.plot(seeds, np.full(len(seeds), y), "o", color=colour, markersize=2.2, alpha=0.45, zorder=3)
            if np.isfinite(low):
                axis.plot([low, high], [y, y], color=colour, linewidth=1.6, zorder=4, solid_capstyle="round")
            face = colour if cell.is_complete else "white"
            axis.plot([mean], [y], "o", color=colour, markerfacecolor=face, markersize=5, markeredgewidth=1.2, zorder=5)
    names = [f"{printable(task)}{'' if _is_complete(evaluation, task) else ' *'}" for task in tasks]
    axis.set_yticks(range(len(tasks)), names)
    axis.set_ylim(len(tasks) - 0.5, -0.5)
    axis.tick_params(length=2.5, labelsize=8)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.grid(visible=True, axis="x", color=FAINT, linewidth=0.7)
    axis.set_axisbelow(True)
    if len(tasks) > 1 and max(map(abs, means), default=0.0) > _FAR * evaluation.scale.factor:
        axis.set_xscale("symlog", linthresh=evaluation.scale.factor)
        axis.set_xticks(_compressed_ticks(evaluation.scale.factor, *axis.get_xlim()), minor=False)
        axis.xaxis.set_minor_locator(NullLocator())
    else:
        axis.xaxis.set_major_locator(MaxNLocator(6))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: short_number(value)))


def _compressed_ticks(one: float, low: float, high: float) -> list[float]:
    """Where an axis that is logarithmic beyond `one` has its ticks: each half up to it, then 2, 5, 10, 20, … of it."""
    beyond = [one * step * 10.0**power for power in range(9) for step in (1, 2, 5)]
    ticks = [0.0, one / 2, *beyond]
    return [tick for tick in (*(-tick for tick in reversed(ticks[1:])), *ticks) if low <= tick <= high]


def _shown(evaluation: Evaluation, task: str, scores: Floats) -> Floats:
    scale = evaluation.scale
    return scale.offset + scale.factor * scale.of(task, scores)


def _is_complete(evaluation: Evaluation, task: str) -> bool:
    return all(evaluation.cells[task, label].is_complete for label in evaluation.labels)


def _axis_name(axis: Axes, evaluation: Evaluation) -> str:
    if axis.get_xscale() != "symlog":
        return evaluation.scale.name
    linear = short_number(evaluation.scale.factor)
    return f"{evaluation.scale.name}, logarithmic beyond {linear}"
