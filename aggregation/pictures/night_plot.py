"""The history of nights as a picture: each night's scores beside the mean of the nights without a regression."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from aggregation.pictures.picture_files import write_picture
from aggregation.pictures.picture_frame import styled
from aggregation.pictures.plot_style import COLOURS, FAINT, QUIET
from aggregation.verdicts.night_history import REGRESSION, NightRun

_MOST_NIGHTS = 60
_FINE, _DROPPED = COLOURS[0], COLOURS[1]


def plot_nights(history: Sequence[NightRun], path: Path) -> None:
    """Draw the last nights of a history into a file.

    Raises:
        LogError: the file cannot be written.
    """
    write_picture(draw_nights(history), path)


def draw_nights(history: Sequence[NightRun]) -> Figure:
    """A dot for each cell and night, a larger one for their median, and the revision of each night below it."""
    nights = sorted({run.night for run in history})[-_MOST_NIGHTS:]
    changes = night_changes(history)
    verdicts = {run.night: run.verdict for run in history}
    names = {run.night: run.name.partition("-")[2] for run in history}
    with styled():
        figure = Figure(figsize=(6.4, 3.2), facecolor="white")
        FigureCanvasAgg(figure)
        axis = figure.subplots()
        places = range(len(nights))
        for place, night in zip(places, nights, strict=True):
            values = 100 * np.array(changes.get(night, []))
            colour = _DROPPED if verdicts[night] == REGRESSION else _FINE
            axis.plot([place] * len(values), values, ".", color=colour, alpha=0.35, markersize=4, markeredgewidth=0)
            if len(values):
                marker = "v" if verdicts[night] == REGRESSION else "o"
                axis.plot([place], [np.median(values)], marker, color=colour, markersize=5.5)
        axis.axhline(0, color="#999999", linewidth=0.8, zorder=1)
        axis.grid(visible=True, axis="y", color=FAINT, linewidth=0.7)
        axis.spines[["top", "right"]].set_visible(False)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:+.0f} %" if value else "0"))
        shown = places[:: max(1, len(nights) // 20 + (len(nights) > 20))]
        texts = [f"{nights[place]} {names[nights[place]]}" for place in shown]
        axis.set_xticks(list(shown), texts, rotation=60, ha="right", fontsize=6.5)
        axis.yaxis.set_major_locator(MaxNLocator(6))
        axis.set_title("scores by night", fontsize=9, loc="left", fontweight="bold")
        figure.tight_layout(rect=(0, 0.06, 1, 1), pad=0.5)
        caption = (
            "each cell beside its mean of nights without a regression · large: median of cells · triangle: regression"
        )
        figure.text(0.5, 0.02, caption, ha="center", fontsize=7, color=QUIET)
    return figure


def night_changes(history: Sequence[NightRun]) -> dict[int, list[float]]:
    """By night, the relative change of each of its cells beside the mean of the cell's nights without a regression."""
    levels: dict[str, list[float]] = {}
    scores: dict[tuple[int, str], list[float]] = {}
    for run in history:
        if run.score is not None:
            scores.setdefault((run.night, run.cell), []).append(run.score)
            if run.verdict != REGRESSION:
                levels.setdefault(run.cell, []).append(run.score)
    changes: dict[int, list[float]] = {}
    for (night, cell), values in sorted(scores.items()):
        level = float(np.mean(levels.get(cell, values)))
        if level:
            changes.setdefault(night, []).append((float(np.mean(values)) - level) / abs(level))
    return changes
