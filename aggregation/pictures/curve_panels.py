"""Draws curves: a panel per task and one for the aggregate of each suite, one colour per label."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aggregation.curves.axes import TITLES
from aggregation.curves.curves import Curve, CurveSet, Panel
from aggregation.curves.downsampling import kept_points
from aggregation.evaluation.scales import RAW
from aggregation.pictures.picture_frame import Frame, line_of, quiet_axis, styled
from aggregation.pictures.plot_style import QUIET, Labelled, Look, compared_method, looks, seeds_text

Floats = NDArray[np.float64]

_BAND_ALPHA, _FEWER_ALPHA = 0.16, 0.4
#: A line of more points would not look different.
_MOST_DRAWN = 600
_UNEVEN = 8


def draw(shown: CurveSet, *, with_seeds: bool = False) -> Figure:
    """One figure with every panel; aggregates come first.

    Args:
        shown: What to draw.
        with_seeds: A thin line for each run of a task too.
    """
    panels = sorted(shown.panels, key=lambda panel: panel.task is not None)
    curves = [curve for panel in panels for curve in panel.curves]
    labelled = {curve.label: Labelled(curve.label, curve.method, curve.train_ratio) for curve in curves}
    styles = looks(labelled.values())
    entries = [(line_of(look), f"{look.name}  ({_seeds(label, curves)})") for label, look in styles.items()]
    has_lengths = any(panel.lengths for panel in panels)
    with styled():
        frame = Frame.of(
            len(panels),
            entries,
            _caption(
                shown,
                compared_method(sorted(labelled.values(), key=lambda each: each.order)),
                has_lengths=has_lengths,
                has_seeds=with_seeds,
            ),
            has_twins=has_lengths,
        )
        is_log = any(_is_uneven(panel.curves) for panel in panels)
        title = TITLES[shown.view.axis] + (" (logarithmic)" if is_log else "")
        frame.label_sides(title, "episode score")
        is_one_suite = len({panel.suite for panel in panels}) == 1
        for place, (axis, panel) in enumerate(zip(frame.axes, panels, strict=True)):
            if with_seeds and panel.task is not None:
                _draw_seeds(axis, panel, styles)
            _draw_panel(axis, panel, styles, is_log=is_log)
            if panel.task is None:
                axis.set_ylabel("episode score" if panel.unit == RAW.name else "normalised score")
                axis.set_facecolor("#f7f7f7")
            if panel.lengths:
                is_last = place % frame.columns == frame.columns - 1 or place == len(panels) - 1
                _draw_lengths(axis, panel.lengths, styles, is_named=is_last)
        frame.title([_title(panel, is_one_suite=is_one_suite) for panel in panels])
        return frame.finish()


def _title(panel: Panel, *, is_one_suite: bool) -> str:
    if panel.task is None:
        return f"{panel.suite}: {panel.curves[0].tasks} tasks"
    return panel.task if is_one_suite else f"{panel.task}  ({panel.suite})"


def _seeds(label: str, curves: Sequence[Curve]) -> str:
    """Of a label's tasks, or of its aggregate where nothing else is drawn."""
    own = [curve for curve in curves if curve.label == label]
    tasks = [curve for curve in own if curve.task is not None]
    if not tasks:
        have, planned = sum(curve.seeds for curve in own), sum(curve.planned for curve in own)
        return f"{have} runs" if have == planned else f"{have} of {planned} runs"
    return seeds_text([curve.seeds for curve in tasks], [curve.planned for curve in tasks])


def _caption(shown: CurveSet, method: str | None, *, has_lengths: bool, has_seeds: bool) -> list[str]:
    view = shown.view
    has_tasks = any(panel.task is not None for panel in shown.panels)
    units = list(dict.fromkeys(panel.unit for panel in shown.panels if panel.task is None))
    parts = [method or "", *([view.line_caption, view.band_caption] if has_tasks else []), view.smoothing.caption]
    if has_seeds and has_tasks:
        parts.append("thin: single seeds")
    if has_lengths:
        parts.append("dotted, right axis: episode length")
    if _has_fewer(shown):
        parts.append("lighter: fewer seeds have data there")
    lines = [" · ".join(part for part in parts if part)]
    if units:
        about = [f"aggregate (shaded): {view.aggregate_line_caption}", *units, view.aggregate_band_caption]
        lines.append(" · ".join(part for part in about if part))
    return [line for line in (*lines, *shown.notes) if line]


