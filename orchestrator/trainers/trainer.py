"""The seam between an attempt and the program that it runs: what every adapter offers.

An adapter knows one kind of program: how to call it, what it writes, how it resumes, and what its endings mean.
It is made from the composed `trainer:` options on the orchestrator's side (`source`, `schedule`, `options`) and again,
from run.json's copy of them, on the worker (everything else).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field, NonNegativeFloat

from orchestrator.outcomes import Verdict
from sweeps.contracts import RunSpec, Schedule, TrainerSource
from sweeps.layout import RunDir
from sweeps.settings import Settings, SweepSettings


@dataclass(frozen=True, slots=True)
class Launch:
    """What to execute. No shell is involved."""

    argv: tuple[str, ...]
    #: Set on top of the worker's environment.
    environ: Mapping[str, str]
    cwd: Path


@dataclass(frozen=True, slots=True)
class ScoreLog:
    """Which file of the run directory holds the scores, and under which keys."""

    file: str = "scores.jsonl"
    step_key: str = "step"
    score_key: str = "episode/score"


@dataclass(frozen=True, slots=True)
class Ending:
    """Everything an adapter may judge an ending by."""

    exit_code: int | None
    signal: int | None
    #: The end of the program's output, of this attempt alone.
    text: str
    #: Whether the program had begun to train.
    has_started: bool
    #: Whether its losses were seen to be NaN.
    has_diverged: bool


class TrainerSettings(Settings):
    """The options that every adapter has."""

    adapter: str
    #: Time until the program must have begun to train; 0 for no limit.
    startup_deadline_s: NonNegativeFloat
    #: Silence of all logs after which an attempt counts as stalled; 0 for no limit.
    heartbeat_s: NonNegativeFloat
    #: Between SIGTERM and SIGKILL.
    grace_s: NonNegativeFloat
    #: Environment variables for the program.
    environ: dict[str, Any] = Field(default_factory=dict)


class Trainer(Protocol):
    """One kind of program."""

    @property
    def settings(self) -> TrainerSettings: ...

    @property
    def score_log(self) -> ScoreLog: ...

    def source(self) -> TrainerSource:
        """Which program this is.

        Raises:
            TrainerError: it is not there, or is not such a program.
        """
        ...

    def schedule(self, settings: SweepSettings) -> Schedule:
        """The numbers that decide frames and updates, as this program will use them for a suite and a method.

        Raises:
            TrainerError: the program does not know what it is asked for.
        """
        ...

    def options(self, settings: SweepSettings) -> Mapping[str, Any]:
        """Every option that the program will run with, by dotted name; nothing where they are not known.

        Raises:
            TrainerError: the program does not know what it is asked for.
        """
        ...

    def launch(self, spec: RunSpec, run_dir: RunDir) -> Launch:
        """How to execute a run, the first time and every further time."""
        ...

    def repair(self, run_dir: RunDir) -> tuple[int | None, tuple[str, ...]]:
        """Make a run directory fit to continue from; called before every attempt.

        Returns:
            The policy step of the checkpoint that the program will resume from (None for a start from nothing),
            and what was mended, in words.

        Raises:
            TrainerError: it cannot be continued without losing results.
        """
        ...

    @property
    def small_files(self) -> tuple[str, ...]:
        """What the program rewrites in its run directory and people look at, by name: shipped whole."""
        ...

    def checkpoint_name(self, run_dir: RunDir) -> str | None:
        """Names the newest finished checkpoint of a running program, cheaply; None where there is none."""
        ...

    def snapshot(self, run_dir: RunDir, name: str, into: Path) -> None:
        """Link that checkpoint into a folder on the same disk, as it must lie in a run directory to resume from it.

        Raises:
            FileNotFoundError: the program has removed it since.
        """
        ...

    def pieces(self, run_dir: RunDir) -> Iterator[Path]:
        """Further files that its checkpoints need, as far as they are finished; none of them ever changes."""
        ...

    def has_started(self, text: str) -> bool:
        """Whether the program's output so far shows that it has begun to train."""
        ...

    def has_diverged(self, metrics: str) -> bool:
        """Whether whole lines of metrics.jsonl show losses that are NaN."""
        ...

    def verdict(self, ending: Ending) -> Verdict:
        """What an ending that nobody asked for is taken for."""
        ...

    def clean(self, run_dir: RunDir) -> None:
        """Remove what a finished run does not need any more."""
        ...
