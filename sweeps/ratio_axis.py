"""The values of the train_ratio axis: `default`, a number, or a multiple of the suite's own, as `x4`. Pure."""

import re
from dataclasses import dataclass

from sweeps.contracts import Option, Scalar
from sweeps.errors import GridError
from sweeps.settings import Suite

#: Far beyond any ratio that a machine could train at, and small enough to count with.
_HIGHEST = 1e12
_MULTIPLE = re.compile(r"x(\d+(?:\.\d*)?|\.\d+)(?:e([-+]?\d+))?")


@dataclass(frozen=True, slots=True)
class SetRatio:
    """One value of the axis, for one suite."""

    #: As it was written.
    asked: Scalar
    #: What it comes to; None where the trainer has no such thing.
    value: float | None
    #: The suite's own.
    default: float | None

    @property
    def is_set(self) -> bool:
        """Whether the sweep sets the ratio, so that it belongs into the label."""
        return self.asked != "default"

    @property
    def is_relative(self) -> bool:
        """Whether it was written in terms of the suite's own: then its distance from that is no accident."""
        return isinstance(self.asked, str)

    def is_called(self, name: Option) -> bool:
        """Whether a rule's value means this ratio: a number, `default`, or a multiple."""
        if name == "default" or self.value is None:
            return name == self.asked
        factor = _factor(name)
        wanted = factor * self.default if factor is not None and self.default is not None else name
        return not isinstance(wanted, bool) and wanted == self.value


def set_ratio(value: Scalar, suite: Suite) -> SetRatio:
    """Read one value of the axis.

    Raises:
        GridError: it is no ratio, or a multiple where the suite has none.
    """
    if value == "default":
        return SetRatio(value, suite.train_ratio, suite.train_ratio)
    factor = _factor(value)
    if factor is not None and factor <= _HIGHEST:
        if suite.train_ratio is None:
            raise GridError(
                f"train_ratio {value!r} is a multiple of the suite's own, but the suite {suite.name} has none; "
                f"give a number, or train_ratio: in the suite's file."
            )
        return SetRatio(value, factor * suite.train_ratio, suite.train_ratio)
    if isinstance(value, bool | None | str) or not 0 <= value <= _HIGHEST:
        raise GridError(
            f"train_ratio {value!r} is no ratio; expected 'default', a number that is not negative (the replayed time "
            f"steps per policy step) up to {_HIGHEST:g}, or a multiple of the suite's own as 'x4' (suite "
            f"{suite.name}: {suite.train_ratio})."
        )
    return SetRatio(value, float(value), suite.train_ratio)


def _factor(value: object) -> float | None:
    match = _MULTIPLE.fullmatch(value) if isinstance(value, str) else None
    return float(value[1:]) if match and isinstance(value, str) else None
