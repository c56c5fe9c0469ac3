"""What the page shows, as one value for JSON. Pure: sources and facts in, plain values out.

title, about, footer, version      texts of the head and the foot
labels      [{name, light, dark, dash, seeds}]      colours on light and dark ground; every other part names a
                                                    label by its place here
suites      [name]
tasks       [{name, suite}]                         suite by its place
progress    {total, counts: [{state, count}], about}
notes       [text]                                  what a reader must know first
tables      [{suite, labels, note, about, caption, marks: [{sign, text}],
              headlines: [{about, titles, rows: [{label,
                            metrics: [{point, low, high, least, most, about, best, mark}]}]}],
              rows: [{task, cells: [{mean, low, high, seeds, planned, best, mark, note} or null]}]}]
            `headlines` are the aggregates over all tasks, and over those that all labels share; a metric's title is the
            one at its place in `titles`
curves      {axes: [{name, title, note}], centres, bands, band,
             suites: [{name, note, aggregate: panel or null, panels: [panel]}]}
    panel   {title, unit, note, series}
    series  {label, x: {axis: [positions] or {width, end, count}}, count, mean, median, std, quartile_low, …,
             over: {axis: the same statistics, for an axis on which the seeds meet at other points}}
             `count` are the values behind a point, one number where all points have as many; `runs` beside it in
             aggregates, where `count` are tasks
ratio       [the replay-ratio study of a method (ratio_study.py)]
coverage    {states, causes, runs: [[task, label, seed, state, cause, episodes, last step, attempts]],
             reasons: [{state, cause, runs, where}]}
failures    {is_known, warnings, held: [{group, why}], groups: [{runs, outcome, cause, example, log, lines}],
             early: [{text, causes}]}
origin      {facts: [{name, value}], texts: [{title, text}]}
commands    [{about, text}]
"""

import datetime
import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aggregation.ratio_study.ratio_study import RatioStudy
from aggregation.report.coverage_part import COMPLETE, STATES, Standing, coverage_part, standings
from aggregation.report.curve_part import curve_part
from aggregation.report.facts import RootFacts
from aggregation.report.line_styles import line_styles
from aggregation.report.table_part import Judgement, table_part
from aggregation.sources.sources import RunInfo, Source, Sources, label_order
from aggregation.verdicts.lookout import EarlyWarning
from sweeps.wording import counted

_MOST_LINES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """When and how a report is made."""

    #: When, in UTC.
    at: datetime.datetime
    #: Of dreamsweep.
    version: str
    #: The words of the command that makes it.
    words: Sequence[str] = ()
    #: What is known of the sweep roots among the sources, by their paths.
    facts: Mapping[str, RootFacts] = field(default_factory=dict)


def payload(
    sources: Sources,
    judgements: Mapping[str, Judgement | None],
    studies: Sequence[RatioStudy],
    early: Sequence[EarlyWarning],
    made: Circumstances,
) -> dict[str, Any]:
    """What the page of some sources shows.

    Args:
        sources: What was opened.
        judgements: Of each suite.
        studies: Of each method whose ratio varies.
        early: What left its references.
        made: When, how, and what is known of the roots.
    """
    scales = {suite: judged.evaluation.scale for suite, judged in judgements.items() if judged is not None}
    runs = sources.runs
    first = {run.label: run for run in runs}
    labels = {run.label: place for place, run in enumerate(sorted(first.values(), key=label_order))}
    suites = {suite: place for place, suite in enumerate(sources.suites)}
    tasks = {task: place for place, task in enumerate(dict.fromkeys((run.key.suite, run.key.task) for run in runs))}
    found = standings(runs, made.facts)
    known = [made.facts[str(source.path)] for source in sources.sources if str(source.path) in made.facts]
    return {
        "title": _title(sources, known),
        "about": _about(sources, made),
        "footer": f"Made by dreamsweep {made.version}. The file is whole: it asks for nothing from any network.",
        "version": made.version,
        "labels": _labels(list(labels), first, runs),
        "suites": list(suites),
        "tasks": [{"name": task, "suite": suites[suite]} for suite, task in tasks],
        "progress": _progress(found, known),
        "notes": _notes(known),
        "tables": [table_part(judged, labels) for judged in judgements.values() if judged is not None],
        "curves": curve_part(sources, labels, scales),
        "ratio": [study.to_json() for study in studies],
        "coverage": coverage_part(found, tasks, labels),
        "failures": _failures(known) | {"early": [{"text": each.sentence(), "causes": each.causes} for each in early]},
        "origin": _origin(sources, known),
        "commands": _commands(sources, judgements, known, made),
    }


def _title(sources: Sources, known: Sequence[RootFacts]) -> str:
    """The sweeps' names; of what is no sweep, the suites with their labels."""
    names = [facts.name for facts in known if facts.name]
    if names:
        # Two roots may hold sweeps of one name.
        is_unique = len(set(names)) == len(names)
        return _listed(names if is_unique else [source.name for source in sources.sources])
    labels = list(dict.fromkeys(run.label for run in sources.runs))
    return ", ".join(sources.suites) + (f": {_listed(labels)}" if labels else "")


