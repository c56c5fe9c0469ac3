"""The runs that a sweep root's journal planned, for those of which no log exists yet.

The journal is the orchestrator's file; of its events only the three that plan, give up and take back a run are read.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from sweeps.contracts import RunKey
from sweeps.errors import DreamsweepError

#: State of a run after an event.
_STATES = {"RunPlanned": "planned", "RunCancelled": "cancelled", "RunRetried": "planned"}
_EVENT = re.compile(rb'"event": ?"(?:RunPlanned|RunCancelled|RunRetried)"')
_RATIO = re.compile(r"_tr(\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?=_|$)")


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run as the journal plans it."""

    key: RunKey
    method: str
    #: Where the sweep sets it, and None else.
    train_ratio: float | None
    #: `planned` or `cancelled`.
    state: str


def planned_runs(journal: Path) -> list[PlannedRun]:
    """Every run that was ever planned in a root, in the order of their keys. An absent journal plans none.

    Lines that cannot be read are left out: the orchestrator tells of them, and a table needs only the names.
    """
    if not journal.exists():
        return []
    found: dict[str, tuple[str, str]] = {}
    with journal.open("rb") as lines:
        for line in lines:
            if not _EVENT.search(line[:80]):
                continue
            try:
                record = json.loads(line)
                name, state = str(record["key"]), _STATES[record["event"]]
            except (ValueError, KeyError, TypeError):
                continue
            found[name] = state, str(record.get("group") or found.get(name, ("", ""))[1])
    runs = []
    for text, (state, group) in found.items():
        try:
            key = RunKey.parse(text)
        except DreamsweepError:
            continue
        method = group.removesuffix(f" × {key.suite}") or key.label
        ratio = _RATIO.search(key.label.removeprefix(method))
        runs.append(PlannedRun(key, method, float(ratio[1]) if ratio else None, state))
    return sorted(runs, key=lambda run: run.key)
