"""Tells how the rows of one run came about: what each attempt logged, and what a later one made void, and why.

It reads the run's log once more, as far as the dataset has it, and writes nothing.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregation.dataset.state import RunState, StoreState
from aggregation.dataset.store import Store
from aggregation.logs.reader import Place, read_log
from aggregation.logs.run_files import read_attempts, run_seams
from aggregation.logs.seams import NO_CUT, Seam, Segment, SegmentTracker, gap_frames
from sweeps.errors import LogError, UnknownNameError

Ints = NDArray[np.int64]


@dataclass(slots=True, kw_only=True)
class Loss:
    """Rows of an earlier attempt that a seam made void. Steps are environment frames."""

    attempt: int
    rows: int = 0
    first_step: int | None = None
    last_step: int | None = None

    def add(self, steps: Ints) -> None:
        low, high = int(steps.min()), int(steps.max())
        self.rows += len(steps)
        self.first_step = low if self.first_step is None else min(self.first_step, low)
        self.last_step = high if self.last_step is None else max(self.last_step, high)


@dataclass(slots=True, kw_only=True)
class Stretch:
    """What one attempt logged, and the seam at its start. Steps are environment frames."""

    attempt: int
    #: Byte of the log at which it begins; None where it logged nothing.
    offset: int | None = None
    logged: int = 0
    kept: int = 0
    first_step: int | None = None
    last_step: int | None = None
    #: The checkpoint that it resumed from; None where there was none, or none is known.
    resumed_frame: int | None = None
    #: Rows of earlier attempts at or beyond this step are void.
    cut: int | None = None
    #: Frames between the end of the earlier log and the checkpoint.
    gap_frames: int = 0
    #: What its seam made void.
    dropped: list[Loss] = field(default_factory=list)
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One run, attempt by attempt."""

    run: str
    path: str
    state: str
    rows: int
    dropped: int
    faults: dict[str, int]
    #: Bytes of the log that the dataset has.
    bytes: int
    stretches: list[Stretch]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def explain(store: Path, run: str) -> Explanation:
    """Tell what of a run's log counts.

    Raises:
        LogError: nothing was collected into the store yet, or the log cannot be read any more.
        UnknownNameError: the dataset has no such run.
    """
    generation = Store(store).current()
    if generation is None:
        raise LogError(f"{store} holds no dataset yet; run `dreamsweep aggregate` on it first.")
    state = StoreState.decoded(generation.state.read_bytes())
    if state is None:
        raise LogError(f"{generation.state} is of another version of dreamsweep; run `dreamsweep aggregate` first.")
    if run not in state.runs:
        raise UnknownNameError("run", run, state.runs, where=str(store))
    return _explanation(state.runs[run])


def _explanation(state: RunState) -> Explanation:
    return Explanation(
        run=state.key,
        path=str(state.path),
        state=state.state,
        rows=state.rows,
        dropped=state.dropped,
        faults=dict(state.faults),
        bytes=state.offset,
        stretches=_stretches(state),
    )


def _stretches(state: RunState) -> list[Stretch]:
    if state.is_reference:
        rows = state.rows
        return [Stretch(attempt=1, logged=rows, kept=rows, why="Imported from a score file; nothing is dropped.")]
    seams = None
    if state.seams is not None:
        seams = run_seams(state.card, read_attempts(Path(state.folder) / "attempts.jsonl"))[: len(state.seams)]
    stretches = [
        Stretch(
            attempt=segment.attempt,
            first_step=segment.first_step,
            last_step=segment.last_step,
            resumed_frame=segment.resumed_frame,
            cut=segment.cut,
        )
        for segment in state.segments
    ]
    try:
        _count(stretches, state, seams)
    except OSError as error:
        raise LogError(f"{state.path} cannot be read: {error.strerror or error}. Collect again.") from None
    for number, stretch in enumerate(stretches):
        earlier = state.segments[: number + 1]
        stretch.gap_frames = gap_frames(earlier) - gap_frames(earlier[:-1])
        stretch.why = _why(stretch, state, is_first=not number)
    return stretches


def _count(stretches: Sequence[Stretch], state: RunState, seams: Sequence[Seam] | None) -> None:
    """Read the log and give each row to the stretch that keeps it, or to the seam that made it void."""
    tracker = SegmentTracker(seams)
    place = Place()
    losses: dict[tuple[int, int], Loss] = {}
    if state.log is None:
        return
    limits = _limits(state.segments)
    for block in read_log(state.path, state.card.form, place=place, is_over=state.took_tail):
        wanted = block.starts < state.offset if not state.took_tail else np.ones(len(block.starts), np.bool_)
        starts, steps = block.starts[wanted], block.steps[wanted]
        attempts = tracker.add(starts, steps)
        for number, stretch in enumerate(stretches):
            mine = attempts == stretch.attempt
            if not mine.any():
                continue
            if stretch.offset is None:
                stretch.offset = int(starts[np.argmax(mine)])
            stretch.logged += int(np.count_nonzero(mine))
            by = number + 1 + np.searchsorted(-limits[number], -steps[mine])  # the first later cut at or below the step
            stretch.kept += int(np.count_nonzero(by == len(stretches)))
            for later in np.unique(by[by < len(stretches)]).tolist():
                loss = losses.setdefault((later, number), Loss(attempt=stretch.attempt))
                loss.add(steps[mine][by == later])
        if not wanted.all():
            break
    for (later, _), loss in sorted(losses.items()):
        stretches[later].dropped.append(loss)


def _limits(segments: Sequence[Segment]) -> list[Ints]:
    """By segment, the lowest cut so far of each later one, descending, shape [later segments]."""
    given = np.array([NO_CUT if segment.cut is None else segment.cut for segment in segments], np.int64)
    return [np.minimum.accumulate(given[number + 1 :]) for number in range(len(segments))]


def _why(stretch: Stretch, state: RunState, *, is_first: bool) -> str:
    lost = sum(loss.rows for loss in stretch.dropped)
    result = f"{lost:,} earlier rows from there on are void." if lost else "No earlier row lies from there on."
    if is_first:
        return "The first attempt."
    if stretch.cut is None:
        return "It logged nothing, and no checkpoint tells where it resumed; nothing is void."
    if state.seams is None:
        return f"The step goes back to {stretch.cut:,}: a resume. {result}"
    if stretch.resumed_frame is not None:
        result = f"{lost:,} earlier rows beyond it are void." if lost else "No earlier row lies beyond it."
        gap = f" {stretch.gap_frames:,} frames before it were never logged." if stretch.gap_frames else ""
        return f"Resumed from the checkpoint at frame {stretch.resumed_frame:,}. {result}{gap}"
    if state.card.has_checkpoints:
        result = f"All {lost:,} earlier rows that still counted are void." if lost else "No earlier row was left."
        return f"It found no checkpoint and began from nothing. {result}"
    return f"Its checkpoints cannot be read, and its first row is at frame {stretch.cut:,}. {result}"
