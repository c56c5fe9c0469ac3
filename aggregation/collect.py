"""Collects logs into a store: finds the runs, reads what is new, and publishes the next generation of the dataset.

Safe while the logs grow and however often it is stopped: readers see the earlier generation or the next.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Self

from aggregation.dataset import Partition, partition_folder, write_empty
from aggregation.discover import Discovery, RunLog, Unusable, discover
from aggregation.record import Fault
from aggregation.run_files import read_attempts, run_seams
from aggregation.run_reader import Reading, ReadTask, fault_counts, fingerprint, read_run
from aggregation.seams import Seam, cuts, gap_frames
from aggregation.state import RunState, StoreState
from aggregation.store import Generation, Store, link_or_copy
from aggregation.tables import faults_table, read_table, runs_table, write_table
from sweeps.contracts import Attempt
from sweeps.errors import LogError

_log = logging.getLogger(__name__)

#: Told the bytes read so far and the bytes to read.
Progress = Callable[[int, int], None]
#: Applies a function to each task, here or elsewhere, and yields the results in the order of the tasks.
Spread = Callable[[Callable[[ReadTask], "Reading | Unread"], Iterable[ReadTask]], Iterator["Reading | Unread"]]
_READERS_PER_CORE = 1
_LISTED_FILES = 20


@dataclass(frozen=True, slots=True)
class Unread:
    """A log that could not be opened or read."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultyFile:
    """The bad lines of one file, by kind."""

    run: str
    path: str
    kinds: dict[str, int]


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
    #: Bad lines by kind.
    faults: dict[str, int] = field(default_factory=dict)
    #: Those with most bad lines first; every bad line is in faults.parquet.
    faulty_files: list[FaultyFile] = field(default_factory=list)
    #: Bytes behind the last newline of logs that may still grow.
    pending_bytes: int = 0
    gap_frames: int = 0
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
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> Summary:
    """Bring the dataset of `store` up to date with every log below `paths`.

    Args:
        paths: Sweep roots or folders of DreamerV3 logs; the store then holds exactly their runs.
        store: Where `scores/`, `runs.parquet` and `faults.parquet` go; for a sweep root, the root itself.
        suite: The suite of folders that dreamsweep did not launch; None to tell it from each folder.
        progress: Called now and then with the bytes read and the bytes to read.
        spread: Reads the logs elsewhere; None for threads of this process.

    Raises:
        LogError: a path is missing, is no folder or holds no log, or the store cannot be written.
    """
    held = Store(store)
    with held.locked():
        collection = Collection(held, suite=suite, progress=progress, spread=spread or read_here)
        return collection.run(list(paths))


def read_here(
    function: Callable[[ReadTask], Reading | Unread], tasks: Iterable[ReadTask]
) -> Iterator[Reading | Unread]:
    """Read with a few threads of this process, never more than a few logs ahead."""
    readers = max(len(os.sched_getaffinity(0)) * _READERS_PER_CORE, 1)
    remaining = iter(tasks)
    with ThreadPoolExecutor(readers) as pool:
        ahead: list[Future[Reading | Unread]] = [pool.submit(function, task) for task in islice(remaining, readers + 1)]
        while ahead:
            reading = ahead.pop(0).result()
            ahead += [pool.submit(function, task) for task in islice(remaining, 1)]
            yield reading


def read_or_tell(task: ReadTask) -> Reading | Unread:
    """Read one run; a log that cannot be read is told, since it must not end the collection of the others."""
    try:
        return read_run(task)
    except OSError as error:
        return Unread(f"{task.path} cannot be read: {error.strerror or error}.")


@dataclass(slots=True, kw_only=True)
class Plan:
    """What is to be done for one run."""

    state: RunState
    #: None where nothing but its figures changed.
    task: ReadTask | None
    #: Its earlier rows all go.
    is_anew: bool
    bytes: int

    @classmethod
    def of_reference(cls, state: RunState) -> Self:
        """A run whose rows are at hand; nothing is read for it."""
        task = ReadTask(path=state.path, form=state.card.form, seams=None)
        return cls(state=state, task=task, is_anew=True, bytes=0)


