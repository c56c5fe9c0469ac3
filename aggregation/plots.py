"""Score curves as one PNG and one SVG: a panel per task, the mean over seeds with a band, one colour per label.

Takes arrays and gives arrays, or paths of pictures; the same curves give the same bytes of SVG.
"""

import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from aggregation.binning import binned, filled
from aggregation.episodes import Episodes, open_runs
from sweeps.contracts import ratio_text
from sweeps.errors import LogError

_log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

#: Okabe and Ito's colours, without the yellow that is too light on white; told apart by colour-blind readers.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))
_INK, _FAINT = "#222222", "#e6e6e6"
_MAX_COLUMNS = 6
_PANEL_INCHES = (3.0, 2.3)
_FEW_BINS, _MANY_BINS = 10, 60
#: Episodes of a typical run per bin, so that a bin's mean is a mean.
_EPISODES_PER_BIN = 2
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "dreamsweep",  # element names that do not change from one run to the next
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": 9,
    "axes.edgecolor": "#999999",
    "axes.linewidth": 0.7,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "path.simplify_threshold": 0.1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The mean over the seeds of one label on one task. Arrays have shape [bins]."""

    suite: str
    task: str
    label: str
    method: str
    train_ratio: float | None
    #: Right edges of the bins, in environment frames.
    steps: Floats
    #: Over the seeds that have data there; NaN where none has.
    mean: Floats
    #: Standard deviation over the same seeds.
    std: Floats
    #: Seeds with any data.
    seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """The pictures that were drawn."""

    png: str
    svg: str
    panels: int
    labels: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def plot(
    store: Path,
    folder: Path | None = None,
    *,
    name: str = "curves",
    bins: int | None = None,
    suites: Collection[str] | None = None,
    tasks: Collection[str] | None = None,
    labels: Collection[str] | None = None,
) -> Plot:
    """Draw the score curves of a store's dataset as `<folder>/<name>.png` and `.svg`.

    Args:
        store: A sweep root or a store.
        folder: Where to; None for `plots` in the store.
        name: Of the files, without suffix.
        bins: Points of a curve; None to choose from the data.
        suites: Only these.
        tasks: Only these.
        labels: Only these.

    Raises:
        LogError: the store holds no dataset or no episode, or the folder cannot be written.
    """
    runs = open_runs(store, suites=suites, tasks=tasks, labels=labels)
    curves = curves_of(list(runs.episodes()), bins=bins)
    if not curves:
        raise LogError(f"{store} holds no episode to plot yet; plot again when the first has ended.")
    folder = store / "plots" if folder is None else folder
    figure = draw(curves)
    paths = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for suffix in ("png", "svg"):
            paths[suffix] = folder / f"{name}.{suffix}"
            fresh = folder / f".{name}.new.{suffix}"
            with mpl.rc_context(_STYLE):
                figure.savefig(fresh, dpi=160, metadata={"Date": None} if suffix == "svg" else {"Software": None})
            fresh.replace(paths[suffix])
    except OSError as error:
        raise LogError(
            f"{folder} cannot be written: {error.strerror or error}. Expected a folder for pictures; name another."
        ) from None
    return Plot(
        png=str(paths["png"]),
        svg=str(paths["svg"]),
        panels=len({(curve.suite, curve.task) for curve in curves}),
        labels=len({curve.label for curve in curves}),
    )


def curves_of(episodes: Sequence[Episodes], *, bins: int | None = None) -> list[Curve]:
    """One curve per suite, task and label, in the order of the panels and the legend.

    Within the span of a run an empty bin carries the run's last value forward; beyond its end the run has no data.
    """
    ordered = sorted(episodes, key=lambda run: (run.key.suite, run.key.task, _label_order(run), run.key.seed))
    curves = []
    for (suite, task), panel in groupby(ordered, key=lambda run: (run.key.suite, run.key.task)):
        runs = list(panel)
        count = bins or _suitable_bins([len(run.steps) for run in runs])
        last_step = max(int(run.steps[-1]) for run in runs)
        edges = np.linspace(0.0, last_step, count + 1)
        for label, group in groupby(runs, key=lambda run: run.key.label):
            seeds = list(group)
            table = np.stack([_within_span(run, edges) for run in seeds])
            mean, std = _mean_and_std(table)
            curves.append(
                Curve(
                    suite=suite,
                    task=task,
                    label=label,
                    method=seeds[0].method,
                    train_ratio=seeds[0].train_ratio,
                    steps=edges[1:],
                    mean=mean,
                    std=std,
                    seeds=int(np.isfinite(table).any(axis=1).sum()),
                )
            )
    return curves


def draw(curves: Sequence[Curve]) -> Figure:
    """One figure with a panel per task."""
    panels = [list(group) for _, group in groupby(curves, key=lambda curve: (curve.suite, curve.task))]
    styles = _styles(curves)
    columns = min(len(panels), max(2, min(_MAX_COLUMNS, math.ceil(math.sqrt(len(panels) * 1.6)))))
    rows = math.ceil(len(panels) / columns)
    one = len(panels) == 1
    width, height = (6.4, 3.9) if one else (_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows)
    with mpl.rc_context(_STYLE):
        seeds = {label: [curve.seeds for curve in curves if curve.label == label] for label in styles}
        method = _compared_method(curves)
        first = {curve.label: curve for curve in curves}
        shown = {label: label if method is None else _ratio_name(first[label]) for label in styles}
        names = [_legend_name(shown[label], counts) for label, counts in seeds.items()]
        legend_columns = min(len(names), max(1, int(width / (0.062 * max(map(len, names)) + 0.5))))
        legend_rows = math.ceil(len(names) / legend_columns)
        foot = 0.3 + 0.19 * legend_rows
        figure = Figure(figsize=(width, height + foot), facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
        suites = {curve.suite for curve in curves}
        for axis, panel in zip(axes, panels, strict=False):
            _draw_panel(axis, panel, styles)
            title = panel[0].task if len(suites) == 1 else f"{panel[0].task}  ({panel[0].suite})"
            axis.set_title(title, fontsize=10 if one else 9, loc="left", fontweight="bold")
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        for row in range(rows):
            axes[row * columns].set_ylabel("episode score")
        for column in range(columns):
            lowest = max(index for index in range(column, len(panels), columns))
            axes[lowest].set_xlabel("environment frames")
        handles = [
            mpl.lines.Line2D([], [], color=colour, linestyle=dash, linewidth=2.2) for colour, dash in styles.values()
        ]
        below = foot / (height + foot)
        figure.tight_layout(rect=(0, below, 1, 1), pad=0.6, w_pad=1.2, h_pad=1.0)
        figure.legend(
            handles,
            names,
            loc="lower center",
            bbox_to_anchor=(0.5, 0.19 / (height + foot)),
            ncol=legend_columns,
            frameon=False,
            fontsize=9,
            handlelength=1.6,
            columnspacing=1.6,
            borderaxespad=0.1,
            borderpad=0.1,
        )
        figure.text(
            0.5,
            0.05 / (height + foot),
            ("" if method is None else f"{method} · ") + "line: mean over seeds · band: one standard deviation",
            ha="center",
            va="bottom",
            fontsize=7,
            color="#777777",
        )
    return figure


def _draw_panel(axis: Axes, curves: Sequence[Curve], styles: dict[str, tuple[Any, Any]]) -> None:
    for order, curve in enumerate(curves):
        colour, dash = styles[curve.label]
        good = np.isfinite(curve.mean)
        steps, mean, std = curve.steps[good], curve.mean[good], curve.std[good]
        if curve.seeds > 1:
            axis.fill_between(steps, mean - std, mean + std, color=colour, alpha=0.16, linewidth=0, zorder=2)
        marker = "o" if len(steps) == 1 else None
        axis.plot(
            steps, mean, color=colour, linestyle=dash, linewidth=1.9, marker=marker, markersize=4, zorder=10 + order
        )
    axis.set_xlim(0, float(max(curve.steps[-1] for curve in curves)) or 1.0)
    axis.grid(visible=True, color=_FAINT, linewidth=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(length=2.5, labelsize=8)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.yaxis.set_major_locator(MaxNLocator(5))
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter(FuncFormatter(lambda value, _position: short_number(value)))


def short_number(value: float) -> str:
    """A tick's text: `250`, `1.5k`, `40M`."""
    for scale, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= scale:
            return f"{value / scale:.4g}{suffix}"
    return f"{value:.4g}"


