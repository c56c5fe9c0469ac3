"""The command `nightly`: runs tonight's revision of the trainer, and says whether it is worse than the last nights.

Exit codes: those of `run`, and 4 for a confirmed regression, for as long as that revision stays.
"""

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aggregation.pictures.night_plot import plot_nights
from aggregation.sources.sources import open_sources
from aggregation.verdicts.night_history import (
    NightRun,
    accepted,
    baseline,
    cells_of,
    compared_nights,
    final_scores,
    read_history,
    with_night,
    write_history,
)
from aggregation.verdicts.regression import Judgement, Rule, judge
from orchestrator import clock
from orchestrator.command_line.composed_sweep import Sweep, composed
from orchestrator.command_line.night import cell_digest, cell_name, night_of
from orchestrator.command_line.night_summary import NightSummary
from orchestrator.command_line.plan_table import plan_summary, print_warnings
from orchestrator.command_line.report_command import report_of
from orchestrator.command_line.run_command import carried_out, launched_specs
from orchestrator.consoles import console_for
from orchestrator.launch import LaunchResult
from orchestrator.lock import RootLock
from orchestrator.root import make_writable
from sweeps.contracts import RunSpec
from sweeps.errors import ConfigError, DreamsweepError, LogError
from sweeps.files import write_atomically
from sweeps.layout import NightlyRoot, SweepRoot
from sweeps.protocols import protocol_of, read_normaliser
from sweeps.settings import NightlySettings

log = logging.getLogger(__name__)

_REPORTED_NIGHTS = 3


def nightly(arguments: argparse.Namespace) -> int:
    """Run a night and judge it."""
    sweep = composed(arguments, is_for_launch=not arguments.accept)
    if arguments.cfg:
        print(sweep.config.text, end="")
        return 0
    root = NightlyRoot(Path(sweep.config.first.root).expanduser().resolve())
    if arguments.accept:
        return _accept(root, is_json=arguments.json)
    make_writable(SweepRoot(root.path))
    with RootLock(root.lock):
        return _Nightly(root, sweep, arguments).run()


