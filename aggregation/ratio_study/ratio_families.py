"""Runs that differ in their train_ratio alone, and can be studied together. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aggregation.sources.sources import RunInfo
from sweeps.contracts import ratio_text


@dataclass(frozen=True, slots=True)
class RatioFamily:
    """One method of a suite at two train ratios or more."""

    suite: str
    #: The method with its further options, and its source where two sources hold the same grid.
    name: str
    #: Ascending.
    ratios: tuple[float, ...]
    #: The runs of each ratio, those without data included.
    runs: tuple[tuple[RunInfo, ...], ...]
    #: What was left out, and why.
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Of each ratio."""
        return tuple(runs[0].label for runs in self.runs)


def ratio_families(runs: Sequence[RunInfo]) -> list[RatioFamily]:
    """Every method whose ratio varies, by suite and name. Only ratios of which some run has data count."""
    groups: dict[tuple[str, str], list[RunInfo]] = {}
    for run in runs:
        if run.train_ratio is not None:
            groups.setdefault((run.key.suite, _without_ratio(run)), []).append(run)
    found = []
    for (suite, name), group in groups.items():
        for source, members in _studied_together(group).items():
            family = _family(suite, f"{name} ({source})" if source else name, members)
            if len(family.ratios) > 1:
                found.append(family)
    return sorted(found, key=lambda family: (family.suite, family.name))


def _family(suite: str, name: str, runs: Iterable[RunInfo]) -> RatioFamily:
    by_ratio: dict[float, dict[str, list[RunInfo]]] = {}
    for run in runs:
        assert run.train_ratio is not None
        by_ratio.setdefault(run.train_ratio, {}).setdefault(run.label, []).append(run)
    notes, kept = [], {}
    for ratio in sorted(by_ratio):
        # The suite's own ratio may have been run both as the default and as a number: the same runs, in effect.
        ranked = sorted(by_ratio[ratio].items(), key=lambda each: (-_with_data(each[1]), each[0]))
        if not _with_data(ranked[0][1]):
            notes.append(f"Ratio {ratio_text(ratio)} has {len(ranked[0][1])} runs and no data yet.")
            continue
        kept[ratio] = tuple(ranked[0][1])
        for label, others in ranked[1:]:
            notes.append(f"{label} has the ratio of {ranked[0][0]} too; its {len(others)} runs do not count.")
    return RatioFamily(suite, name, tuple(kept), tuple(kept.values()), tuple(notes))


def _studied_together(runs: Sequence[RunInfo]) -> dict[str, list[RunInfo]]:
    """One group, named "", or one per source where two sources have the same cell: two nights, say."""
    homes: dict[tuple[str, float | None], set[str]] = {}
    for run in runs:
        homes.setdefault((run.key.task, run.train_ratio), set()).add(run.source.name)
    if all(len(sources) == 1 for sources in homes.values()):
        return {"": list(runs)}
    groups: dict[str, list[RunInfo]] = {}
    for run in runs:
        groups.setdefault(run.source.name, []).append(run)
    return groups


def _without_ratio(run: RunInfo) -> str:
    assert run.train_ratio is not None
    ending = run.key.label.removeprefix(run.method)
    return run.method + re.sub(rf"_tr{re.escape(ratio_text(run.train_ratio))}(?=_|$)", "", ending, count=1)


def _with_data(runs: Iterable[RunInfo]) -> int:
    return sum(run.rows > 0 for run in runs)
