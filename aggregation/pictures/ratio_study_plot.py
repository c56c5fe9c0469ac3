"""Draws replay-ratio studies: score against ratio, frontiers of frames against compute, chances of one ratio to win."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from aggregation.curves.axes import TITLES
from aggregation.evaluation.scales import RAW
from aggregation.pictures.picture_frame import Frame, quiet_axis, styled
from aggregation.pictures.plot_style import COLOURS, QUIET
from aggregation.pictures.plots import Plot, save
from aggregation.ratio_study.ratio_budgets import Budget, Kind
from aggregation.ratio_study.ratio_frontier import Frontier
from aggregation.ratio_study.ratio_study import AggregateBudget, RatioStudy, TaskStudy
from aggregation.ratio_study.ratio_verdict import Recommendation
from sweeps.contracts import ratio_text

Floats = NDArray[np.float64]

#: Colour, marker and dash of what is equal.
_KINDS: dict[Kind, tuple[str, str, Any]] = {
    "frames": (COLOURS[0], "o", "-"),
    "updates": (COLOURS[1], "s", "--"),
    "gpu_hours": (COLOURS[2], "^", "-."),
    "wall_hours": (COLOURS[2], "^", "-."),
}
#: Colour and size of each threshold that is drawn: where they fall together, all can be seen.
_FRACTIONS = {0.5: (COLOURS[5], 8.0), 0.75: (COLOURS[3], 6.0), 0.9: (COLOURS[6], 4.0)}
_CHANCES = "PuOr"
_FEWEST_TICKS, _MOST_TICKS = 3, 5
_FEW_TASKS = 8
_MOST_COLUMNS = 6
#: Of a chance matrix whose cells have room for intervals.
_FEW_RATIOS = 5
_SMALL = 6.2


def plot_studies(
    studies: Sequence[RatioStudy],
    folder: Path,
    *,
    name: str = "ratio_study",
    formats: Sequence[str] = ("png", "svg"),
) -> list[Plot]:
    """Draw each study as `<folder>/<name>-<suite>-<method>.png` and so on. One without a task has no picture.

    Args:
        studies: Of `ratio_study`.
        folder: Where to.
        name: What the names of the files begin with.
        formats: See plots.py.

    Raises:
        LogError: the folder cannot be written.
    """
    plots = []
    for study in studies:
        if not study.tasks:
            continue
        figure = draw(study)
        files = save(figure, folder, f"{name}-{study.suite}-{_file_name(study.name)}", formats)
        plots.append(Plot(files=files, panels=len(figure.axes), labels=len(study.ratios), notes=study.notes))
    return plots


def draw(study: RatioStudy) -> Figure:
    """One figure: a row of aggregates and chances, then three panels per task."""
    kinds = [budget.kind for budget in study.aggregate] or ["frames", "updates"]
    pairs = [budget for budget in study.aggregate if budget.kind != "updates" or study.hours is None]
    cells: list[tuple[str, Callable[[Axes], None]]] = []
    is_many = len(study.tasks) > 1
    if is_many:
        cells.append((f"{study.suite}: {_tasks_text(study)}", partial(_draw_aggregate, study=study)))
    header = [
        (f"chance to win, equal {_short(budget.kind)}", partial(_draw_chances, budget=budget)) for budget in pairs
    ]
    per_task = 2 if study.hours is None else 3
    per_row = per_task * (1 if len(study.tasks) == 1 else 2) if len(study.tasks) <= _FEW_TASKS else _MOST_COLUMNS
    cells += header if is_many else []
    cells += [("", _blank)] * (-len(cells) % (per_row if is_many else 1))
    for task in study.tasks:
        cells.append((task.task, partial(_draw_scores, task=task)))
        cells.append(("frames against updates", partial(_draw_frontiers, task=task, over="updates", hours=study.hours)))
        if study.hours is not None:
            over = f"frames against {_short(study.hours)}"
            cells.append((over, partial(_draw_frontiers, task=task, over="hours", hours=study.hours)))
    cells += [] if is_many else header
    with styled():
        frame = Frame.of(len(cells), _entries(kinds, study), _caption(study), columns=per_row)
        for axis, (_, draw_cell) in zip(frame.axes, cells, strict=True):
            draw_cell(axis)
        frame.title([title for title, _ in cells])
        return frame.finish()


def _entries(kinds: Sequence[Kind], study: RatioStudy) -> list[tuple[object, str]]:
    entries: list[tuple[object, str]] = []
    for kind in kinds:
        colour, marker, dash = _KINDS[kind]
        handle = Line2D([], [], color=colour, marker=marker, linestyle=dash, linewidth=1.6, markersize=5)
        entries.append((handle, f"score at equal {_short(kind)}"))
    for fraction, (colour, size) in _FRACTIONS.items():
        if any(each.fraction == fraction for task in study.tasks for each in task.frontiers):
            handle = Line2D([], [], color=colour, marker="o", linewidth=1.0, markersize=size)
            entries.append((handle, f"to {100 * fraction:g} % of the best"))
    return entries


def _caption(study: RatioStudy) -> list[str]:
    return [
        f"{study.name} · score: last {100 * study.window:g} % of the budget, the most that half of the runs of every "
        f"ratio reached · bars: {100 * study.confidence:g} % bootstrap intervals · dots: single seeds",
        "frontier: medians over seeds until the score was first reached, between where the runs began and the best "
        "ratio's score at equal frames · filled: no other ratio needed less of one without more of the other",
        "chances: in percent, paired by task and seed · bold: the interval leaves out 50",
        *study.notes,
    ]


def _draw_scores(axis: Axes, task: TaskStudy) -> None:
    for place, budget in enumerate(task.budgets):
        _draw_budget(axis, budget, _shift(place, len(task.budgets)))
    _ratio_axis(axis, [each.ratio for each in task.runs], _counts(task))
    axis.set_ylabel("episode score", fontsize=7)
    told = [_evidence(each) for each in task.recommended]
    axis.text(0.02, 0.98, "\n".join(told), transform=axis.transAxes, va="top", fontsize=_SMALL, color=QUIET)
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.09 * len(told) * (high - low))


def _draw_budget(axis: Axes, budget: Budget, shift: float) -> None:
    colour, marker, dash = _KINDS[budget.kind]
    there = [each for each in budget.ratios if each.mean is not None]
    ratios = np.array([each.ratio for each in there]) * shift
    means = np.array([each.mean for each in there], np.float64)
    low = np.array([each.mean if each.low is None else each.low for each in there], np.float64)
    high = np.array([each.mean if each.high is None else each.high for each in there], np.float64)
    for ratio, each in zip(ratios, there, strict=True):
        axis.plot(np.full(len(each.present), ratio), each.present, ".", color=colour, alpha=0.3, markersize=3)
    _draw_line(axis, ratios, means, low, high, (colour, marker, dash))


def _draw_line(axis: Axes, xs: Floats, means: Floats, low: Floats, high: Floats, look: tuple[str, str, Any]) -> None:
    colour, marker, dash = look
    bars = np.stack([means - low, high - means]).clip(0)
    axis.errorbar(
        xs, means, bars, color=colour, marker=marker, linestyle=dash, linewidth=1.5, markersize=4.5, elinewidth=1.0
    )


def _draw_aggregate(axis: Axes, study: RatioStudy) -> None:
    for place, budget in enumerate(study.aggregate):
        means = [each.metrics["mean"] for each in budget.ratios]
        _draw_line(
            axis,
            np.array([each.ratio for each in budget.ratios]) * _shift(place, len(study.aggregate)),
            np.array([each.point for each in means]),
            np.array([each.low for each in means]),
            np.array([each.high for each in means]),
            _KINDS[budget.kind],
        )
    _ratio_axis(axis, study.ratios)
    axis.set_ylabel("mean episode score" if study.unit == RAW.name else "mean normalised score", fontsize=7)
    axis.set_facecolor("#f7f7f7")


def _draw_frontiers(axis: Axes, task: TaskStudy, over: str, hours: Kind | None) -> None:
    axis.set_xscale("log")
    axis.set_yscale("log")
    is_empty = True
    for frontier in task.frontiers:
        if frontier.fraction in _FRACTIONS:
            is_empty = not _draw_frontier(axis, frontier, over) and is_empty
    if is_empty:
        axis.set_axis_off()
        axis.text(0.5, 0.5, "no ratio got there", transform=axis.transAxes, ha="center", fontsize=8, color=QUIET)
        return
    axis.margins(0.15)
    quiet_axis(axis)
    for side, limits in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
        side.set_major_locator(FixedLocator(_ticks(*limits)))
        side.set_minor_locator(NullLocator())
    axis.tick_params(labelsize=7)
    axis.set_xlabel(TITLES["updates"] if over == "updates" or hours is None else TITLES[hours], fontsize=7)
    axis.set_ylabel(TITLES["frames"], fontsize=7)


def _ticks(low: float, high: float) -> list[float]:
    """A few round numbers between two positive ones, for a logarithmic axis."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 6, 8)):
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(ticks) >= _FEWEST_TICKS:
            return ticks[:: -(-len(ticks) // _MOST_TICKS)]
    return [float(value) for value in MaxNLocator(_FEWEST_TICKS + 1).tick_values(low, high) if low <= value <= high]


def _draw_frontier(axis: Axes, frontier: Frontier, over: str) -> bool:
    """Draw the ratios that reached the score; false where none did."""
    colour, size = _FRACTIONS[frontier.fraction]
    reached = [(each, each.updates if over == "updates" else each.hours) for each in frontier.ratios]
    points = [(each, float(each.frames), spent) for each, spent in reached if each.frames and spent]
    if not points:
        return False
    axis.plot([spent for *_, spent in points], [frames for _, frames, _ in points], color=colour, linewidth=1.0)
    for each, frames, spent in points:
        is_best = each.is_best_of_updates if over == "updates" else each.is_best_of_hours
        axis.plot(
            spent,
            frames,
            marker="o",
            markersize=size,
            color=colour,
            markerfacecolor=colour if is_best else "white",
            linestyle="none",
        )
        axis.annotate(
            ratio_text(each.ratio), (spent, frames), (3, 3), textcoords="offset points", fontsize=6, color=QUIET
        )
    return True


def _draw_chances(axis: Axes, budget: AggregateBudget) -> None:
    ratios = [each.ratio for each in budget.ratios]
    table = np.full((len(ratios), len(ratios)), np.nan)
    for pair in budget.pairs:
        row, column = ratios.index(pair.ratio), ratios.index(pair.other)
        table[row, column], table[column, row] = pair.chance, 1 - pair.chance
    axis.imshow(table, cmap=_CHANCES, vmin=0, vmax=1, aspect="auto")
    for pair in budget.pairs:
        row, column = ratios.index(pair.ratio), ratios.index(pair.other)
        _write_chance(axis, (row, column), (pair.chance, pair.low, pair.high), len(ratios))
        _write_chance(axis, (column, row), (1 - pair.chance, 1 - pair.high, 1 - pair.low), len(ratios))
    names = [ratio_text(ratio) for ratio in ratios]
    axis.set_xticks(range(len(ratios)), names)
    axis.set_yticks(range(len(ratios)), names)
    axis.tick_params(length=0, labelsize=7)
    axis.spines[:].set_visible(False)
    axis.set_xlabel("… beats this one", fontsize=7)
    axis.set_ylabel("this train ratio …", fontsize=7)


def _write_chance(axis: Axes, place: tuple[int, int], bounds: tuple[float, float, float], ratios: int) -> None:
    row, column = place
    chance, low, high = bounds
    text = f"{100 * chance:.0f}"
    if ratios <= _FEW_RATIOS:
        text += f"\n{100 * low:.0f} to {100 * high:.0f}"
    axis.text(
        column,
        row,
        text,
        ha="center",
        va="center",
        fontsize=7.5 if ratios <= _FEW_RATIOS else 6,
        fontweight="bold" if low > 0.5 or high < 0.5 else "normal",
        color="white" if abs(chance - 0.5) > 0.35 else "black",
    )


def _blank(axis: Axes) -> None:
    axis.set_visible(False)


def _counts(task: TaskStudy) -> dict[float, str]:
    """Seeds with a score at equal frames, of the ratios that lack some."""
    if not task.budgets:
        return {}
    lacking = [each for each in task.budgets[0].ratios if len(each.present) < each.planned]
    return {each.ratio: f"{len(each.present)}/{each.planned}" for each in lacking}


def _ratio_axis(axis: Axes, ratios: Sequence[float], counts: Mapping[float, str] = MappingProxyType({})) -> None:
    """Ratios on a logarithmic axis, each with its count of seeds below where there is one."""
    quiet_axis(axis)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(list(ratios)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(
        FixedFormatter([f"{ratio_text(each)}\n{counts.get(each, '')}".strip() for each in ratios])
    )
    axis.tick_params(axis="x", labelsize=8 if len(ratios) <= _FEW_RATIOS else 6)
    axis.set_xlim(min(ratios) / 1.4, max(ratios) * 1.4)
    axis.set_xlabel("train ratio (logarithmic)", fontsize=7)


def _shift(place: int, of: int) -> float:
    """A factor that keeps the bars of several budgets apart."""
    return float(1.06 ** (place - (of - 1) / 2))


def _evidence(each: Recommendation) -> str:
    against = {
        "better": "better than",
        "no difference seen": "no difference seen from",
        "too few seeds": "too few seeds to tell it from",
    }[each.verdict]
    return f"equal {_short(each.kind)}: {ratio_text(each.ratio)}; {against} {ratio_text(each.next_best)}"


def _short(kind: Kind) -> str:
    return {"frames": "frames", "updates": "updates", "gpu_hours": "GPU hours", "wall_hours": "hours"}[kind]


def _tasks_text(study: RatioStudy) -> str:
    counts = sorted({len(budget.tasks) for budget in study.aggregate}) or [0]
    return f"{' to '.join(map(str, counts))} tasks"


def _file_name(name: str) -> str:
    """A source's name may hold slashes and blanks."""
    return "".join(letter if letter.isalnum() or letter in "._" else "_" for letter in name)
