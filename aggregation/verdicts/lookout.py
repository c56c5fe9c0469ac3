"""Looks over the runs of opened sources for those that leave their references, and says so in sentences.

References are imported runs of the same suite and task: those of the same label, else of the same method, else of a
label that says what they are (`published`, `dreamerv3_paper`). Where there are none, the other seeds of the same cell.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from aggregation.dataset.bins import RunBins
from aggregation.sources.sources import RunInfo, Sources
from aggregation.verdicts.early_warning import (
    LEAST_REFERENCES,
    Departure,
    LabelDeparture,
    Traits,
    departure,
    label_departure,
    likely_causes,
)

_REFERENCE = "reference"
_FINISHED = "finished"
#: Labels under which people import what a method is to be compared with.
_PLAIN_NAMES = ("published", "reference", "paper", "official", "baseline")


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyWarning:
    """One run, or one label of a suite, that left its references."""

    suite: str
    label: str
    #: None for a whole label.
    run: str | None
    departure: Departure | LabelDeparture
    #: The label of the references; that of the run itself where they are its other seeds.
    reference: str
    #: The likeliest first.
    causes: tuple[str, ...]

    def sentence(self) -> str:
        """What, where and how far; without the causes."""
        found = self.departure
        if isinstance(found, LabelDeparture):
            return (
                f"{self.suite}/{self.label} lies {found.side} {self.reference}: its runs beat a reference at the same "
                f"step in {found.improvement:.0%} of pairs over {found.tasks} tasks (p = {found.p:.1g})"
            )
        who = f"{found.references} other seeds" if self.reference == self.label else f"{self.reference}"
        return (
            f"{self.run} lies {found.side} {who}: {found.score:,.4g} at frame {found.last:,}, where "
            f"{found.expected:,.4g} is expected ({found.low:,.4g} to {found.high:,.4g})"
        )

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "sentence": self.sentence()}


def early_warnings(sources: Sources) -> list[EarlyWarning]:
    """Every label and every run that left its references, labels first.

    Args:
        sources: What was opened; imported runs in it are references.
    """
    bins = dict(_scored(sources))
    cells: dict[tuple[str, str], list[RunInfo]] = {}
    for run in bins:
        cells.setdefault((run.key.suite, run.key.task), []).append(run)
    labels: dict[tuple[str, str], list[tuple[list[RunInfo], list[RunInfo]]]] = {}
    lone: list[EarlyWarning] = []
    for (suite, _), runs in cells.items():
        for label in dict.fromkeys(run.label for run in runs if run.state != _REFERENCE):
            own = [run for run in runs if run.label == label and run.state != _REFERENCE]
            references = _references(own[0], runs)
            if references:
                labels.setdefault((suite, label), []).append((own, references))
            for run in own:
                # Of a cell that is over, the seeds are what they are.
                others = references or [other for other in own if other is not run and run.state != _FINISHED]
                lone += _lone(run, others, bins)
    return [*_of_labels(labels, bins), *lone]


def _scored(sources: Sources) -> Iterator[tuple[RunInfo, RunBins]]:
    for run, bins in sources.bins():
        if len(bins.count):
            yield run, bins


def _references(run: RunInfo, runs: Sequence[RunInfo]) -> list[RunInfo]:
    """The imported runs that a run is held beside."""
    imported = [other for other in runs if other.state == _REFERENCE]
    for fits in (
        lambda other: other.key.label == run.key.label,
        lambda other: other.method == run.method,
        lambda other: other.key.label in _PLAIN_NAMES or run.method in other.key.label,
    ):
        if found := [other for other in imported if fits(other)]:
            return found
    return []


def _lone(run: RunInfo, others: Sequence[RunInfo], bins: dict[RunInfo, RunBins]) -> list[EarlyWarning]:
    if len(others) < LEAST_REFERENCES:
        return []
    found = departure(bins[run], [bins[other] for other in others])
    if found is None:
        return []
    return [
        EarlyWarning(
            suite=run.key.suite,
            label=run.label,
            run=str(run.key),
            departure=found,
            reference=others[0].label,
            causes=_causes(run, others[0]),
        )
    ]


def _of_labels(
    labels: dict[tuple[str, str], list[tuple[list[RunInfo], list[RunInfo]]]], bins: dict[RunInfo, RunBins]
) -> list[EarlyWarning]:
    warnings = []
    for (suite, label), tasks in labels.items():
        sides = [([bins[run] for run in own], [bins[run] for run in references]) for own, references in tasks]
        found = label_departure(sides, np.random.default_rng(0))
        if found is not None:
            own, references = tasks[0]
            warnings.append(
                EarlyWarning(
                    suite=suite,
                    label=label,
                    run=None,
                    departure=found,
                    reference=references[0].label,
                    causes=_causes(own[0], references[0]),
                )
            )
    return warnings


def _causes(run: RunInfo, reference: RunInfo) -> tuple[str, ...]:
    # The label of an import stands for its method, which nobody knows.
    return likely_causes(_traits(run), replace(_traits(reference), method=run.method))


def _traits(run: RunInfo) -> Traits:
    suite = run.source.schedules.suite(run.key.suite)
    official = None if suite is None else suite.train_ratio
    return Traits(
        method=run.method,
        train_ratio=official if run.train_ratio is None else run.train_ratio,
        # What was imported tells nothing of its schedule but what is the suite's own.
        schedule=run.schedule,
        attempts=run.attempts,
        faults=run.faults,
    )
