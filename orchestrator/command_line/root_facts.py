"""What a report tells of a sweep root beyond its scores: read from the journal, the lock and the frozen files."""

import json
import shlex
from collections.abc import Iterator

import yaml

from aggregation.report.facts import FailureFact, RootFacts, RunFact
from orchestrator.root import launches
from orchestrator.status import RunStatus, SweepStatus, status_of
from sweeps.layout import RunDir, SweepRoot

#: Words for a reader who does not know the machine's states.
_STATES = {
    "idle": "planned",
    "waiting": "planned",
    "backing_off": "planned",
    "launching": "running",
    "running": "running",
    "stopping": "running",
    "paused": "paused",
    "done": "finished",
    "failed": "failed",
    "cancelled": "cancelled",
}
_CAUSES = {
    "idle": "not part of the latest launch",
    "waiting": "waiting for room",
    "backing_off": "waits to be tried again",
}
#: Of so many runs run.json is read, spread over the sweep; versions differ between nodes, not from run to run.
_MOST_CARDS = 400


def root_facts(root: SweepRoot) -> RootFacts:
    """What is known of a root.

    Raises:
        RootError: it is no sweep root.
    """
    status = status_of(root)
    configs = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in root.configs}
    return RootFacts(
        name=_name(root, next(iter(configs.values()), "")),
        orchestrator=status.orchestrator,
        runs=_runs(status),
        failures=[
            FailureFact(
                outcome=group.outcome,
                cause=group.cause,
                runs=group.runs,
                example=group.example,
                log=group.log,
                lines=group.last_lines,
            )
            for group in status.failures
        ],
        held=status.held,
        warnings=[*status.set_aside, *([status.halted] if status.halted else [])],
        gpu_hours=status.gpu_hours,
        made_with=_made_with(root),
        configs=configs,
        launches=[shlex.join(["dreamsweep", "run", *words]) for words in launches(root)],
    )


def _runs(status: SweepStatus) -> dict[str, RunFact]:
    return {
        run.run: RunFact(state=_STATES[run.state], attempts=run.attempts, cause=run.cause or _why(run, status))
        for run in status.runs
    }


def _why(run: RunStatus, status: SweepStatus) -> str:
    """Why a run is not under way, where its state alone does not tell."""
    if run.state in ("waiting", "backing_off"):
        if run.group in status.held:
            return f"held back: {status.held[run.group]}"
        if status.halted:
            return status.halted
        if status.orchestrator is None:
            return "nobody drives the sweep"
    return _CAUSES.get(run.state, "")


def _name(root: SweepRoot, config: str) -> str:
    """The name that the configuration gives the sweep, else the root's."""
    try:
        composed = yaml.safe_load(config)
    except yaml.YAMLError:
        composed = None
    name = composed.get("name") if isinstance(composed, dict) else None
    return name if isinstance(name, str) else root.path.name


def _made_with(root: SweepRoot) -> dict[str, list[str]]:
    """Which trainers, versions and hosts made the runs."""
    cards = [run_dir for _, run_dir in root.run_dirs()]
    found: dict[str, list[str]] = {}
    for run_dir in cards[:: max(1, len(cards) // _MOST_CARDS)]:
        for name, value in _of_card(run_dir):
            values = found.setdefault(name, [])
            if value and value not in values:
                values.append(value)
    return found


def _of_card(run_dir: RunDir) -> Iterator[tuple[str, str]]:
    try:
        card = json.loads(run_dir.spec.read_text(encoding="utf-8"))
        source = card["source"]
        is_dirty = ", with uncommitted changes" if source["dirty"] else ""
        yield "trainer", " ".join(filter(None, (source["adapter"], source["revision"], source["location"]))) + is_dirty
        for name, version in card.get("versions", {}).items():
            yield name, str(version)
        yield "host", str(card.get("host", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # status tells of it