class _Nightly:
    """One night, from its runs to its verdict."""

    def __init__(self, root: NightlyRoot, sweep: Sweep, arguments: argparse.Namespace) -> None:
        self._root = root
        self._sweep = sweep
        self._settings: NightlySettings = sweep.config.first.nightly
        self._is_json = arguments.json
        self._config_dir = arguments.config_dir
        #: What is told goes to standard output alone; how it goes, elsewhere.
        self._console = console_for(sys.stderr)
        specs = launched_specs(sweep)
        records = [_read_record(path) for path in root.records()]
        # Folders of old nights may have been removed; their rows stay.
        last = max((run.night for run in read_history(root.history)), default=0)
        self._night = night_of(specs, records, last=last, own_seeds=self._settings.own_seeds, again=arguments.again)
        if any(spec.source.dirty for spec in specs):
            log.warning(
                "The trainer's checkout holds uncommitted changes. Two nights of one commit count as the same, "
                "whatever was changed: commit first, or set trainer.revision."
            )
        self._record = next((each for each in records if each["night"] == self._night.number), None)
        self._folder = root.night(self._night.name)
        self._planned = self._night.planned(specs)

    def run(self) -> int:
        """Do what is missing, judge, and tell."""
        night = self._night
        if self._record is not None and self._record.get("verdict") and self._is_done():
            return self._tell_unchanged(self._record)
        self._console.print(
            f"night {night.number}: {plan_summary(self._sweep.grid)}\nroot: {self._folder.path}",
            highlight=False,
            soft_wrap=True,
        )
        print_warnings(self._console, self._sweep.warnings)
        self._folder.path.mkdir(parents=True, exist_ok=True)
        self._write_record({})
        outcome = self._carried_out(self._planned)
        if outcome.open:
            return self._tell_interrupted(outcome)
        judgement, rows, compared = self._judged([])
        fresh: list[RunSpec] = []
        if judgement.verdict == "suspicious" and judgement.suspicion is not None:
            found = judgement.suspicion
            cells = {cell_name(spec) for spec in self._planned} if found.whole else set(found.cells)
            fresh = night.fresh(self._planned, cells, self._settings.confirm)
            self._console.print(f"Suspicious (p = {found.p:.2g}): {len(fresh)} runs with fresh seeds are to tell.")
            outcome = self._carried_out([*self._planned, *fresh])
            if outcome.open:
                return self._tell_interrupted(outcome)
            judgement, rows, compared = self._judged(fresh)
        return self._finish(judgement, rows, compared, outcome, len(fresh))

    def _carried_out(self, specs: Sequence[RunSpec]) -> LaunchResult:
        outcome, files = carried_out(self._sweep, self._folder, specs, self._console)
        files.print(self._console)
        return outcome

    def _judged(self, fresh: Sequence[RunSpec]) -> tuple[Judgement, list[NightRun], list[int]]:
        """The judgement, tonight's rows, and the nights that they were compared with."""
        history = read_history(self._root.history)
        rows = self._rows(fresh, baseline(history, self._night.number))
        compared = compared_nights(history, self._night.number, self._settings.history)
        # Each night draws its own choices; the same night always the same.
        generator = np.random.default_rng(self._night.number)
        judgement = judge(cells_of(history, compared, rows, self._lows()), len(compared), self._rule(), generator)
        return judgement, rows, compared

    def _rows(self, fresh: Sequence[RunSpec], base: int) -> list[NightRun]:
        specs = [*((spec, "planned") for spec in self._planned), *((spec, "fresh") for spec in fresh)]
        frames = {spec.key: spec.schedule.frames for spec, _ in specs if self._folder.run_dir(spec.key).done.exists()}
        try:
            scores = final_scores(self._folder.path, frames, self._settings.last)
        except LogError:
            scores = {}  # not one episode has ended
        number = self._night.number
        return [
            NightRun(
                night=number,
                name=self._night.name,
                at=int(clock.now()),
                revision=spec.source.revision,
                suite=spec.key.suite,
                task=spec.key.task,
                label=spec.key.label,
                cell=cell_digest(spec),
                seed=spec.key.seed,
                role=role,
                score=scores.get(spec.key),
                verdict="",
                baseline=base,
            )
            for spec, role in specs
        ]

    def _lows(self) -> dict[tuple[str, str], float]:
        """By suite and task, the score that stands for nothing learned, where the suite's protocol names one."""
        lows = {}
        for suite in {spec.key.suite for spec in self._planned}:
            protocol = protocol_of(suite, self._config_dir)
            if protocol.normaliser not in (None, "none"):
                spans = read_normaliser(str(protocol.normaliser), self._config_dir)
                lows.update({(suite, task): low for task, (low, _) in spans.items()})
        return lows

    def _rule(self) -> Rule:
        settings = self._settings
        return Rule(
            alpha=settings.alpha,
            suspicion=settings.suspicion,
            confirm=settings.confirm,
            least_nights=settings.least_nights,
        )

    def _finish(
        self, judgement: Judgement, rows: list[NightRun], compared: list[int], outcome: LaunchResult, fresh: int
    ) -> int:
        history = read_history(self._root.history)
        rows = [replace(row, verdict=judgement.verdict) for row in rows]
        nights = with_night(history, rows)
        write_history(self._root.history, nights)
        self._draw(nights)
        summary = NightSummary(
            night=self._night,
            judgement=judgement,
            rule=self._rule(),
            compared=tuple(compared),
            cells=cells_of(history, compared, rows, self._lows()),
            done=outcome.done,
            unscored=max(0, outcome.done - sum(row.score is not None for row in rows)),
            failed=Counter(run.cause for run in outcome.failed),
            held=tuple(outcome.held.values()),
            fresh=fresh,
            before=_revision_of(history, compared[-1]) if compared else "",
            report=self._reported(history, compared),
        )
        told = summary.to_json()
        self._write_record(told)
        self._tell(told)
        if judgement.verdict == "regression":
            return 4
        return 2 if outcome.failed or outcome.held or summary.is_blind else 0

    def _draw(self, history: Sequence[NightRun]) -> None:
        try:
            plot_nights(history, self._root.picture)
        except LogError as error:
            log.warning("The nights were not drawn: %s", error)

    def _reported(self, history: Sequence[NightRun], compared: Sequence[int]) -> str:
        """The path of a report of tonight beside the last nights; empty where there is none."""
        names = {run.night: run.name for run in history}
        folders = [self._root.night(names[number]).path for number in compared[-_REPORTED_NIGHTS:]]
        try:
            paths = [self._folder.path, *(folder for folder in folders if folder.is_dir())]
            with open_sources(paths, config_dir=self._config_dir) as sources:
                return str(report_of(sources, self._root.report, config_dir=self._config_dir).path)
        except (DreamsweepError, OSError) as error:
            log.warning("The report was not written: %s", error)
            return ""

    def _is_done(self) -> bool:
        history = read_history(self._root.history)
        keys = {spec.key for spec in self._planned}
        tonight = [run for run in history if run.night == self._night.number]
        if any(run.verdict == "suspicious" for run in tonight):
            return False  # the fresh seeds that were to tell have failed
        return {(run.suite, run.task, run.label, run.seed) for run in tonight} >= {
            (key.suite, key.task, key.label, key.seed) for key in keys
        } and all(self._folder.run_dir(key).done.exists() for key in keys)

    def _tell_unchanged(self, record: dict[str, Any]) -> int:
        """Nothing is run: the verdict stands."""
        verdict = _verdict_now(self._root, record)
        stands = {"fine": "", "too little history": " It was not judged."}.get(verdict, f" It stands as {verdict}.")
        text = (
            f"night {record['night']}, revision {record['revision']}: unchanged, nothing to run.{stands}\n"
            f"--again runs it once more as another night."
        )
        self._tell({**record, "verdict": verdict, "is_unchanged": True, "summary": text})
        if verdict == "regression":
            return 4
        return 2 if record.get("is_blind") else 0

    def _tell_interrupted(self, outcome: LaunchResult) -> int:
        night = self._night
        text = (
            f"night {night.number}, revision {night.revision}: interrupted, {outcome.done:,} runs done and "
            f"{outcome.open:,} not; the same command continues"
        )
        text += f"\nhalted: {outcome.halted}" if outcome.halted else ""
        self._tell({"night": night.number, "revision": night.revision, "verdict": None, "summary": text})
        return 3

    def _tell(self, told: dict[str, Any]) -> None:
        if self._is_json:
            json.dump(told, sys.stdout, allow_nan=False)
            print()
        else:
            print(told["summary"])

    def _write_record(self, told: dict[str, Any]) -> None:
        night = self._night
        record = {
            "night": night.number,
            "name": night.name,
            "digest": night.digest,
            "revision": night.revision,
            "own_seeds": night.own_seeds,
            **told,
        }
        write_atomically(self._root.record(night.name), json.dumps(record, allow_nan=False))


def _accept(root: NightlyRoot, *, is_json: bool) -> int:
    """Take the level of the latest nights as the new one."""
    history = read_history(root.history)
    if not history:
        raise ConfigError(f"{root.path} has no night yet; there is nothing to accept.")
    make_writable(SweepRoot(root.path))
    with RootLock(root.lock):
        changed, nights = accepted(history)
        write_history(root.history, changed)
    named = ", ".join(map(str, nights))
    text = f"night {named}: accepted as the new level. Later nights are compared with nights from {nights[0]} on."
    if is_json:
        json.dump({"accepted": nights, "baseline": nights[0], "summary": text}, sys.stdout)
        print()
    else:
        print(text)
    return 0


def _verdict_now(root: NightlyRoot, record: dict[str, Any]) -> str:
    """A night's verdict as the history has it, which may have been accepted since."""
    verdicts = [run.verdict for run in read_history(root.history) if run.night == record["night"]]
    return verdicts[0] if verdicts else str(record["verdict"])


def _revision_of(history: Sequence[NightRun], number: int) -> str:
    return next(run.revision for run in history if run.night == number)


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {**record, "night": int(record["night"]), "digest": str(record["digest"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LogError(f"{path} cannot be read ({error}); restore it, or remove its folder.") from None
