"""Draws fans: a panel per task and label, the quantiles of episode scores over time as nested bands."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from aggregation.curves.axes import TITLES
from aggregation.curves.fans import Fan, FanSet
from aggregation.pictures.picture_frame import Frame, line_of, quiet_axis, styled
from aggregation.pictures.plot_style import COLOURS, Look, seeds_text

_COLOUR = COLOURS[0]
_ALPHAS = (0.18, 0.32, 0.5)


def draw(shown: FanSet) -> Figure:
    """One figure with every fan."""
    levels = shown.view.fan
    bands = [(low, levels[-1 - place]) for place, low in enumerate(levels[: len(levels) // 2])]
    entries = [
        (Patch(color=_COLOUR, alpha=alpha, linewidth=0), f"{100 * low:g} to {100 * high:g} % of episodes")
        for alpha, (low, high) in zip(_ALPHAS, bands, strict=False)
    ]
    if len(levels) % 2:
        entries.append((line_of(Look(_COLOUR, "-", "")), "median"))
    has_one_label = len({fan.label for fan in shown.fans}) == 1
    names = {fan.label for fan in shown.fans}
    caption = [
        (f"{next(iter(names))} · " if has_one_label else "") + "quantiles of all episodes of all seeds, not smoothed",
        *shown.notes,
    ]
    with styled():
        frame = Frame.of(len(shown.fans), entries, caption)
        frame.label_sides(TITLES[shown.view.axis], "episode score")
        for axis, fan in zip(frame.axes, shown.fans, strict=True):
            _draw_fan(axis, fan)
        _share_heights(frame.axes, [(fan.suite, fan.task) for fan in shown.fans])
        named = [fan.task if has_one_label else f"{fan.task} · {fan.label}" for fan in shown.fans]
        counts = [seeds_text([fan.seeds], [fan.planned]) for fan in shown.fans]
        frame.title([f"{name}  ({count})" for name, count in zip(named, counts, strict=True)])
        return frame.finish()


def _share_heights(axes: Sequence[Axes], tasks: Sequence[tuple[str, str]]) -> None:
    """Let the panels of a task reach as high as each other."""
    for task in dict.fromkeys(tasks):
        own = [axis for axis, name in zip(axes, tasks, strict=True) if name == task]
        low, high = min(axis.get_ylim()[0] for axis in own), max(axis.get_ylim()[1] for axis in own)
        for axis in own:
            axis.set_ylim(low, high)


def _draw_fan(axis: Axes, fan: Fan) -> None:
    rows = len(fan.levels)
    for place in range(rows // 2):
        axis.fill_between(
            fan.xs,
            fan.values[place],
            fan.values[rows - 1 - place],
            color=_COLOUR,
            alpha=_ALPHAS[min(place, len(_ALPHAS) - 1)],
            linewidth=0,
        )
    if rows % 2:
        axis.plot(fan.xs, fan.values[rows // 2], color=_COLOUR, linewidth=1.9)
    axis.set_xlim(0, float(fan.xs[-1]) or 1.0)
    quiet_axis(axis)