def _has_fewer(shown: CurveSet) -> bool:
    return any(
        (curve.count[np.isfinite(curve.centre)] < curve.count.max()).any()
        for panel in shown.panels
        for curve in panel.curves
    )


def _draw_seeds(axis: Axes, panel: Panel, styles: dict[str, Look]) -> None:
    for curve in panel.curves:
        for row in curve.table:
            kept = kept_points(row, _MOST_DRAWN)
            axis.plot(curve.xs[kept], row[kept], color=styles[curve.label].colour, linewidth=0.6, alpha=0.55, zorder=5)


def _draw_panel(axis: Axes, panel: Panel, styles: dict[str, Look], *, is_log: bool) -> None:
    for order, curve in enumerate(panel.curves):
        look = styles[curve.label]
        has_band = np.isfinite(curve.low) & np.isfinite(curve.high) & (curve.count > 1)
        if has_band.any():
            axis.fill_between(
                curve.xs,
                curve.low,
                curve.high,
                where=has_band,
                color=look.colour,
                alpha=_BAND_ALPHA,
                linewidth=0,
                zorder=2,
            )
        _draw_line(axis, curve, look, zorder=10 + order)
    reach = float(max(curve.xs[-1] for curve in panel.curves)) or 1.0
    if is_log:
        axis.set_xscale("log")
    first = float(min(curve.xs[0] for curve in panel.curves)) if is_log else 0.0
    axis.set_xlim(first if first < reach else reach / _UNEVEN, reach)
    quiet_axis(axis)


def _is_uneven(curves: Sequence[Curve]) -> bool:
    """Whether some labels reach so much further than others that these would vanish on an even axis."""
    reaches = [float(curve.xs[-1]) for curve in curves]
    return max(reaches) > _UNEVEN * min(reaches) and min(float(curve.xs[0]) for curve in curves) > 0


def _draw_line(axis: Axes, curve: Curve, look: Look, *, zorder: int) -> None:
    good = np.flatnonzero(np.isfinite(curve.centre))
    xs, centre, count = curve.xs[good], curve.centre[good], curve.count[good]
    kept = kept_points(centre, _MOST_DRAWN)
    xs, centre, count = xs[kept], centre[kept], count[kept]
    marker = "o" if len(xs) == 1 else None
    # A step between two points is drawn in full where all seeds have data at both.
    is_full = count >= count.max(initial=0)
    whole = np.where(is_full, centre, np.nan)
    common = {"color": look.colour, "linestyle": look.dash, "linewidth": 1.9, "markersize": 4, "zorder": zorder}
    axis.plot(xs, whole, marker=marker, **common)
    if not is_full.all():
        beside = ~is_full
        beside[1:] |= ~is_full[:-1]
        beside[:-1] |= ~is_full[1:]
        axis.plot(xs, np.where(beside, centre, np.nan), alpha=_FEWER_ALPHA, **common)


def _draw_lengths(axis: Axes, lengths: Sequence[Curve], styles: dict[str, Look], *, is_named: bool) -> None:
    twin = axis.twinx()
    for curve in lengths:
        good = np.isfinite(curve.centre)
        twin.plot(
            curve.xs[good], curve.centre[good], color=styles[curve.label].colour, linestyle=(0, (1, 1.4)), linewidth=1.1
        )
    quiet_axis(twin)
    twin.grid(visible=False)
    twin.set_ylim(bottom=0)
    twin.spines["right"].set_visible(True)
    twin.tick_params(colors=QUIET)
    if is_named:
        twin.set_ylabel("episode length", color=QUIET)
