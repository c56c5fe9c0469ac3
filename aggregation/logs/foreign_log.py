"""How far a log folder that dreamsweep did not launch came, and where its trainer was started again.

Such a folder has no `done`, and the trainer leaves none: a run ends without a word.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, cast

import numpy as np
import pyarrow as pa

from aggregation.logs.log_format import METRICS_FILE, LogFormat
from aggregation.logs.reader import Place, read_log

_SUFFIXES = ("", ".gz", ".zst")
_STEP = re.compile(rb'^\s*\{[^\n]*?"step": *(\d+)', re.MULTILINE)
#: A run that lacks more than this share of its budget is not finished, however far apart its lines are.
_MOST_MISSING = 0.05


@dataclass(frozen=True, slots=True)
class Restart:
    """Where the log of scores goes back to an earlier step: the trainer had been started again."""

    #: Environment frames of the first line after it.
    step: int
    #: Where that line begins, by log.
    log_bytes: dict[str, int]


@dataclass(frozen=True, slots=True)
class ForeignLog:
    """What the logs of a folder tell."""

    #: Environment frames of the last line.
    frames: int
    #: The longest distance between two lines: so much may lie between the last one and the end.
    stride: int
    restarts: tuple[Restart, ...]

    def reaches(self, budget: int) -> bool:
        """Whether nothing but a last line that was never written can be missing."""
        return budget - self.frames <= min(self.stride, budget * _MOST_MISSING)


def log_of(folder: Path, name: str) -> Path | None:
    """A log of a folder, compressed or not."""
    return next((path for suffix in _SUFFIXES if (path := folder / (name + suffix)).is_file()), None)


def open_log(path: Path) -> IO[bytes]:
    """Open a log, decompressed where its name says so."""
    kind = "detect" if path.suffix in _SUFFIXES[1:] else None
    return cast("IO[bytes]", pa.input_stream(str(path), compression=kind))


def read_foreign_log(folder: Path) -> ForeignLog:
    """Read how far the logs of a folder came."""
    form = LogFormat()
    scores, metrics = log_of(folder, form.file), log_of(folder, METRICS_FILE)
    steps, starts = _score_steps(scores, form) if scores else ([], [])
    metric_steps, metric_starts = _metric_steps(metrics) if metrics else ([], [])
    turns = _turns(metric_steps)
    restarts = []
    for turn in _turns(steps):
        log_bytes = {form.file: starts[turn]}
        # The same restart in the other log, which has more lines: there the steps had come at least as far.
        other = next((place for place in turns if metric_steps[place - 1] >= steps[turn - 1]), None)
        if other is not None:
            log_bytes[METRICS_FILE] = metric_starts[other]
        restarts.append(Restart(steps[turn], log_bytes))
    strides = [later - earlier for each in (steps, metric_steps) for earlier, later in pairwise(each)]
    return ForeignLog(max([*steps[-1:], *metric_steps[-1:]], default=0), max(strides, default=0), tuple(restarts))


def _score_steps(path: Path, form: LogFormat) -> tuple[list[int], list[int]]:
    """The step of every record, and where it begins."""
    blocks = list(read_log(path, form, place=Place(), is_over=True))
    none = np.array([], np.int64)
    steps = np.concatenate([none, *(block.steps for block in blocks)])
    return steps.tolist(), np.concatenate([none, *(block.starts for block in blocks)]).tolist()


def _metric_steps(path: Path) -> tuple[list[int], list[int]]:
    with open_log(path) as file:
        found = [(int(match[1]), match.start()) for match in _STEP.finditer(file.read())]
    return [step for step, _ in found], [start for _, start in found]


def _turns(steps: Sequence[int]) -> Iterator[int]:
    """The places of steps that lie before their predecessor."""
    return (place for place, (earlier, later) in enumerate(pairwise(steps), start=1) if later < earlier)
