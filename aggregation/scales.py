"""What makes the scores of a suite's tasks comparable: the normaliser of its protocol."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sweeps.protocols import Normaliser, protocol_of, read_normaliser, read_protocol

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scale:
    """Makes the scores of tasks comparable."""

    #: In words, as it stands beside an axis.
    name: str = "episode score"
    #: By task, the scores that stand for 0 and 1; None to leave scores as they are.
    spans: Normaliser | None = field(default=None, repr=False)

    def knows(self, task: str) -> bool:
        return self.spans is None or task in self.spans

    def of(self, task: str, scores: Floats) -> Floats:
        """The scores of a task that it knows, of the same shape."""
        if self.spans is None:
            return scores
        low, high = self.spans[task]
        return (scores - low) / (high - low)


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
