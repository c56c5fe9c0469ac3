"""How curves are to be shown: what stands on each axis, what the line and the band are. Plain values."""

from dataclasses import dataclass
from typing import Literal, get_args

from aggregation.curves.axes import Axis, axis_named
from aggregation.curves.smoothing import Smoothing
from sweeps.errors import ConfigError, UnknownNameError

Centre = Literal["mean", "median", "iqm"]
Band = Literal["std", "sem", "quantiles", "range", "bootstrap", "none"]

_CENTRES: dict[Centre, str] = {"mean": "mean", "median": "median", "iqm": "interquartile mean"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveView:
    """What curves shall show."""

    axis: Axis = "frames"
    #: At most so many on a curve; None to choose from the data.
    points: int | None = None
    centre: Centre = "mean"
    band: Band = "std"
    #: Of aggregates: an interval of their own, or the spread between tasks.
    aggregate_band: Band = "bootstrap"
    #: Lower and upper bound of `band="quantiles"`.
    quantiles: tuple[float, float] = (0.25, 0.75)
    #: Of `band="bootstrap"`.
    confidence: float = 0.95
    #: Draws of `band="bootstrap"`.
    reps: int = 2000
    #: Of each run's curve, before seeds are put together.
    smoothing: Smoothing = Smoothing()  # noqa: RUF009 - frozen
    #: Levels of the distribution over time.
    fan: tuple[float, ...] = (0.05, 0.25, 0.5, 0.75, 0.95)

    def __post_init__(self) -> None:
        axis_named(self.axis)
        bands = ("band", self.band, Band), ("band", self.aggregate_band, Band)
        for kind, name, allowed in (("centre", self.centre, Centre), *bands):
            if name not in get_args(allowed):
                raise UnknownNameError(kind, name, get_args(allowed))
        if self.points is not None and self.points < 1:
            raise ConfigError(f"points is {self.points!r}; expected a whole number above 0.")
        low, high = self.quantiles
        if not 0 <= low < high <= 1:
            raise ConfigError(f"The quantiles {low:g} and {high:g} make no band; expected 0 <= lower < upper <= 1.")
        if not 0 < self.confidence < 1:
            raise ConfigError(f"confidence is {self.confidence!r}; expected a share between 0 and 1, as in 0.95.")

    @property
    def line_caption(self) -> str:
        """What the line of one task's curve is."""
        return f"line: {_CENTRES[self.centre]} over seeds"

    @property
    def band_caption(self) -> str:
        """What the band of one task's curve is; empty without one."""
        return f"band: {self._spread(self.band)}" if self.band != "none" else ""

    @property
    def aggregate_line_caption(self) -> str:
        """What the line of an aggregate is."""
        return {
            "mean": "mean of the tasks' means",
            "median": "median of the tasks' means",
            "iqm": "interquartile mean over all runs",
        }[self.centre]

    @property
    def aggregate_band_caption(self) -> str:
        """What the band of an aggregate is; empty without one."""
        if self.aggregate_band == "none":
            return ""
        over = " over runs within tasks" if self.aggregate_band == "bootstrap" else " over tasks"
        return f"band: {self._spread(self.aggregate_band)}{over}"

    def _spread(self, band: Band) -> str:
        low, high = self.quantiles
        return {
            "std": "one standard deviation",
            "sem": "one standard error",
            "quantiles": "the middle half" if (low, high) == (0.25, 0.75) else f"quantiles {low:g} to {high:g}",
            "range": "lowest to highest",
            "bootstrap": f"{100 * self.confidence:g} % bootstrap interval",
            "none": "",
        }[band]
