"""What a collection remembers about each run, so that the next one reads only what is new.

It lies in the same generation as the dataset it belongs to, so the two can never disagree.
"""

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from aggregation.logs.discover import Stamp
from aggregation.logs.run_files import RunCard
from aggregation.logs.seams import Segment

#: Raised when a change of the code gives other rows or files for the same logs: everything is read again.
VERSION = 6
T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class RunState:
    """One run as it stands in the dataset."""

    card: RunCard
    folder: str
    log: str | None
    card_stamp: Stamp | None = None
    log_stamp: Stamp | None = None
    attempts_stamp: Stamp | None = None
    is_done: bool = False
    #: Read from a published score file, not from a log.
    is_reference: bool = False
    #: As in `Place`.
    offset: int = 0
    lines: int = 0
    in_line: bool = False
    pending_bytes: int = 0
    took_tail: bool = False
    fingerprint: str = ""
    #: Byte offset and cut of each known seam, as they were applied; None where seams are detected.
    seams: list[list[int | None]] | None = None
    segments: list[Segment] = field(default_factory=list)
    rows: int = 0
    dropped: int = 0
    non_finite: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    first_step: int | None = None
    last_step: int | None = None
    state: str = "unknown"
    attempts: int = 0
    #: Of all ended attempts.
    seconds: float = 0.0

    @property
    def key(self) -> str:
        return self.card.run

    @property
    def partition(self) -> tuple[str, str]:
        """Task and label: the folder of the dataset that holds its rows."""
        return self.card.key.task, self.card.key.label

    @property
    def file(self) -> str:
        """The path of the log as a text."""
        return f"{self.folder}/{self.log or self.card.form.file}"

    @property
    def path(self) -> Path:
        return Path(self.file)


@dataclass(slots=True)
class StoreState:
    """Every run of a store, by key, and what the dataset's folders hold."""

    #: The suite that was given for folders which dreamsweep did not launch.
    suite: str | None = None
    #: Whether folders of the same run count as further seeds.
    numbers_repeats: bool = False
    runs: dict[str, RunState] = field(default_factory=dict)
    #: The metrics that are collected, as a regular expression, and how their logs stand.
    metrics: str | None = None
    metric_runs: dict[str, RunState] = field(default_factory=dict)

    version: int = VERSION

    def encoded(self) -> bytes:
        """JSON, with the runs in the order of their keys."""
        try:
            return _encoder.encode(self)
        except UnicodeEncodeError:  # the name of a folder is no text
            return json.dumps(msgspec.to_builtins(self), sort_keys=True).encode()

    @classmethod
    def decoded(cls, data: bytes) -> "StoreState | None":
        """Read what `encoded` wrote; None where another version wrote it."""
        with contextlib.suppress(ValueError):
            if _decoded(data, _Versioned).version == VERSION:
                return _decoded(data, cls)
        return None


@dataclass(slots=True)
class _Versioned:
    """What every version of a state has."""

    version: int


_encoder = msgspec.json.Encoder(order="deterministic")


def _decoded(data: bytes, kind: type[T]) -> T:
    """Read JSON.

    Raises:
        ValueError: it is of another kind, or damaged.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError:
        return msgspec.convert(json.loads(data), kind)  # knows names that are no text
