"""The records that the packages hand to each other. Plain values: no files, no clock, no Ray.

A run's directory is named by its key: `<root>/runs/<suite>/<task>/<label>/<seed>/`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from sweeps.errors import GridError

Scalar = str | int | float | bool | None
#: A value of a trainer option: a scalar or a list of scalars.
Option = Scalar | list[Scalar]

# Readers split `{suite}-{label}` at the first "-"; paths are made of these names.
_NAME = re.compile(r"[^\s\-/:\\\x00-\x1f\x7f]+")
_TASK = re.compile(r"[^\s:\\\x00-\x1f\x7f]+")


def check_name(kind: str, name: str) -> str:
    """Return `name` if it can stand in a path and in a score file's name as a suite or a label.

    Raises:
        GridError: it is empty, is a path step, or holds `-`, `/`, `:`, white space or a control character.
    """
    if not _NAME.fullmatch(name) or ".." in name or name.startswith("."):
        raise GridError(
            f"The {kind} {name!r} cannot name a folder and a score file: it must not be empty, start with a dot, "
            f"or hold '-', '/', ':', '..', white space or a control character. Rename it, for example to "
            f"{re.sub(r'[^A-Za-z0-9_.]+', '_', name).strip('._') or 'name'!r}."
        )
    return name


def check_task(name: str) -> str:
    """Return `name` if it can name a task; unlike suites and labels, tasks may hold `-` and `/`.

    Raises:
        GridError: it is empty, is a path step, or holds `:`, `..`, white space or a control character.
    """
    if not _TASK.fullmatch(name) or ".." in name or name.startswith((".", "/")) or name.endswith("/"):
        raise GridError(
            f"The task {name!r} cannot name a folder: it must not be empty, start with a dot or a slash, "
            f"or hold ':', '..', white space or a control character."
        )
    return name


def ratio_text(train_ratio: float) -> str:
    """The shortest text of a ratio, as it stands in labels: `512`, `0.5`."""
    return repr(int(train_ratio)) if float(train_ratio).is_integer() else repr(float(train_ratio))


def label_of(method: str, train_ratio: float | None, options: str = "") -> str:
    """The label of a method whose ratio the sweep sets (`dreamerv3_tr512`) or leaves alone (`dreamerv3`).

    Args:
        options: names the values of further axes (`_horizon100`, see sweeps/option_axes.py).
    """
    ratio = "" if train_ratio is None else f"_tr{ratio_text(train_ratio)}"
    return f"{method}{ratio}{options}"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class RunKey:
    """Names one run of a sweep: its folder, its actor and its rows in the dataset."""

    suite: str
    #: As published, for example `dmc_ball_in_cup_catch`; the trainer's flag may differ.
    task: str
    #: The method, followed by `_tr<ratio>` where the sweep sets the ratio, and by the values of further axes.
    label: str
    seed: int

    @property
    def order(self) -> tuple[str, str, str, int]:
        """Sorts as the keys do, in less time where there are many."""
        return self.suite, self.task, self.label, self.seed

    def __str__(self) -> str:
        return f"{self.suite}/{self.task.replace('/', ':')}/{self.label}/{self.seed}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str(key)` wrote.

        Raises:
            GridError: `text` is not of the form `suite/task/label/seed`.
        """
        parts = text.split("/")
        if len(parts) != 4 or not re.fullmatch(r"\d+", parts[3]):
            raise GridError(f"{text!r} does not name a run; expected suite/task/label/seed.")
        suite, task, label, seed = parts
        return cls(
            suite=check_name("suite", suite),
            task=check_task(task.replace(":", "/")),
            label=check_name("label", label),
            seed=int(seed),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one attempt holds on its worker while it runs."""

    cpus: float = 1.0
    #: A fraction below 1 shares a GPU; above 1 only whole GPUs.
    gpus: float = 0.0
    memory_bytes: int = 0
    #: Ray's custom resources by name.
    custom: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The numbers that turn a budget and a ratio into gradient updates (see sweeps/ratio.py)."""

    #: Budget in policy steps, summed over environments.
    steps: int
    #: Environment frames per policy step.
    action_repeat: int = 1
    envs: int = 1
    batch_size: int = 16
    batch_length: int = 64
    replay_context: int = 1

    @property
    def frames(self) -> int:
        """Budget in environment frames, the unit that scores.jsonl logs."""
        return self.steps * self.action_repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerSource:
    """Which program trains, exactly enough to tell two of them apart."""

    #: The adapter that runs it: `dreamerv3`, `dreamer_pypi`, `command`.
    adapter: str
    #: Where it lies; empty for a command found on the PATH.
    location: str = ""
    #: A commit, or a package version, or empty where there is none.
    revision: str = ""
    #: Whether the checkout held uncommitted changes.
    dirty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One run, frozen: everything an attempt needs to know, and everything that decides its result."""

    key: RunKey
    method: str
    #: Replayed time steps per policy step; None where the trainer has no such thing.
    train_ratio: float | None
    #: The task as the trainer's own flag names it.
    trainer_task: str
    schedule: Schedule
    source: TrainerSource
    #: The adapter's options, as composed (`trainer:` in the config).
    trainer: Mapping[str, Any] = field(default_factory=dict)
    #: Blocks of the trainer's config file, in the order they apply.
    configs: tuple[str, ...] = ()
    #: Further trainer options by flag name without dashes: `{"agent.imag_length": 10}`.
    flags: Mapping[str, Option] = field(default_factory=dict)
    #: Environment variables for the trainer.
    environ: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)

    def differences(self, other: "RunSpec") -> dict[str, tuple[Any, Any]]:
        """What decides the result and is not the same: by name, its value here and there."""
        ours, theirs = self.identity(), other.identity()
        names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
        return {name: (ours.get(name), theirs.get(name)) for name in names}

    def identity(self) -> dict[str, Any]:
        """What changes the result, by name: two specs with equal identities are the same run.

        Where the run executes (resources, interpreter, environment variables) is not part of it.
        """
        # Its words are all that is known of a program that is no checkout and no package.
        command = {"trainer.command": self.source.location} if self.source.adapter == "command" else {}
        return {
            "suite": self.key.suite,
            "task": self.key.task,
            "trainer_task": self.trainer_task,
            "method": self.method,
            "configs": list(self.configs),
            "flags": dict(self.flags),
            "train_ratio": self.train_ratio,
            "seed": self.key.seed,
            **{f"schedule.{name}": value for name, value in asdict(self.schedule).items()},
            "trainer.adapter": self.source.adapter,
            **command,
            "trainer.revision": self.source.revision,
            "trainer.dirty": self.source.dirty,
        }

    def digest(self) -> str:
        """A short fingerprint of the identity, for the journal."""
        text = json.dumps(self.identity(), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """The form that stands in run.json; `from_json` reads it back."""
        record = asdict(self)
        record["key"] = str(self.key)
        record["configs"] = list(self.configs)
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote. Unknown entries (versions, host) are left alone."""
        return cls(
            key=RunKey.parse(record["key"]),
            method=record["method"],
            train_ratio=record["train_ratio"],
            trainer_task=record["trainer_task"],
            schedule=Schedule(**record["schedule"]),
            source=TrainerSource(**record["source"]),
            trainer=record["trainer"],
            configs=tuple(record["configs"]),
            flags=record["flags"],
            environ=record["environ"],
            resources=Resources(**record["resources"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One line of attempts.jsonl: one execution of a run, as far as it is known."""

    #: 1 for the first.
    attempt: int
    host: str
    pid: int
    #: Seconds since 1970.
    started_at: float
    #: None while it runs, or where nobody saw it end.
    ended_at: float | None = None
    #: See orchestrator/outcomes.py; None while it runs.
    outcome: str | None = None
    exit_code: int | None = None
    #: The normalised cause and the log lines that decided it.
    cause: str = ""
    evidence: tuple[str, ...] = ()
    #: Policy step of the checkpoint it resumed from; None for a start from nothing.
    resumed_step: int | None = None
    #: Byte size of each log when it started, by file name: what lies before belongs to earlier attempts.
    log_bytes: Mapping[str, int] = field(default_factory=dict)
    #: What the adapter mended before the start, in words.
    repairs: tuple[str, ...] = ()
    #: Of an attempt that was asked to start afresh: the folder of the run directory to which all logs and checkpoints
    #: of earlier attempts went. What those attempts tell about logs is about the ones there.
    set_aside: str = ""

    def to_json(self) -> dict[str, Any]:
        """The form that stands in attempts.jsonl."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; entries of a later version are left alone."""
        known = {name: record[name] for name in cls.__dataclass_fields__ if name in record}
        known["evidence"] = tuple(known.get("evidence", ()))
        known["repairs"] = tuple(known.get("repairs", ()))
        return cls(**known)
