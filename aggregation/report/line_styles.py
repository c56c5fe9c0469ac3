"""The colour and the dash of each label, for a light and a dark page. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl


@dataclass(frozen=True, slots=True)
class LineStyle:
    """How a label's lines look."""

    #: Colours on a light and on a dark ground.
    light: str
    dark: str
    #: As in SVG's stroke-dasharray: tells labels apart without colours.
    dash: str


#: Okabe and Ito's colours, which colour-blind readers tell apart; without the yellow, too light on white. The same hues
#: lie beside them for a dark ground.
_COLOURS = (
    ("#0072b2", "#4db1ea"),
    ("#d55e00", "#ff8f47"),
    ("#009e73", "#2fd3a5"),
    ("#cc79a7", "#eba6cb"),
    ("#b07c00", "#f2bb3d"),
    ("#3a9bd1", "#9fd6f7"),
    ("#4d4d4d", "#c9c9c9"),
)
_DASHES = ("none", "7 3", "2 2.5", "9 3 2 3", "12 3", "5 2 1 2 1 2")
#: Ends of the scale of ratios that are told from white, and from black.
_LIGHT_SCALE = (0.0, 0.66)
_DARK_SCALE = (1.0, 0.38)


def line_styles(ratios: Sequence[float | None], methods: Sequence[str]) -> list[LineStyle]:
    """One style per label: a scale of colours where labels differ in their ratio alone, else one colour each.

    Args:
        ratios: The train_ratio of each label, None where it has none.
        methods: The method of each label.
    """
    count = len(ratios)
    is_scale = count > 2 and len(set(methods)) == 1 and None not in ratios and len(set(ratios)) == count
    styles = []
    for rank in range(count):
        if is_scale:
            light, dark = (
                mpl.colors.to_hex(mpl.colormaps["viridis"](first + (last - first) * (1 - rank / (count - 1))))
                for first, last in (_LIGHT_SCALE, _DARK_SCALE)
            )
        else:
            light, dark = _COLOURS[rank % len(_COLOURS)]
        # The dash changes with the colour, and once more when the colours begin anew.
        styles.append(LineStyle(light, dark, _DASHES[(rank + rank // len(_COLOURS)) % len(_DASHES)]))
    return styles