def _label_order(run: Episodes) -> tuple[str, float, str]:
    return run.method, -1.0 if run.train_ratio is None else run.train_ratio, run.key.label


def _suitable_bins(episodes: Sequence[int]) -> int:
    return int(np.clip(np.median(episodes) / _EPISODES_PER_BIN, _FEW_BINS, _MANY_BINS))


def _within_span(run: Episodes, edges: Floats) -> Floats:
    means = filled(binned(run.steps, run.scores, edges))
    beyond = int(np.searchsorted(edges[1:], run.steps[-1], side="right")) + 1
    means[beyond:] = np.nan
    return means


def _mean_and_std(table: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation over the rows that have data, by column. `table` has shape [seeds, bins]."""
    good = np.isfinite(table)
    count = good.sum(axis=0)
    nowhere = np.full(table.shape[1], np.nan)
    values = np.where(good, table, 0.0)
    mean = np.divide(values.sum(axis=0), count, out=nowhere.copy(), where=count > 0)
    squares = np.where(good, (values - mean) ** 2, 0.0)
    std = np.sqrt(np.divide(squares.sum(axis=0), count, out=nowhere.copy(), where=count > 0))
    return mean, std


def _legend_name(label: str, seeds: Sequence[int]) -> str:
    low, high = min(seeds), max(seeds)
    count = str(low) if low == high else f"{low} to {high}"
    return f"{label}  ({count} seed{'s' if high != 1 else ''})"


def _ratio_name(curve: Curve) -> str:
    assert curve.train_ratio is not None
    return f"train ratio {ratio_text(curve.train_ratio)}"


def _compared_method(curves: Sequence[Curve]) -> str | None:
    """The one method whose ratios are compared; None where the curves differ in anything else."""
    first = {curve.label: curve for curve in curves}
    ratios = {curve.train_ratio for curve in first.values()}
    methods = {curve.method for curve in first.values()}
    return curves[0].method if len(methods) == 1 and None not in ratios and len(ratios) == len(first) > 1 else None


def _styles(curves: Sequence[Curve]) -> dict[str, tuple[Any, Any]]:
    """Colour and dash of each label, in the order of the legend; a scale of colours where only the ratio differs."""
    first = {curve.label: curve for curve in curves}
    labels = sorted(
        first.values(),
        key=lambda each: (each.method, each.train_ratio if each.train_ratio is not None else -1, each.label),
    )
    if len(labels) > 2 and _compared_method(curves) is not None:
        scale = mpl.colormaps["viridis"]
        return {
            curve.label: (mpl.colors.to_hex(scale(0.82 * (1 - rank / (len(labels) - 1)))), _DASHES[0])
            for rank, curve in enumerate(labels)
        }
    return {
        curve.label: (_COLOURS[rank % len(_COLOURS)], _DASHES[rank // len(_COLOURS) % len(_DASHES)])
        for rank, curve in enumerate(labels)
    }
