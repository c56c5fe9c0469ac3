"""How pictures look: fonts, colours that colour-blind people can tell apart, short numbers, legends. The same bytes
of SVG for the same content.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl

from sweeps.contracts import ratio_text

#: Okabe and Ito's colours, without the yellow that is too light on white; told apart by colour-blind readers.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))
INK, QUIET, FAINT = "#222222", "#777777", "#e6e6e6"
#: A scale of colours that gets darker, its yellow end left out.
_SCALE, _LIGHTEST = "viridis", 0.82

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "dreamsweep",  # element names that do not change from one run to the next
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": 9,
    "axes.edgecolor": "#999999",
    "axes.linewidth": 0.7,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "path.simplify_threshold": 0.1,
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """What decides the look of a label."""

    label: str
    method: str
    train_ratio: float | None

    @property
    def order(self) -> tuple[str, float, str]:
        """Ratios as numbers: 16, 64, 256."""
        return self.method, -1.0 if self.train_ratio is None else self.train_ratio, self.label

    @property
    def plain(self) -> str:
        """Without the source, which labels have that two sources share."""
        return self.label.partition(" (")[0]

    @property
    def source(self) -> str:
        """In brackets behind the plain label; empty for most."""
        return self.label.partition(" (")[2]


@dataclass(frozen=True, slots=True)
class Look:
    """How the line of a label is drawn, and what it is called."""

    colour: str
    dash: Any
    name: str


def looks(labels: Iterable[Labelled]) -> dict[str, Look]:
    """The look of each label, in the order of the legend: a scale of colours where only the ratio differs.

    One label from two sources has one colour, and each source its own dashes.
    """
    ordered = sorted(set(labels), key=lambda each: each.order)
    plain = list({each.plain: each for each in ordered}.values())
    sources = sorted({each.source for each in ordered if each.source})
    method = compared_method([Labelled(each.plain, each.method, each.train_ratio) for each in plain])
    found = {}
    for each in ordered:
        rank = [other.plain for other in plain].index(each.plain)
        colour, dash = _scale_colour(rank, len(plain)), DASHES[0]
        if method is None or len(plain) == 2:
            colour, dash = COLOURS[rank % len(COLOURS)], DASHES[rank // len(COLOURS) % len(DASHES)]
        if sources:
            dash = DASHES[sources.index(each.source) % len(DASHES)] if each.source else DASHES[0]
        is_ratio = method is not None and not sources
        name = f"train ratio {ratio_text(each.train_ratio or 0)}" if is_ratio else each.label
        found[each.label] = Look(colour, dash, name)
    return found


def _scale_colour(rank: int, of: int) -> str:
    return str(mpl.colors.to_hex(mpl.colormaps[_SCALE](_LIGHTEST * (1 - rank / max(of - 1, 1)))))


def compared_method(labels: Sequence[Labelled]) -> str | None:
    """The one method whose ratios are compared; None where the labels differ in anything else."""
    ratios = {each.train_ratio for each in labels}
    methods = {each.method for each in labels}
    is_study = len(methods) == 1 and None not in ratios and len(ratios) == len(labels) > 1
    return labels[0].method if is_study else None


def seeds_text(seeds: Sequence[int], planned: Sequence[int]) -> str:
    """How many runs stand behind a label's curves: `5 seeds`, `3 to 5 seeds`, `3 of 5 seeds`."""
    low, high, most = min(seeds), max(seeds), max(planned)
    count = f"{low}" if low == high else f"{low} to {high}"
    if any(have < want for have, want in zip(seeds, planned, strict=True)):
        count += f" of {most}"
    return f"{count} seed{'s' if max(high, most) != 1 else ''}"


def short_number(value: float) -> str:
    """A tick's text: `250`, `1.5k`, `40M`."""
    for scale, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= scale:
            return f"{value / scale:.4g}{suffix}"
    return f"{value:.4g}"
