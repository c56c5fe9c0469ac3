"""Collects logs into a store: finds the runs, reads what is new, and publishes the next generation of the dataset.

Safe while the logs grow and however often it is stopped: readers see the earlier generation or the next.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from aggregation.dataset.arrow_columns import as_kept
from aggregation.dataset.fault_spool import FaultSpool
from aggregation.dataset.lengths import LengthSource, has_lengths
from aggregation.dataset.schema import METRIC_ROWS, SCORE_ROWS
from aggregation.dataset.state import RunState, StoreState
from aggregation.dataset.store import Generation, Store, Syncs, remove_folder
from aggregation.dataset.tables import damaged, is_damage, runs_table, write_table
from aggregation.dataset.update import Plan, Update, taken
from aggregation.logs.discover import Discovery, Repeat, RunLog, Unusable, discover
from aggregation.logs.memory import keep_freed
from aggregation.logs.seams import gap_frames
from aggregation.logs.spread import Spread, read_here, read_in_turn
from sweeps.errors import ConfigError, LogError
from sweeps.layout import SweepRoot

#: Told the bytes read so far and the bytes to read.
Progress = Callable[[int, int], None]
_LISTED_FILES = 20
#: Up to so many new bytes are read without threads.
_FEW_BYTES = 1 << 25


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultyFile:
    """The bad lines of one file, by kind."""

    run: str
    path: str
    kinds: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorelessRun:
    """A run that ended well, and of which there is no score."""

    run: str
    #: The log that was looked for, and the keys of its lines.
    path: str
    step_key: str
    score_key: str

    @classmethod
    def of(cls, state: RunState) -> Self:
        form = state.card.form
        return cls(run=state.key, path=state.file, step_key=form.step_key, score_key=form.score_key)


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a collection found and what the dataset holds after it."""

    store: str
    runs: int = 0
    #: Runs whose log was opened this time.
    runs_read: int = 0
    bytes_read: int = 0
    rows: int = 0
    #: Rows added this time, before later resumes made any void.
    new_rows: int = 0
    #: Superseded by a later attempt.
    dropped: int = 0
    non_finite: int = 0
    #: Runs that ended well without a score; how many, and the first of them.
    scoreless: int = 0
    scoreless_runs: list[ScorelessRun] = field(default_factory=list)
    #: Bad lines by kind.
    faults: dict[str, int] = field(default_factory=dict)
    #: Those with most bad lines first; every bad line is in faults.parquet.
    faulty_files: list[FaultyFile] = field(default_factory=list)
    #: Bytes behind the last newline of logs that may still grow.
    pending_bytes: int = 0
    gap_frames: int = 0
    #: The metrics that are collected, as a regular expression; None where none are.
    metrics: str | None = None
    #: Rows of the dataset of metrics, and those added this time.
    metric_rows: int = 0
    new_metric_rows: int = 0
    #: Folders that say the seed of another one, and count as a further seed.
    repeats: list[Repeat] = field(default_factory=list)
    #: Folders that name no run, and logs that could not be read, with the reason.
    unusable: list[str] = field(default_factory=list)
    #: Whether the dataset changed.
    is_changed: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def collect(
    paths: Sequence[Path],
    store: Path,
    *,
    suite: str | None = None,
    numbers_repeats: bool | None = None,
    metrics: str | None = None,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> Summary:
    """Bring the dataset of `store` up to date with every log below `paths`.

    Args:
        paths: Sweep roots or folders of DreamerV3 logs; the store then holds exactly their runs.
        store: Where `scores/`, `runs.parquet` and `faults.parquet` go; for a sweep root, the root itself.
        suite: The suite of folders that dreamsweep did not launch. None for what the last collection was told, an empty
            one to tell it from each folder.
        numbers_repeats: As in `discover`; None for what the last collection was told.
        metrics: A regular expression; the values of metrics.jsonl whose names it matches as a whole go to `metrics/`.
            None for what the last collection took, an empty one for no metrics any more.
        progress: Called now and then with the bytes read and the bytes to read.
        spread: Reads the logs elsewhere; None for threads of this process.

    Raises:
        LogError: a path is missing, is no folder or holds no log, or the store is damaged or cannot be written.
        ConfigError: `metrics` is no regular expression.
    """
    held = Store(store)
    _check(metrics)
    keep_freed()
    with held.locked(with_metrics=bool(metrics)):
        collection = Collection(
            held, suite=suite, numbers_repeats=numbers_repeats, metrics=metrics, progress=progress, spread=spread
        )
        try:
            return collection.run(list(paths))
        except (pa.ArrowInvalid, OSError) as error:
            # Whichever of the many files of the published generation it was.
            raise (damaged(held.collected, error) if is_damage(error) else error) from None


@dataclass(frozen=True, slots=True)
class _Part:
    """The progress of one dataset within the whole."""

    progress: Progress
    before: int
    total: int

    def __call__(self, done: int) -> None:
        self.progress(self.before + done, self.total)


class Collection:
    """One collection, from the published generation to the next."""

    def __init__(
        self,
        store: Store,
        *,
        suite: str | None = None,
        numbers_repeats: bool | None = None,
        metrics: str | None = None,
        progress: Progress | None = None,
        spread: Spread | None = None,
    ) -> None:
        self._store = store
        self._progress = progress or (lambda _done, _total: None)
        self._spread = spread
        self._summary = Summary(store=str(store.path))
        state = _load(store.current())
        if state is None:
            self._summary.unusable.append(
                f"The state of the dataset in {store.path} is of another version of dreamsweep: all logs are read "
                f"again. What was imported is to be imported again."
            )
        self._before = StoreState() if state is None else state
        # The files of a dataset whose state cannot be read are not carried over: everything is read again.
        self._earlier = store.current() if self._before.runs else None
        self._after = StoreState(
            suite=self._before.suite if suite is None else suite or None,
            numbers_repeats=self._before.numbers_repeats if numbers_repeats is None else numbers_repeats,
            metrics=self._before.metrics if metrics is None else metrics or None,
        )
        self._scores = Update(SCORE_ROWS, self._before.runs, self._earlier)
        self._metrics: Update | None = None
        if self._after.metrics is not None:
            is_same = self._after.metrics == self._before.metrics
            self._metrics = Update(
                METRIC_ROWS, self._before.metric_runs if is_same else {}, self._earlier if is_same else None
            )

    @property
    def _updates(self) -> list[Update]:
        return [self._scores] if self._metrics is None else [self._scores, self._metrics]

    def run(self, paths: list[Path]) -> Summary:
        found = self._discover(paths)
        for log in found.runs:
            self._scores.see(log, is_to_be_read_anew=self._loses_lengths(log))
            if self._metrics is not None and self._after.metrics is not None:
                self._metrics.see(log.of_metrics(self._after.metrics))
        for update in self._updates:
            update.settle(found.unreadable)
        is_first = self._store.current() is None or self._after.metrics != self._before.metrics
        if self._after.metrics != self._before.metrics:
            self._read_hidden_anew({log.card.run for log in found.runs})
        self._finish(is_needed=is_first or any(update.is_needed for update in self._updates))
        return self._summed(found)

    def _read_hidden_anew(self, seen: Set[str]) -> None:
        """Runs in folders that cannot be looked at now may have lengths of the metrics that are no longer taken."""
        for key, state in self._scores.after.items():
            if key not in seen and not state.is_reference:
                self._scores.after[key] = replace(state, log_stamp=None)

    def _loses_lengths(self, log: RunLog) -> bool:
        """Whether a run's lengths came from metrics and no longer do."""
        before = self._before.metric_runs.get(log.card.run)
        if before is None or before.log is None or not has_lengths(self._before.metrics):
            return False
        return log.metrics is None or not has_lengths(self._after.metrics)

    def add(self, plans: list[Plan]) -> Summary:
        """Put runs beside those that are there, which stay as they are."""
        for update in self._updates:
            update.after.update(update.before)
        for plan in plans:
            before = self._before.runs.get(plan.state.key)
            if before is not None and not before.is_reference:
                raise LogError(taken(plan.state, before))
            self._scores.add(plan)
        self._finish(is_needed=True)
        return self._summed(Discovery())

    def _finish(self, *, is_needed: bool) -> None:
        self._after.runs = self._scores.after
        self._after.metric_runs = self._metrics.after if self._metrics is not None else {}
        self._store.check_is_ours(with_metrics=self._metrics is not None)
        if not is_needed:
            self._store.show()
            return
        generation = self._store.begin()
        try:
            with Syncs() as syncs, FaultSpool(generation.path / "faults.waiting") as faults:
                self._write(generation, syncs, faults)
                self._store.publish(generation, syncs)
        except BaseException:
            self._store.discard(generation)
            raise
        self._summary.is_changed = True

    def _discover(self, paths: list[Path]) -> Discovery:
        known = {}
        # A numbered card does not say what its folder does.
        is_numbered = self._before.numbers_repeats or self._after.numbers_repeats
        if self._before.suite == self._after.suite and not is_numbered:
            states = (state for state in self._before.runs.values() if not state.is_reference)
            known = {state.folder: (state.card_stamp, state.card) for state in states}
        found = discover(
            paths,
            suite=self._after.suite,
            known=known,
            with_metrics=self._metrics is not None,
            numbers_repeats=self._after.numbers_repeats,
        )
        if not found.runs and not found.unreadable and not any(SweepRoot(path).config.exists() for path in paths):
            raise LogError(_nothing_found(paths, found.unusable))
        return found

    def _write(self, generation: Generation, syncs: Syncs, faults: FaultSpool) -> None:
        if self._metrics is None:  # there may be some from an earlier generation
            folder = generation.folder(METRIC_ROWS)
            if folder.exists():
                remove_folder(folder)
        total, before = sum(update.bytes for update in self._updates), 0
        spread = self._spread or (read_here if total > _FEW_BYTES else read_in_turn)
        for update in reversed(self._updates):
            if update is self._scores and self._metrics is not None and has_lengths(self._after.metrics):
                folder = generation.folder(METRIC_ROWS)
                runs = frozenset(run for run, state in self._metrics.after.items() if state.log is not None)
                update.amend(LengthSource(folder, runs, self._metrics.changed_lengths))
            update.write(generation, syncs, faults, spread, _Part(self._progress, before, total))
            before += update.bytes
        for state in self._after.runs.values():
            state.dropped = sum(segment.rows for segment in state.segments) - state.rows
        faults.write(
            generation.faults_table,
            earlier=self._earlier.faults_table if self._earlier else None,
            alive=self._alive(),
        )
        write_table(runs_table(self._after.runs.values()), generation.runs_table)
        generation.state.write_bytes(self._after.encoded())

    def _alive(self) -> set[tuple[str, str]] | None:
        """The logs whose published bad lines stay; None for all."""
        if self._after.metrics == self._before.metrics and not any(each.gone or each.anew for each in self._updates):
            return None
        return {
            (as_kept(key), as_kept(update.after[key].file))
            for update in self._updates
            for key in update.before.keys() & update.after.keys() - update.anew
            if update.after[key].faults
        }

    def _summed(self, found: Discovery) -> Summary:
        """Fill in what holds for all runs together."""
        summary, states = self._summary, list(self._after.runs.values())
        summary.runs = len(states)
        summary.runs_read, summary.new_rows = self._scores.runs_read, self._scores.new_rows
        summary.bytes_read = sum(update.bytes_read for update in self._updates)
        summary.rows = sum(state.rows for state in states)
        summary.dropped = sum(state.dropped for state in states)
        summary.non_finite = sum(state.non_finite for state in states)
        scoreless = [state for state in states if state.state == "finished" and not state.rows and not state.dropped]
        summary.scoreless = len(scoreless)
        summary.scoreless_runs = [ScorelessRun.of(state) for state in scoreless[:_LISTED_FILES]]
        summary.pending_bytes = sum(state.pending_bytes for state in states)
        summary.gap_frames = sum(gap_frames(state.segments) for state in states)
        if self._metrics is not None:
            summary.metrics = self._after.metrics
            summary.metric_rows = sum(state.rows for state in self._metrics.after.values())
            summary.new_metric_rows = self._metrics.new_rows
        faulty = [state for update in self._updates for state in update.after.values() if state.faults]
        faulty.sort(key=lambda each: (-sum(each.faults.values()), each.key, each.log or ""))
        summary.faults = dict(sorted(sum((Counter(state.faults) for state in faulty), Counter()).items()))
        summary.faulty_files = [
            FaultyFile(run=state.key, path=state.file, kinds=state.faults) for state in faulty[:_LISTED_FILES]
        ]
        summary.repeats = found.repeats
        summary.unusable += [reason for update in self._updates for reason in update.unread]
        summary.unusable += [each.reason for each in (*found.unusable, *found.unreadable)]
        return summary


def _check(metrics: str | None) -> None:
    try:
        re.compile(metrics or "")
    except re.error as error:
        raise ConfigError(
            f"metrics is {metrics!r}, which is no regular expression: {error}. Expected one such as 'train/.*|fps/.*'."
        ) from None


def _load(generation: Generation | None) -> StoreState | None:
    """The state of a generation; None where it cannot be read."""
    if generation is None:
        return StoreState()
    try:
        return StoreState.decoded(generation.state.read_bytes())
    except FileNotFoundError:
        return None


def _nothing_found(paths: Sequence[Path], unusable: Sequence[Unusable]) -> str:
    places = ", ".join(str(path) for path in paths)
    reasons = "".join(f" {each.reason}" for each in unusable[:3])
    return (
        f"No run was found below {places}. Expected folders with a scores.jsonl, laid out as task/method/seed/ or "
        f"time-task-method-seed/, or a sweep root.{reasons}"
    )
