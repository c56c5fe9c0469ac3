"""What makes the scores of a suite's tasks comparable: the normaliser of its protocol."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sweeps.errors import ConfigError
from sweeps.protocols import Normaliser, protocol_of, read_normaliser, read_protocol
from sweeps.settings import Protocol

Floats = NDArray[np.float64]

_NAMED_TASKS = 4


@dataclass(frozen=True, slots=True)
class Scale:
    """Makes the scores of tasks comparable."""

    #: In words, as it stands beside an axis.
    name: str = "episode score"
    #: By task, the scores that stand for 0 and 1; None to leave scores as they are.
    spans: Normaliser | None = field(default=None, repr=False)
    #: What is shown for a number on the scale is `offset + factor * number`.
    factor: float = 1.0
    offset: float = 0.0
    #: Behind a shown number: `%`, or nothing.
    unit: str = ""

    def knows(self, task: str) -> bool:
        return self.spans is None or task in self.spans

    def of(self, task: str, scores: Floats) -> Floats:
        """The scores of a task that it knows, of the same shape."""
        if self.spans is None:
            return scores
        low, high = self.spans[task]
        return (scores - low) / (high - low)

    def shown(self, value: float, metric: str) -> float:
        """An aggregate as it is shown; an optimality gap is a distance, the others are places on the scale."""
        return self.factor * value + (0.0 if metric == "optimality_gap" else self.offset)


#: Scores as they are.
RAW = Scale()


def scales(protocol: str | None = None, config_dir: Path | None = None) -> Callable[[str], Scale]:
    """From a suite's name to its scale: that of the protocol, or of the suite's own where none is named.

    Args:
        protocol: A name of conf/protocol/, or of a suite that brings its own.
        config_dir: A user's own config directory, which comes before ours.

    Raises:
        UnknownNameError: there is no such protocol.
    """
    named = None if protocol is None else read_protocol(protocol, config_dir)

    def of(suite: str) -> Scale:
        chosen = named or protocol_of(suite, config_dir)
        if chosen.normaliser is None:
            return RAW
        return Scale(f"score normalised by {chosen.normaliser}", read_normaliser(chosen.normaliser, config_dir))

    return of


def protocol_scale(protocol: Protocol, tasks: Sequence[str], config_dir: Path | None = None) -> Scale:
    """The scale of a protocol's aggregates.

    Raises:
        UnknownNameError: there is no such normaliser.
        ConfigError: the normaliser lacks a task.
    """
    if protocol.normaliser not in (None, "none"):
        assert protocol.normaliser is not None
        spans = read_normaliser(protocol.normaliser, config_dir)
        lacking = [task for task in tasks if task not in spans]
        if lacking:
            named = ", ".join(lacking[:_NAMED_TASKS]) + (", …" if len(lacking) > _NAMED_TASKS else "")
            raise ConfigError(
                f"The normaliser {protocol.normaliser!r} has no scores for {named}. Expected two for each task; choose "
                f"another with --normaliser, --normaliser none to compare scores as they are, or fewer tasks."
            )
        return Scale(f"% by {protocol.normaliser}", spans, factor=100.0, unit="%")
    if protocol.scores is not None:
        low, high = protocol.scores
        return Scale("score", dict.fromkeys(tasks, (low, high)), factor=high - low, offset=low)
    return Scale("score")