class Collection:
    """One collection, from the published generation to the next."""

    def __init__(
        self, store: Store, *, spread: Spread, suite: str | None = None, progress: Progress | None = None
    ) -> None:
        self._store = store
        self._suite = suite
        self._progress = progress or (lambda _done, _total: None)
        self._spread = spread
        self._before = _load(store.current())
        # The files of a dataset whose state cannot be read are not carried over: everything is read again.
        self._earlier = store.current() if self._before.runs else None
        self._after = StoreState(suite)
        self._faults: dict[str, list[Fault]] = {}
        self._summary = Summary(store=str(store.path))

    def run(self, paths: list[Path]) -> Summary:
        found = self._discover(paths)
        plans = [self._plan(log) for log in found.runs]
        gone = self._gone(found)
        changed = [plan for plan in plans if plan is not None]
        if changed or gone or self._store.current() is None:
            self._publish(changed, gone)
        return self._summed(found)

    def add(self, plans: list[Plan]) -> Summary:
        """Put runs beside those that are there, which stay as they are."""
        self._after.suite = self._before.suite
        self._after.runs = dict(self._before.runs)
        for plan in plans:
            before = self._before.runs.get(plan.state.key)
            if before is not None and not before.is_reference:
                raise LogError(_taken(plan.state, before))
            plan.is_anew = before is not None
            self._after.runs[plan.state.key] = plan.state
        self._publish(plans, [])
        return self._summed(Discovery())

    def _publish(self, plans: list[Plan], gone: list[RunState]) -> None:
        generation = self._store.begin()
        try:
            self._write(generation, plans, gone)
            self._store.publish(generation)
        except BaseException:
            self._store.discard(generation)
            raise
        self._summary.is_changed = True

    def _discover(self, paths: list[Path]) -> Discovery:
        known = {}
        if self._before.suite == self._suite:
            known = {state.folder: (state.card_stamp, state.card) for state in self._before.runs.values()}
        found = discover(paths, suite=self._suite, known=known)
        if not found.runs and not found.unreadable and not any((path / "sweep.yaml").exists() for path in paths):
            raise LogError(_nothing_found(paths, found.unusable))
        return found

    def _plan(self, log: RunLog) -> Plan | None:
        """What to do for a run; None where nothing changed, and its state is carried over."""
        key = str(log.card.key)
        before = self._before.runs.get(key)
        if before is not None and _is_same(before, log):
            self._after.runs[key] = before
            return None
        if before is not None and before.is_reference:
            raise LogError(_taken(before, before, folder=log.folder))
        attempts = read_attempts(log.attempts_path) if log.card.is_launched else []
        seams = run_seams(log.card, attempts) if log.card.is_launched else None
        is_over = log.is_done or bool(attempts and attempts[-1].ended_at is not None)
        goes_on = before is not None and _goes_on(before, log, seams)
        state = RunState(
            card=log.card,
            folder=log.folder,
            log=log.log,
            card_stamp=log.card_stamp,
            log_stamp=log.log_stamp,
            attempts_stamp=log.attempts_stamp,
            is_done=log.is_done,
            seams=None if seams is None else [[seam.offset, seam.cut] for seam in seams],
            state=_state_name(log, attempts),
            attempts=len(attempts),
            seconds=sum((each.ended_at or each.started_at) - each.started_at for each in attempts),
        )
        if before is not None and goes_on:
            state.offset, state.lines, state.segments = before.offset, before.lines, before.segments
            state.rows, state.non_finite, state.faults = before.rows, before.non_finite, before.faults
            state.first_step, state.last_step = before.first_step, before.last_step
            state.fingerprint = before.fingerprint
        self._after.runs[key] = state
        task = None
        size = 0
        if log.log is not None:
            task = ReadTask(
                path=log.log_path,
                form=log.card.form,
                seams=None if seams is None else tuple(seams),
                segments=tuple(state.segments),
                offset=state.offset,
                lines=state.lines,
                is_over=is_over,
            )
            size = max((log.log_stamp.size if log.log_stamp else 0) - state.offset, 0)
        return Plan(state=state, task=task, is_anew=before is not None and not goes_on, bytes=size)

    def _gone(self, found: Discovery) -> list[RunState]:
        """Runs of the earlier dataset that are no longer there; references and what lies in unreadable folders stay."""
        gone = []
        for key, state in self._before.runs.items():
            if key in self._after.runs:
                continue
            hidden = any(Path(state.folder).is_relative_to(folder.folder) for folder in found.unreadable)
            if state.is_reference or hidden:
                self._after.runs[key] = state
            else:
                gone.append(state)
        return gone

    def _write(self, generation: Generation, plans: list[Plan], gone: list[RunState]) -> None:
        total = sum(plan.bytes for plan in plans)
        done = 0
        plans.sort(key=lambda plan: (plan.state.partition, plan.state.key))
        readings = self._spread(read_or_tell, [plan.task for plan in plans if plan.task is not None])
        groups = {partition: list(group) for partition, group in groupby(plans, key=lambda plan: plan.state.partition)}
        leaving: dict[tuple[str, str], set[str]] = {}
        for state in (*gone, *(self._before.runs[plan.state.key] for plan in plans if plan.is_anew)):
            leaving.setdefault(state.partition, set()).add(state.key)
        touched = sorted(groups.keys() | leaving.keys())
        self._carry(generation, set(touched))
        for partition in touched:
            folder = partition_folder(*partition)
            earlier = self._earlier.scores / folder if self._earlier else None
            files = Partition(
                earlier=earlier if earlier is not None and earlier.is_dir() else None,
                target=generation.scores / folder,
                number=generation.number,
                gone=frozenset(leaving.get(partition, ())),
            )
            rules: dict[str, dict[int, int]] = {}
            for plan in groups.get(partition, []):
                if plan.task is None:
                    continue
                self._summary.runs_read += 1
                reading = next(readings)
                while True:
                    self._take(plan, reading, files, rules)
                    done += plan.bytes if isinstance(reading, Unread) or not reading.has_more else 0
                    self._progress(done, total)
                    if isinstance(reading, Unread) or not reading.has_more:
                        break
                    reading = read_or_tell(_next_slice(plan.task, reading))
            for run, kept in files.close(rules).items():
                state = self._after.runs[run]
                state.rows, state.non_finite = kept.rows, kept.non_finite
                state.first_step, state.last_step = kept.first_step, kept.last_step
        for state in self._after.runs.values():
            state.dropped = sum(segment.rows for segment in state.segments) - state.rows
        self._write_tables(generation, {plan.state.key for plan in plans if plan.is_anew})

    def _take(self, plan: Plan, reading: Reading | Unread, files: Partition, rules: dict[str, dict[int, int]]) -> None:
        """Put one reading of a run into its partition and its state."""
        state = plan.state
        if isinstance(reading, Unread):
            self._summary.unusable.append(reading.reason)
            state.log_stamp = None  # so that the next collection tries again
            return
        files.append(state.card, reading)
        limits = cuts(reading.segments)
        before = cuts(state.segments)
        for each in state.segments:
            if limits[each.attempt] < before[each.attempt] and limits[each.attempt] <= each.max_step:
                rules[state.key] = limits
        self._summary.new_rows += len(reading.steps)
        self._summary.bytes_read += reading.place.offset - state.offset
        state.segments = reading.segments
        state.rows += len(reading.steps)
        state.non_finite += reading.non_finite
        state.offset, state.lines = reading.place.offset, reading.place.lines
        state.pending_bytes, state.took_tail = reading.place.pending_bytes, reading.place.took_tail
        state.fingerprint = reading.fingerprint
        state.faults = dict(Counter(state.faults) + Counter(fault_counts(reading.faults)))
        self._faults.setdefault(state.key, []).extend(reading.faults)
        if len(reading.steps):
            low, high = int(reading.steps.min()), int(reading.steps.max())
            state.first_step = low if state.first_step is None else min(low, state.first_step)
            state.last_step = high if state.last_step is None else max(high, state.last_step)

    def _carry(self, generation: Generation, touched: set[tuple[str, str]]) -> None:
        """Take the files of untouched partitions over into the new generation."""
        if self._earlier is None:
            return
        folders = {partition_folder(*state.partition) for state in self._after.runs.values()}
        for folder in sorted(folders - {partition_folder(*partition) for partition in touched}):
            if not (self._earlier.scores / folder).is_dir():
                continue
            (generation.scores / folder).mkdir(parents=True)
            for path in (self._earlier.scores / folder).glob("part-*.parquet"):
                link_or_copy(path, generation.scores / folder / path.name)

    def _write_tables(self, generation: Generation, anew: set[str]) -> None:
        if next(generation.scores.rglob("*.parquet"), None) is None:
            write_empty(generation.scores)
        earlier = self._earlier.faults_table if self._earlier else None
        table = faults_table(
            read_table(earlier) if earlier and earlier.exists() else None,
            self._after.runs,
            {run: faults for run, faults in self._faults.items() if faults},
            anew,
        )
        write_table(table, generation.faults_table)
        write_table(runs_table(self._after.runs.values()), generation.runs_table)
        generation.state.write_text(self._after.to_text(), encoding="utf-8")

    def _summed(self, found: Discovery) -> Summary:
        """Fill in what holds for all runs together."""
        summary, states = self._summary, list(self._after.runs.values())
        summary.runs = len(states)
        summary.rows = sum(state.rows for state in states)
        summary.dropped = sum(state.dropped for state in states)
        summary.non_finite = sum(state.non_finite for state in states)
        summary.pending_bytes = sum(state.pending_bytes for state in states)
        summary.gap_frames = sum(gap_frames(state.segments) for state in states)
        summary.faults = dict(sorted(sum((Counter(state.faults) for state in states), Counter()).items()))
        faulty = [state for state in states if state.faults]
        faulty.sort(key=lambda each: (-sum(each.faults.values()), each.key))
        summary.faulty_files = [
            FaultyFile(run=state.key, path=str(state.path), kinds=state.faults) for state in faulty[:_LISTED_FILES]
        ]
        summary.unusable += [each.reason for each in (*found.unusable, *found.unreadable)]
        for reason in summary.unusable:
            _log.warning("%s", reason)
        return summary


