"""Which runs a report rests on, and why the others are missing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aggregation.report.facts import RootFacts, RunFact
from aggregation.sources.sources import RunInfo

#: In the order of the page, the complete ones first.
STATES = ("finished", "logged", "reference", "running", "planned", "paused", "cancelled", "failed")
COMPLETE = STATES[:3]
#: States of runs.parquet that are called otherwise on the page.
_NAMES = {"unknown": "logged"}
_SHOWN_CELLS = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """A run and how it stands."""

    run: RunInfo
    state: str
    #: Empty where there is nothing to say.
    cause: str
    attempts: int


def standings(runs: Sequence[RunInfo], facts: Mapping[str, RootFacts]) -> list[Standing]:
    """How each run stands: as its root's journal tells, else as the dataset does.

    Args:
        runs: Of all sources.
        facts: Of the sweep roots among the sources, by the path of the source.
    """
    return [_standing(run, facts.get(str(run.source.path), RootFacts()).runs.get(str(run.key))) for run in runs]


def _standing(run: RunInfo, fact: RunFact | None) -> Standing:
    if fact is not None:
        return Standing(run, fact.state, fact.cause, fact.attempts)
    state = _NAMES.get(run.state, run.state)
    if state in STATES:
        return Standing(run, state, "", run.attempts)
    # The outcome of its last attempt, in a dataset without a journal.
    return Standing(run, "failed", state.replace("_", " "), run.attempts)


def coverage_part(
    found: Sequence[Standing], tasks: Mapping[tuple[str, str], int], labels: Mapping[str, int]
) -> dict[str, Any]:
    """Every run, by its place in the matrix; its shape is told in payload.py."""
    causes = {cause: place for place, cause in enumerate(dict.fromkeys(each.cause for each in found if each.cause))}
    return {
        "states": list(STATES),
        "causes": list(causes),
        "runs": [
            [
                tasks[each.run.key.suite, each.run.key.task],
                labels[each.run.label],
                each.run.key.seed,
                STATES.index(each.state),
                causes.get(each.cause, -1),
                each.run.rows,
                each.run.last_step or 0,
                each.attempts,
            ]
            for each in found
        ],
        "reasons": _reasons(found),
    }


def _reasons(found: Sequence[Standing]) -> list[dict[str, Any]]:
    """The runs that are missing, those of one reason together, the most frequent first."""
    groups: dict[tuple[str, str], list[RunInfo]] = {}
    for each in found:
        if each.state not in COMPLETE:
            groups.setdefault((each.state, each.cause), []).append(each.run)
        elif not each.run.rows:
            groups.setdefault((each.state, "without any episode"), []).append(each.run)
    return [
        {"state": state, "cause": cause, "runs": len(runs), "where": _where(runs)}
        for (state, cause), runs in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _where(runs: Sequence[RunInfo]) -> str:
    """Where runs lie, shortly: their cells, or the one task or label that they share."""
    cells = Counter((run.key.task, run.label) for run in runs)
    tasks, labels = {task for task, _ in cells}, {label for _, label in cells}
    if len(cells) > _SHOWN_CELLS and len(labels) == 1:
        return f"{next(iter(labels))} on {len(tasks)} tasks"
    if len(cells) > _SHOWN_CELLS and len(tasks) == 1:
        return f"{next(iter(tasks))} with {len(labels)} labels"
    shown = ", ".join(f"{task} × {label}" for task, label in list(cells)[:_SHOWN_CELLS])
    more = len(cells) - _SHOWN_CELLS
    return f"{shown} and {more} more cells" if more > 0 else shown