def _listed(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _about(sources: Sources, made: Circumstances) -> str:
    day = f"{made.at.day} {made.at:%B %Y, %H:%M} UTC"
    return f"Made on {day} from {_listed([source.name for source in sources.sources])}."


def _labels(labels: Sequence[str], first: Mapping[str, RunInfo], runs: Sequence[RunInfo]) -> list[dict[str, Any]]:
    styles = line_styles([first[name].train_ratio for name in labels], [first[name].method for name in labels])
    seeds: dict[str, Counter[tuple[str, str]]] = {name: Counter() for name in labels}
    for run in runs:
        if run.rows:
            seeds[run.label][run.key.suite, run.key.task] += 1
    return [
        {"name": name, "light": style.light, "dark": style.dark, "dash": style.dash, "seeds": _span(seeds[name])}
        for name, style in zip(labels, styles, strict=True)
    ]


def _span(seeds: Counter[tuple[str, str]]) -> str:
    low, high = min(seeds.values(), default=0), max(seeds.values(), default=0)
    return counted(high, "seed") if low == high else f"{low} to {high} seeds"


def _progress(found: Sequence[Standing], known: Sequence[RootFacts]) -> dict[str, Any]:
    counts = Counter(each.state for each in found)
    shown = [(state, counts[state]) for state in STATES if counts[state]]
    complete = sum(counts[state] for state in COMPLETE)
    rest = ", ".join(f"{count:,} {state}" for state, count in shown if state not in COMPLETE)
    episodes = sum(each.run.rows for each in found)
    hours = sum(facts.gpu_hours or 0.0 for facts in known)
    about = f"{complete:,} of {counted(len(found), 'run')} complete" + (f" ({rest})" if rest else "")
    about += f", {counted(episodes, 'episode')}" + (f", {hours:,.1f} GPU hours" if hours else "") + "."
    return {
        "total": len(found),
        "counts": [{"state": state, "count": count} for state, count in shown],
        "about": about,
    }


def _notes(known: Sequence[RootFacts]) -> list[str]:
    return [
        f"The sweep {facts.name} was under way when this was made ({facts.orchestrator}); its numbers are not final."
        for facts in known
        if facts.orchestrator is not None
    ]


def _failures(known: Sequence[RootFacts]) -> dict[str, Any]:
    groups = [failure for facts in known for failure in facts.failures]
    return {
        "is_known": bool(known),
        "warnings": [warning for facts in known for warning in facts.warnings],
        "held": [{"group": group, "why": why} for facts in known for group, why in facts.held.items()],
        "groups": [
            {
                "runs": group.runs,
                "outcome": group.outcome.replace("_", " "),
                "cause": group.cause,
                "example": group.example,
                "log": group.log,
                "lines": list(group.lines)[-_MOST_LINES:],
            }
            for group in sorted(groups, key=lambda group: -group.runs)
        ],
    }


def _origin(sources: Sources, known: Sequence[RootFacts]) -> dict[str, Any]:
    made_with: dict[str, list[str]] = {}
    for facts in known:
        for name, values in facts.made_with.items():
            made_with.setdefault(name, []).extend(values)
    runs = sources.runs
    facts_shown = {
        "sources": "; ".join(map(_place, sources.sources)),
        **{name: "; ".join(dict.fromkeys(values)) for name, values in made_with.items()},
        "episodes": f"{sum(run.rows for run in runs):,}",
        "superseded after a resume": _some(sum(run.dropped for run in runs), "episode"),
        "bad lines in logs": _some(sum(run.faults for run in runs), "line"),
    }
    return {
        "facts": [{"name": name, "value": value} for name, value in facts_shown.items() if value],
        "texts": [
            {"title": f"{facts.name}: {name}" if len(known) > 1 else name, "text": text}
            for facts in known
            for name, text in facts.configs.items()
        ],
    }


def _place(source: Source) -> str:
    return f"{os.path.normpath(source.path)} ({source.kind.replace('_', ' ')})"


def _some(count: int, noun: str) -> str:
    return counted(count, noun) if count else ""


def _commands(
    sources: Sources,
    judgements: Mapping[str, Judgement | None],
    known: Sequence[RootFacts],
    made: Circumstances,
) -> list[dict[str, str]]:
    paths = [os.path.normpath(source.path) for source in sources.sources]
    commands = [
        {"about": "Run the sweep, or what is missing of it", "text": launch}
        for facts in known
        for launch in facts.launches
    ]
    commands += [
        {"about": "Read the logs again, and tell what was dropped and why", "text": f"dreamsweep aggregate {path}"}
        for source in sources.sources
        if source.kind == "root"
        for path in [shlex.quote(os.path.normpath(source.path))]
    ]
    for suite, judged in judgements.items():
        if judged is not None:
            words = ["table", *paths, "--suite", suite, "--protocol", judged.evaluation.protocol.name]
            about = f"Print the table of {suite}; --format latex and others give it to a paper"
            commands.append({"about": about, "text": shlex.join(["dreamsweep", *words])})
    words = list(made.words) or ["report", *paths]
    return [*commands, {"about": "Make this page again", "text": shlex.join(["dreamsweep", *words])}]