def _load(generation: Generation | None) -> StoreState:
    if generation is None or not generation.state.exists():
        return StoreState()
    return StoreState.from_text(generation.state.read_text("utf-8"))


def _is_same(before: RunState, log: RunLog) -> bool:
    """Whether nothing about a run changed since the last collection."""
    return (
        before.card == log.card
        and before.folder == log.folder
        and before.log == log.log
        and before.log_stamp == log.log_stamp
        and before.attempts_stamp == log.attempts_stamp
        and before.is_done == log.is_done
    )


def _goes_on(before: RunState, log: RunLog, seams: list[Seam] | None) -> bool:
    """Whether the log has only grown since, so that it can be read from where the last good line ended."""
    if before.card != log.card or before.folder != log.folder or before.log != log.log or before.took_tail:
        return False
    if log.log is None or before.log_stamp is None or log.log_stamp is None:
        return log.log is None and before.log is None
    if log.log_path.suffix in (".gz", ".zst"):
        return before.log_stamp == log.log_stamp and _applied(before, seams)
    if before.log_stamp.inode != log.log_stamp.inode or log.log_stamp.size < before.offset + before.pending_bytes:
        return False
    if before.log_stamp != log.log_stamp and log.log_stamp.size == before.log_stamp.size:
        return False  # written in place
    try:
        return _applied(before, seams) and fingerprint(log.log_path, before.offset) == before.fingerprint
    except OSError:
        return True  # the reading will tell


