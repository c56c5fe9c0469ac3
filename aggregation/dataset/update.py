"""Brings one dataset of a store from the published generation to the next: which runs changed, and their new rows."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import Self

from aggregation.dataset.closer import Closer
from aggregation.dataset.fault_spool import FaultSpool
from aggregation.dataset.lengths import LENGTH, LengthSource
from aggregation.dataset.mirror import lay_out, mirror
from aggregation.dataset.partition import Kept, Partition, partition_folder, write_empty
from aggregation.dataset.partition_files import Marks, parts
from aggregation.dataset.schema import Dataset
from aggregation.dataset.state import RunState
from aggregation.dataset.store import Generation, Syncs
from aggregation.logs.discover import RunLog, Unusable
from aggregation.logs.run_files import read_attempts, run_seams
from aggregation.logs.run_reader import Reading, ReadTask, fault_counts, fingerprint, is_packed
from aggregation.logs.seams import NO_CUT, Seam, cuts
from aggregation.logs.spread import Spread, Unread, batches, read_batch
from sweeps.contracts import Attempt
from sweeps.errors import LogError


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


class Update:
    """One dataset on its way to the next generation.

    Args:
        dataset: Which one.
        before: Its runs in the published generation, by key.
        earlier: That generation; None where its files are not to be used.
    """

    def __init__(self, dataset: Dataset, before: Mapping[str, RunState], earlier: Generation | None) -> None:
        self.dataset = dataset
        self.before = before
        #: Its runs in the next generation, by key.
        self.after: dict[str, RunState] = {}
        self.plans: list[Plan] = []
        self.gone: list[RunState] = []
        #: Why logs could not be read.
        self.unread: list[str] = []
        self.runs_read = self.bytes_read = self.new_rows = 0
        #: Of metrics, by run: the step from which its episode lengths may differ.
        self.changed_lengths: dict[str, int] = {}
        self._earlier = earlier.folder(dataset) if earlier is not None else None
        self._lengths: LengthSource | None = None
        self._amended: dict[str, int] = {}

    @property
    def is_needed(self) -> bool:
        """Whether the next generation differs."""
        return bool(self.plans or self.gone)

    @property
    def bytes(self) -> int:
        """Bytes to read."""
        return sum(plan.bytes for plan in self.plans)

    @property
    def anew(self) -> set[str]:
        """Runs whose earlier rows all went."""
        return {plan.state.key for plan in self.plans if plan.is_anew}

    def add(self, plan: Plan) -> None:
        """Put a run beside those that are there."""
        plan.is_anew = plan.state.key in self.before
        self.after[plan.state.key] = plan.state
        self.plans.append(plan)

    def see(self, log: RunLog, *, is_to_be_read_anew: bool = False) -> None:
        """Decide what to do for a run that was found; where nothing changed, its state is carried over."""
        key = log.card.run
        before = self.before.get(key)
        if before is not None and not is_to_be_read_anew and _is_same(before, log):
            self.after[key] = before
            return
        if before is not None and before.is_reference:
            raise LogError(taken(before, before, folder=log.folder))
        attempts = read_attempts(log.attempts_path) if log.card.is_launched else []
        seams = run_seams(log.card, attempts) if log.card.is_launched else None
        is_over = log.is_done or bool(attempts and attempts[-1].ended_at is not None)
        path = log.log_path
        goes_on = before is not None and not is_to_be_read_anew and _goes_on(before, log, path, seams)
        if not goes_on:
            self.changed_lengths[key] = 0
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
            state.offset, state.lines, state.in_line = before.offset, before.lines, before.in_line
            state.segments = before.segments
            state.rows, state.non_finite, state.faults = before.rows, before.non_finite, before.faults
            state.first_step, state.last_step = before.first_step, before.last_step
            state.fingerprint = before.fingerprint
        self.after[key] = state
        task = None
        size = 0
        if log.log is not None:
            task = ReadTask(
                path=path,
                form=log.card.form,
                seams=None if seams is None else tuple(seams),
                segments=tuple(state.segments),
                offset=state.offset,
                lines=state.lines,
                in_line=state.in_line,
                is_over=is_over,
            )
            size = max((log.log_stamp.size if log.log_stamp else 0) - state.offset, 0)
        is_anew = before is not None and not goes_on
        self.plans.append(Plan(state=state, task=task, is_anew=is_anew, bytes=size))

    def settle(self, unreadable: Sequence[Unusable]) -> None:
        """Tell the runs that are no longer there; references and what lies in unreadable folders stay."""
        for key, state in self.before.items():
            if key in self.after:
                continue
            hidden = any(Path(state.folder).is_relative_to(folder.folder) for folder in unreadable)
            if state.is_reference or hidden:
                self.after[key] = state
            else:
                self.gone.append(state)

    def amend(self, lengths: LengthSource) -> None:
        """Let lengths be those of the metrics, and look at published rows again where they may have changed."""
        self._lengths = lengths
        planned = {plan.state.key for plan in self.plans}
        for run in sorted(lengths.changed.keys() & lengths.runs & self.after.keys()):
            state = self.after[run]
            if state.last_step is None or lengths.changed[run] > state.last_step:
                continue  # no row but new ones, which get their lengths as they come
            if run not in planned:
                state = self.after[run] = replace(state)
                self.plans.append(Plan(state=state, task=None, is_anew=False, bytes=0))
            self._amended[run] = lengths.changed[run]

    def write(
        self,
        generation: Generation,
        syncs: Syncs,
        faults: FaultSpool,
        spread: Spread,
        progress: Callable[[int], None],
    ) -> None:
        """Write the dataset of the next generation.

        Args:
            generation: Where to.
            syncs: Makes the files durable.
            faults: Takes the bad lines.
            spread: Reads the logs.
            progress: Called with the bytes of this dataset's logs that were read.
        """
        done = 0
        target = generation.folder(self.dataset)
        self.plans.sort(key=lambda plan: (plan.state.partition, plan.state.key))
        read = [(plan.task, plan.bytes) for plan in self.plans if plan.task is not None]
        pieces = batches([task for task, _ in read], [size for _, size in read])
        groups = {
            partition: list(group) for partition, group in groupby(self.plans, key=lambda plan: plan.state.partition)
        }
        leaving: dict[tuple[str, str], set[str]] = {}
        for state in (*self.gone, *(self.before[plan.state.key] for plan in self.plans if plan.is_anew)):
            leaving.setdefault(state.partition, set()).add(state.key)
        touched = sorted(groups.keys() | leaving.keys())
        self._lay_out(target, set(touched), syncs)
        readings = chain.from_iterable(spread(read_batch, pieces))
        with Closer(self._leave) as closer:
            for partition in touched:
                folder = partition_folder(*partition)
                files = Partition(
                    self.dataset,
                    earlier=self._earlier / folder if self._earlier else None,
                    target=target / folder,
                    number=generation.number,
                    syncs=syncs,
                    gone=frozenset(leaving.get(partition, ())),
                    lengths=self._lengths.of(folder) if self._lengths is not None else None,
                    amended={
                        plan.state.key: self._amended[plan.state.key]
                        for plan in groups.get(partition, [])
                        if plan.state.key in self._amended
                    },
                )
                rules: dict[str, dict[int, int]] = {}
                for plan in groups.get(partition, []):
                    if plan.task is None:
                        continue
                    self.runs_read += 1
                    reading = next(readings)
                    while True:
                        self._take(plan, reading, files, rules)
                        if isinstance(reading, Reading) and reading.faults:
                            faults.add((plan.state.key, plan.state.file), reading.faults)
                        done += plan.bytes if isinstance(reading, Unread) or not reading.has_more else 0
                        progress(done)
                        if isinstance(reading, Unread) or not reading.has_more:
                            break
                        # Where the first slice was read, since the log may lie nowhere else.
                        [[reading]] = spread(read_batch, [(_next_slice(plan.task, reading),)])
                closer.add(files, rules)
        if next(target.rglob("*.parquet"), None) is None:
            write_empty(self.dataset, target, syncs)

    def _leave(self, left: Mapping[str, Kept]) -> None:
        """Note what is left of runs that lost rows."""
        for run, kept in left.items():
            state = self.after[run]
            state.rows, state.non_finite = kept.rows, kept.non_finite
            state.first_step, state.last_step = kept.first_step, kept.last_step

    def _take(self, plan: Plan, reading: Reading | Unread, files: Partition, rules: dict[str, dict[int, int]]) -> None:
        """Put one reading of a run into its partition and its state."""
        state = plan.state
        if isinstance(reading, Unread):
            self.unread.append(reading.reason)
            state.log_stamp = None  # so that the next collection tries again
            return
        files.append(state.card, reading, has_metrics=self._lengths is not None and state.key in self._lengths.runs)
        if len(reading.segments) > 1:
            limits, before = cuts(reading.segments), cuts(state.segments)
            for each in state.segments:
                if limits[each.attempt] < before[each.attempt] and limits[each.attempt] <= each.max_step:
                    rules[state.key] = limits
                    self._note_lengths(state.key, limits[each.attempt])
        if LENGTH in reading.names:
            steps = reading.steps[reading.name_index == reading.names.index(LENGTH)]
            self._note_lengths(state.key, int(steps.min(initial=NO_CUT)))
        self.new_rows += len(reading.steps)
        self.bytes_read += reading.place.offset - state.offset
        state.segments = reading.segments
        state.rows += len(reading.steps)
        state.non_finite += reading.non_finite
        state.offset, state.lines, state.in_line = reading.place.offset, reading.place.lines, reading.place.in_line
        state.pending_bytes, state.took_tail = reading.place.pending_bytes, reading.place.took_tail
        state.fingerprint = reading.fingerprint
        if reading.faults:
            state.faults = dict(Counter(state.faults) + Counter(fault_counts(reading.faults)))
        if len(reading.steps):
            low, high = int(reading.steps.min()), int(reading.steps.max())
            state.first_step = low if state.first_step is None else min(low, state.first_step)
            state.last_step = high if state.last_step is None else max(high, state.last_step)

    def _note_lengths(self, run: str, step: int) -> None:
        self.changed_lengths[run] = min(self.changed_lengths.get(run, NO_CUT), step)

    def _lay_out(self, target: Path, touched: set[tuple[str, str]], syncs: Syncs) -> None:
        """Make the folders of all partitions, and take the files of untouched ones over into the new generation."""
        folders = {partition_folder(*partition) for partition in touched}
        carried: dict[Path, Marks] = {}
        if self._earlier is not None:
            others = {partition_folder(*state.partition) for state in self.after.values()} - folders
            carried = {folder: files for folder in sorted(others) if (files := parts(self._earlier / folder))}
        lay_out(target, {str(folder) for folder in (*folders, *carried)})
        for folder, files in carried.items():
            mirror(self._earlier and self._earlier / folder, files, target / folder, syncs)


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


def _goes_on(before: RunState, log: RunLog, path: Path, seams: list[Seam] | None) -> bool:
    """Whether the log has only grown since, so that it can be read from where the last good line ended."""
    if before.card != log.card or before.folder != log.folder or before.log != log.log or before.took_tail:
        return False
    if log.log is None or before.log_stamp is None or log.log_stamp is None:
        return log.log is None and before.log is None
    if is_packed(path):
        return before.log_stamp == log.log_stamp and _applied(before, seams)
    if before.log_stamp.inode != log.log_stamp.inode or log.log_stamp.size < before.offset + before.pending_bytes:
        return False
    if before.log_stamp != log.log_stamp and log.log_stamp.size == before.log_stamp.size:
        return False  # written in place
    try:
        if not _applied(before, seams) or fingerprint(path, before.offset) != before.fingerprint:
            return False
        return not before.in_line or _ends_line(path, before.offset)
    except OSError:
        return True  # the reading will tell


def _ends_line(path: Path, offset: int) -> bool:
    """Whether the newline stands at `offset`, or nothing yet."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(2).removeprefix(b"\r")[:1] in (b"\n", b"")


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
    place = reading.place
    return replace(
        task, segments=tuple(reading.segments), offset=place.offset, lines=place.lines, in_line=place.in_line
    )


def taken(reference: RunState, other: RunState, *, folder: str = "") -> str:
    return (
        f"The run {reference.key!r} of {reference.path} is also the run of {folder or other.folder}; expected names of "
        f"their own for both. Import the score file under another label."
    )
