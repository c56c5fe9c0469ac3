"""A figure of equal panels with a legend and a caption below: the frame that curves, fans and studies share."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from aggregation.pictures.plot_style import FAINT, QUIET, STYLE, Look, short_number

_MOST_COLUMNS = 6
#: Of one panel, by how many there are at most.
_PANEL_INCHES = ((1, (6.4, 3.9)), (4, (4.4, 3.0)), (math.inf, (3.0, 2.3)))
#: Width of a letter in a legend and in a caption, and height of their lines, in inches.
_LEGEND_LETTER, _CAPTION_LETTER, _LEGEND_LINE, _CAPTION_LINE = 0.06, 0.053, 0.19, 0.125
_TITLE_LETTER = 0.083  # of size 9, bold
_TWIN_INCHES = 0.35


@dataclass(frozen=True, slots=True)
class Frame:
    """A figure with its panels, which are still empty."""

    figure: Figure
    #: One per panel.
    axes: list[Axes]
    columns: int
    is_one: bool
    _legend: tuple[list[Any], list[str], int]
    _caption: list[str]

    @classmethod
    def of(
        cls,
        panels: int,
        entries: Sequence[tuple[Any, str]],
        caption: Sequence[str],
        *,
        columns: int | None = None,
        has_twins: bool = False,
    ) -> "Frame":
        """A frame for so many panels.

        Args:
            panels: One or more.
            entries: Of the legend: what is drawn and its name.
            caption: Sentences below the legend; each begins a line of its own.
            columns: None to choose.
            has_twins: The panels have a second axis on the right.
        """
        columns = columns or _suitable_columns(panels)
        rows = math.ceil(panels / columns)
        panel_width, panel_height = next(inches for most, inches in _PANEL_INCHES if panels <= most)
        width = (panel_width + _TWIN_INCHES * has_twins) * columns
        names = [name for _, name in entries]
        in_a_row = 1
        if names:
            in_a_row = min(len(names), max(1, int(width / (_LEGEND_LETTER * max(map(len, names)) + 0.5))))
        lines = [line for text in caption for line in textwrap.wrap(text, max(int(width / _CAPTION_LETTER), 20))]
        foot = 0.12 + _LEGEND_LINE * math.ceil(len(names) / in_a_row) + _CAPTION_LINE * len(lines)
        figure = Figure(figsize=(width, panel_height * rows + foot), facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
        for axis in axes[panels:]:
            axis.set_visible(False)
        return cls(figure, axes[:panels], columns, panels == 1, ([each for each, _ in entries], names, in_a_row), lines)

    def label_sides(self, x: str, y: str) -> None:
        """Name the axes once per row and column."""
        for place, axis in enumerate(self.axes):
            if place % self.columns == 0:
                axis.set_ylabel(y)
            if place + self.columns >= len(self.axes):
                axis.set_xlabel(x)

    def title(self, texts: Sequence[str]) -> None:
        """Name the panels, all in a size that fits the longest name."""
        room = self.figure.get_figwidth() / self.columns - 0.5
        size = min(10.0 if self.is_one else 9.0, 9.0 * room / (_TITLE_LETTER * max(map(len, texts))))
        for axis, text in zip(self.axes, texts, strict=True):
            axis.set_title(text, fontsize=max(size, 5.5), loc="left", fontweight="bold")

    def finish(self) -> Figure:
        """Lay everything out, with legend and caption below the panels."""
        height = self.figure.get_figheight()
        handles, names, in_a_row = self._legend
        captions = 0.06 + _CAPTION_LINE * len(self._caption)
        foot = captions + 0.06 + _LEGEND_LINE * math.ceil(len(names) / in_a_row)
        self.figure.tight_layout(rect=(0, foot / height, 1, 1), pad=0.6, w_pad=1.2, h_pad=1.0)
        if names:
            self.figure.legend(
                handles,
                names,
                loc="lower center",
                bbox_to_anchor=(0.5, captions / height),
                ncol=in_a_row,
                frameon=False,
                fontsize=9,
                handlelength=1.6,
                columnspacing=1.6,
                borderaxespad=0.1,
                borderpad=0.1,
            )
        for place, line in enumerate(reversed(self._caption)):
            y = (0.05 + place * _CAPTION_LINE) / height
            self.figure.text(0.5, y, line, ha="center", va="bottom", fontsize=7, color=QUIET)
        return self.figure


def _suitable_columns(panels: int) -> int:
    """As wide as a screen, with few empty places."""
    fewest = min(math.isqrt(panels), _MOST_COLUMNS)
    most = min(math.ceil(math.sqrt(panels * 1.6)), _MOST_COLUMNS)
    return min(range(fewest, most + 1), key=lambda columns: (-panels % columns, -columns))


def line_of(look: Look) -> Any:
    """The legend's sample of a line."""
    return mpl.lines.Line2D([], [], color=look.colour, linestyle=look.dash, linewidth=2.2)


def quiet_axis(axis: Axes) -> None:
    """A faint grid, no box, and short numbers."""
    axis.grid(visible=True, color=FAINT, linewidth=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(length=2.5, labelsize=8)
    for side in (axis.xaxis, axis.yaxis):
        is_log = side.get_scale() == "log"
        side.set_major_locator(LogLocator(numticks=6) if is_log else MaxNLocator(5))
        if is_log:
            side.set_minor_formatter(NullFormatter())
        side.set_major_formatter(FuncFormatter(lambda value, _position: short_number(value)))


def styled() -> Any:
    """The context in which everything is drawn and saved."""
    return mpl.rc_context(STYLE)
