"""Smoothing of the curves of single runs, always named where its result is shown. Pure arrays."""

import re
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from sweeps.errors import ConfigError

Floats = NDArray[np.float64]

_TEXT = re.compile(r"(?P<kind>mean|ema):(?P<amount>[0-9.eE+-]+)")


@dataclass(frozen=True, slots=True)
class Smoothing:
    """How a run's points are smoothed before seeds are put together."""

    kind: Literal["none", "mean", "ema"] = "none"
    #: `mean`: points of the window, an odd number. `ema`: the weight of the past, from 0 to below 1.
    amount: float = 0.0

    def __post_init__(self) -> None:
        if self.kind == "mean" and not (self.amount >= 1 and self.amount % 2 == 1):
            raise ConfigError(
                f"The moving average of {self.amount:g} points has no middle; expected an odd whole number, "
                f"as in mean:5."
            )
        if self.kind == "ema" and not 0 <= self.amount < 1:
            raise ConfigError(
                f"The exponential smoothing of {self.amount:g} is out of range; expected the weight of the past, "
                f"0 or more and below 1, as in ema:0.9."
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `none`, `mean:5` or `ema:0.9`.

        Raises:
            ConfigError: it is neither, or its number is out of range.
        """
        if text == "none":
            return cls()
        match = _TEXT.fullmatch(text)
        try:
            kind, amount = (match["kind"], float(match["amount"])) if match else ("", 0.0)
        except ValueError:
            kind, amount = "", 0.0
        if kind == "mean":
            return cls("mean", amount)
        if kind == "ema":
            return cls("ema", amount)
        raise ConfigError(
            f"The smoothing {text!r} is not known; expected none, mean:N (moving average over N points) or ema:W "
            f"(exponential, the past weighs W), as in mean:5 or ema:0.9."
        )

    def __str__(self) -> str:
        return "none" if self.kind == "none" else f"{self.kind}:{self.amount:g}"

    @property
    def caption(self) -> str:
        """What a picture says of it; empty without smoothing."""
        if self.kind == "mean":
            return f"smoothed: moving average over {self.amount:.0f} points"
        return f"smoothed: exponential, weight {self.amount:g}" if self.kind == "ema" else ""

    def of(self, table: Floats) -> Floats:
        """Every row smoothed for itself, shape [rows, points]. NaN neither counts nor is filled."""
        if self.kind == "mean":
            return _moving_average(table, int(self.amount))
        return _exponential(table, self.amount) if self.kind == "ema" else table


def _moving_average(table: Floats, width: int) -> Floats:
    """The mean of the points within `width // 2` on either side; at the ends there are fewer."""
    good = np.isfinite(table)
    sums = np.cumsum(np.pad(np.where(good, table, 0.0), ((0, 0), (1, 0))), axis=1)
    counts = np.cumsum(np.pad(good, ((0, 0), (1, 0))), axis=1)
    place = np.arange(table.shape[1])
    first = np.maximum(place - width // 2, 0)
    behind = np.minimum(place + width // 2 + 1, table.shape[1])
    count = counts[:, behind] - counts[:, first]
    total = sums[:, behind] - sums[:, first]
    smooth: Floats = np.divide(total, count, out=np.full(table.shape, np.nan), where=good)
    return smooth


def _exponential(table: Floats, weight: float) -> Floats:
    """The mean of all points so far, each step back weighing `weight` times as much; the start is not drawn to 0."""
    good = np.isfinite(table)
    values = np.where(good, table, 0.0)
    smooth = np.full(table.shape, np.nan)
    total, mass = np.zeros(len(table)), np.zeros(len(table))
    for place in range(table.shape[1]):
        here = good[:, place]
        total = np.where(here, weight * total + values[:, place], total)
        mass = np.where(here, weight * mass + 1.0, mass)
        np.divide(total, mass, out=smooth[:, place], where=here)
    return smooth