def _applied(before: RunState, seams: list[Seam] | None) -> bool:
    """Whether the seams that were applied still hold, and the new ones all lie in what is yet to be read."""
    if seams is None or before.seams is None:
        return seams is None and before.seams is None
    now = [[seam.offset, seam.cut] for seam in seams]
    count = len(before.seams)
    return now[:count] == before.seams and all(seam.offset >= before.offset for seam in seams[count:])


def _state_name(log: RunLog, attempts: Sequence[Attempt]) -> str:
    if not log.card.is_launched:
        return "unknown"
    if log.is_done:
        return "finished"
    if not attempts:
        return "planned"
    return attempts[-1].outcome or "running"


def _next_slice(task: ReadTask, reading: Reading) -> ReadTask:
    return replace(task, segments=tuple(reading.segments), offset=reading.place.offset, lines=reading.place.lines)


def _taken(reference: RunState, other: RunState, *, folder: str = "") -> str:
    return (
        f"The run {reference.key!r} of {reference.path} is also the run of {folder or other.folder}; expected names of "
        f"their own for both. Import the score file under another label."
    )


def _nothing_found(paths: Sequence[Path], unusable: Sequence[Unusable]) -> str:
    places = ", ".join(str(path) for path in paths)
    reasons = "".join(f" {each.reason}" for each in unusable[:3])
    return (
        f"No run was found below {places}. Expected folders with a scores.jsonl, laid out as task/method/seed/ or "
        f"time-task-method-seed/, or a sweep root.{reasons}"
    )
