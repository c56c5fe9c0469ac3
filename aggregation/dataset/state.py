"""What a collection remembers about each run, so that the next one reads only what is new.

It lies in the same generation as the dataset it belongs to, so the two can never disagree.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aggregation.logs.compact import told
from aggregation.logs.discover import Stamp
from aggregation.logs.run_files import RunCard
from aggregation.logs.seams import Segment

#: Raised when a change of the code gives other rows or files for the same logs: everything is read again.
VERSION = 6
_STAMPS = frozenset({"card_stamp", "log_stamp", "attempts_stamp"})


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

    def to_json(self) -> dict[str, Any]:
        """What differs from a run that has no row yet."""
        record = told(self)
        for name in _STAMPS & record.keys():
            stamp = record[name]
            record[name] = [stamp.size, stamp.mtime_ns, stamp.inode]
        return record | {"card": self.card.to_json(), "segments": [told(segment) for segment in self.segments]}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        own = {
            "card": RunCard.from_json(record["card"]),
            "segments": [Segment(**segment) for segment in record["segments"]],
        }
        return cls(**{**record, **own, **{name: Stamp(*record[name]) for name in _STAMPS & record.keys()}})


@dataclass(slots=True)
class StoreState:
    """Every run of a store, by key, and what the dataset's folders hold."""

    #: The suite that was given for folders which dreamsweep did not launch.
    suite: str | None = None
    runs: dict[str, RunState] = field(default_factory=dict)
    #: The metrics that are collected, as a regular expression, and how their logs stand.
    metrics: str | None = None
    metric_runs: dict[str, RunState] = field(default_factory=dict)

    def to_text(self) -> str:
        return json.dumps(
            {
                "version": VERSION,
                "suite": self.suite,
                "runs": [self.runs[key].to_json() for key in sorted(self.runs)],
                "metrics": self.metrics,
                "metric_runs": [self.metric_runs[key].to_json() for key in sorted(self.metric_runs)],
            }
        )

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what `to_text` wrote; the state of another version counts as none."""
        record = json.loads(text)
        if record.get("version") != VERSION:
            return cls()
        runs, metric_runs = (
            {run.key: run for run in map(RunState.from_json, record[name])} for name in ("runs", "metric_runs")
        )
        return cls(record["suite"], runs, record["metrics"], metric_runs)
