"""How a sweep stands, told from its root alone: the journal, the lock and the logs. No cluster is asked."""

import contextlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.attempts.tail import last_lines, last_score
from orchestrator.journal import read_journal
from orchestrator.lock import live_holder
from orchestrator.machine import apply
from orchestrator.root import read_spec
from orchestrator.states import IN_FLIGHT, Run, SweepState
from orchestrator.trainers.registry import trainer_of
from sweeps.errors import DreamsweepError, RootError
from sweeps.layout import SweepRoot


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """One run as it stands."""

    run: str
    #: The method × suite with which it shares its failures.
    group: str
    state: str
    attempts: int
    #: Environment frames of the last finished episode, and of the budget; None where nothing is known.
    step: int | None = None
    budget: int | None = None
    #: Of the last finished episode.
    score: float | None = None
    host: str = ""
    #: Of its last attempt that ended badly.
    outcome: str | None = None
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Failures of one cause."""

    outcome: str
    cause: str
    runs: int
    #: One run of them, with the end of its log.
    example: str
    log: str
    last_lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStatus:
    """A sweep as it stands."""

    root: str
    #: Who drives it, as "pid on host since …"; None where nobody does. Attempts may go on without.
    orchestrator: str | None
    counts: Mapping[str, int]
    runs: tuple[RunStatus, ...]
    failures: tuple[FailureGroup, ...]
    #: Why groups are held back.
    held: Mapping[str, str]
    set_aside: tuple[str, ...]
    halted: str | None
    gpu_hours: float

    def to_json(self) -> dict[str, Any]:
        """The form that `--json` prints: a score that JSON has no number for is null."""
        told = asdict(self)
        for run in told["runs"]:
            if run["score"] is not None and not math.isfinite(run["score"]):
                run["score"] = None
        return told


def replayed(root: SweepRoot) -> SweepState:
    """The state that a root's journal adds up to.

    Raises:
        JournalError: the journal cannot be read.
    """
    state = SweepState()
    for event in read_journal(root.journal):
        apply(state, event)
    return state


def check_is_root(root: SweepRoot) -> None:
    """See that a folder is a sweep root.

    Raises:
        RootError: it is none.
    """
    if not root.journal.exists():
        raise RootError(
            f"{root.path} is no sweep root: it holds no journal.jsonl. Give the root= of a `dreamsweep run`."
        )


def status_of(root: SweepRoot, *, in_full: bool = False) -> SweepStatus:
    """Look at a root.

    Args:
        in_full: Read the last score of every run, also of the many that wait or are done.

    Raises:
        RootError: it is no sweep root.
    """
    check_is_root(root)
    state = replayed(root)
    holder = live_holder(root.lock)
    return SweepStatus(
        root=str(root.path),
        orchestrator=holder,
        counts={name: count for name, count in state.tally.items() if count},
        runs=tuple(_run_status(root, state.runs[key], in_full=in_full) for key in sorted(state.runs)),
        failures=_failures(root, state),
        held={group.name: group.held for group in state.groups.values() if group.held},
        set_aside=tuple(node.set_aside for node in (*state.nodes.values(), *state.departed.values()) if node.set_aside),
        halted=state.halted,
        gpu_hours=state.gpu_seconds / 3600,
    )


def _run_status(root: SweepRoot, run: Run, *, in_full: bool) -> RunStatus:
    step = score = budget = None
    if in_full or run.state in IN_FLIGHT or run.state in ("paused", "backing_off", "failed"):
        # One run.json that cannot be read, or that another version wrote, must not hide all the others.
        with contextlib.suppress(DreamsweepError):
            spec = read_spec(root.run_dir(run.key))
            if spec is not None:
                budget = spec.schedule.frames
                log = trainer_of(spec.trainer).score_log
                step, score = last_score(root.run_dir(run.key).path / log.file, log.step_key, log.score_key)
    is_bad = run.state in ("failed", "backing_off")
    return RunStatus(
        run=str(run.key),
        group=run.group,
        state=run.state,
        attempts=run.attempt,
        step=step,
        budget=budget,
        score=score,
        host=run.host,
        outcome=run.outcome if is_bad else None,
        cause=run.cause if is_bad else "",
    )


def _failures(root: SweepRoot, state: SweepState) -> tuple[FailureGroup, ...]:
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in sorted([*state.in_state("failed"), *state.held_up()], key=lambda run: run.key):
        groups.setdefault((str(run.outcome), run.cause), []).append(run)
    found = []
    for (outcome, cause), runs in sorted(groups.items(), key=lambda item: -len(item[1])):
        log = root.run_dir(runs[0].key).stdout
        found.append(
            FailureGroup(
                outcome=outcome,
                cause=cause,
                runs=len(runs),
                example=str(runs[0].key),
                log=str(log),
                last_lines=tuple(last_lines(log, 5)),
            )
        )
    return tuple(found)
