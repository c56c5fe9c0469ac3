"""What a report tells of a sweep root beyond its scores: plain values, gathered where journals and locks are known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFact:
    """How one run stands, as its journal tells."""

    #: `finished`, `running`, `planned`, `paused`, `cancelled` or `failed`.
    state: str
    attempts: int = 0
    #: Why it is not finished, normalised; empty where there is nothing to say.
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureFact:
    """Failures of one cause."""

    outcome: str
    cause: str
    runs: int
    #: One run of them, where its log lies, and the end of it.
    example: str
    log: str = ""
    lines: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RootFacts:
    """One sweep root. Everything may be empty: what is not known is not shown."""

    #: Of the sweep.
    name: str = ""
    #: Who drives it; None where nobody does.
    orchestrator: str | None = None
    #: By run, as `suite/task/label/seed`.
    runs: Mapping[str, RunFact] = field(default_factory=dict)
    failures: Sequence[FailureFact] = ()
    #: Why groups are held back, by group.
    held: Mapping[str, str] = field(default_factory=dict)
    #: Why nodes were set aside, and why nothing starts any more.
    warnings: Sequence[str] = ()
    gpu_hours: float | None = None
    #: What the runs were made with, by name: `trainer`, `Python`, `hosts`.
    made_with: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: Configurations by file name.
    configs: Mapping[str, str] = field(default_factory=dict)
    #: What launched the sweep, newest last.
    launches: Sequence[str] = ()
