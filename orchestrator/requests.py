"""Asks the orchestrator of a root for something from another terminal, or another host: one small file per request.

    <root>/requests/<time>-<host>-<pid>.json    {"action": "cancel", "select": {"task": "dmc_walker_*"}}

The orchestrator takes the files in the order of their names, journals what they mean, and removes them. Without an
orchestrator they wait for the next one.
"""

import fnmatch
import json
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from orchestrator import clock
from orchestrator.events import Event, GroupReleased, RunCancelled, RunPaused, RunResumed, RunRetried
from orchestrator.states import Run, SweepState
from sweeps.files import write_atomically
from sweeps.layout import SweepRoot

log = logging.getLogger(__name__)

Action = Literal["cancel", "pause", "resume", "retry"]
#: What a run can be selected by.
SELECTORS = ("run", "suite", "task", "method", "label", "group")
_EVENTS: Mapping[Action, type[RunCancelled | RunPaused | RunResumed]] = {
    "cancel": RunCancelled,
    "pause": RunPaused,
    "resume": RunResumed,
}


@dataclass(frozen=True, slots=True)
class Request:
    """An action for the runs that match every pattern; no pattern at all matches every run."""

    action: Action
    #: Wild-card patterns by the names in `SELECTORS`.
    select: Mapping[str, str] = field(default_factory=dict)
    #: Of a retry: begin from nothing.
    fresh: bool = False

    def matches(self, run: Run) -> bool:
        """Whether it is meant for a run."""
        return all(fnmatch.fnmatchcase(names_of(run)[field], pattern) for field, pattern in self.select.items())

    def changes(self, run: Run, state: SweepState) -> bool:
        """Whether it means anything for a run as that stands."""
        match self.action:
            case "cancel":
                return run.may_be_cancelled
            case "pause":
                return run.may_be_paused
            case "resume":
                return run.may_be_resumed
            case "retry":
                is_released = run.state != "done" and state.groups[run.group].held is not None
                return run.may_be_retried or (self.fresh and run.may_begin_afresh) or is_released

    def events(self, state: SweepState, at: float) -> list[Event]:
        """What it means for the runs that there are."""
        matching = [run for run in state.runs.values() if self.matches(run)]
        events: list[Event] = []
        if self.action == "retry":
            groups = dict.fromkeys(run.group for run in matching if state.groups[run.group].held)
            events += [GroupReleased(at=at, group=group) for group in groups]
            events += [RunRetried(at=at, key=run.key, fresh=self.fresh) for run in matching]
        else:
            events += [_EVENTS[self.action](at=at, key=run.key) for run in matching]
        return events


def names_of(run: Run) -> dict[str, str]:
    """A run's name for each of `SELECTORS`."""
    return {
        "run": str(run.key),
        "suite": run.key.suite,
        "task": run.key.task,
        "method": run.group.split(" × ")[0],
        "label": run.key.label,
        "group": run.group,
    }


def write_request(root: SweepRoot, request: Request) -> None:
    """Leave a request for the orchestrator of a root."""
    root.requests.mkdir(exist_ok=True)
    name = f"{clock.now():.6f}-{socket.gethostname()}-{os.getpid()}.json"
    record = {"action": request.action, "select": dict(request.select), "fresh": request.fresh}
    write_atomically(root.requests / name, json.dumps(record) + "\n")


def pending_requests(root: SweepRoot) -> Iterator[tuple[Path, Request]]:
    """The requests that wait, oldest first. A file that is none is put aside and reported."""
    if not root.requests.is_dir():
        return
    for path in sorted(root.requests.glob("*.json")):
        try:
            request = _request_of(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            continue  # somebody thought better of it
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s is no request (%s); it is put aside.", path, error)
            path.rename(path.with_suffix(".unreadable"))
            continue
        yield path, request


def _request_of(record: dict[str, Any]) -> Request:
    action, select, fresh = record["action"], record["select"], record.get("fresh", False)
    if action not in get_args(Action):
        raise ValueError(f"no action {action!r}")
    for name, pattern in select.items():
        if name not in SELECTORS or not isinstance(pattern, str):
            raise ValueError(f"no pattern {name}={pattern!r}")
    if not isinstance(fresh, bool):
        raise ValueError(f"no truth value fresh={fresh!r}")
    return Request(action, dict(select), fresh)
