"""Which rows survive resumes. Pure: arrays and the records of attempts in, cuts and counts out.

A segment is what one attempt logged. Where dreamsweep launched the run, attempts.jsonl says where each begins (in
bytes) and from which checkpoint it resumed; elsewhere a segment begins where the step goes backwards. The replayed
stretch supersedes the earlier one: each segment keeps the rows below its cut, which the later segments decide.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sweeps.contracts import Attempt

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: No row lies at or beyond it.
NO_CUT = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """The start of an attempt, as attempts.jsonl has it."""

    attempt: int
    #: Byte offset in the log: what lies before belongs to earlier attempts.
    offset: int
    #: Rows of earlier attempts at or beyond this step (environment frames) are void; None: beyond its own first step.
    cut: int | None
    #: Environment frame of the checkpoint; None for a start from nothing.
    resumed_frame: int | None


def known_seams(
    attempts: Sequence[Attempt], *, file: str, action_repeat: int, has_checkpoints: bool = True
) -> list[Seam]:
    """The seams of a run that dreamsweep launched, in the order of the attempts.

    Checkpoints count policy steps and logs count environment frames. A row at the checkpoint's own step stays.

    Args:
        attempts: The lines of attempts.jsonl.
        file: The log's name, as in `Attempt.log_bytes`.
        action_repeat: Environment frames per policy step.
        has_checkpoints: Whether the trainer's checkpoints can be read. Where they cannot, an attempt resumed where its
            first row says.
    """
    seams = []
    ordered = sorted(attempts, key=lambda each: each.attempt)
    # Before an attempt that put the logs aside lies nothing that is still here.
    first = max((number for number, each in enumerate(ordered) if each.set_aside), default=0)
    for attempt in ordered[first:]:
        frame = None if attempt.resumed_step is None else attempt.resumed_step * action_repeat
        seams.append(
            Seam(
                attempt=attempt.attempt,
                offset=attempt.log_bytes.get(file, 0),
                cut=None if not has_checkpoints else 0 if frame is None else frame + 1,
                resumed_frame=frame,
            )
        )
    return seams


@dataclass(slots=True, kw_only=True)
class Segment:
    """What one attempt logged, in figures."""

    attempt: int
    rows: int = 0
    first_step: int | None = None
    last_step: int | None = None
    #: The largest step so far: rows at or beyond a later cut exist only where it is not below.
    max_step: int = -1
    #: The largest distance between one episode's end and the next.
    max_stride: int = 0
    #: What this segment's start makes void in earlier ones; None for the first.
    cut: int | None = None
    resumed_frame: int | None = None


class SegmentTracker:
    """Assigns each row of a growing log to its segment.

    Args:
        seams: The run's known seams; None where dreamsweep did not launch it, so that they are detected.
        segments: What an earlier reading found, to go on from.
    """

    def __init__(self, seams: Sequence[Seam] | None, segments: Sequence[Segment] = ()) -> None:
        self.seams = seams
        self.segments = [replace(segment) for segment in segments]

    def add(self, starts: Ints, steps: Ints) -> NDArray[np.int32]:
        """Take the next rows of the log and return the attempt of each, shape [rows].

        Args:
            starts: Byte offset of each row.
            steps: Environment frames of each row.
        """
        attempts = np.zeros(len(steps), np.int32)
        for first, last, segment in self._pieces(starts, steps):
            attempts[first:last] = segment.attempt
            _extend(segment, steps[first:last])
        return attempts

    def finish(self) -> list[Segment]:
        """The segments so far, those of attempts without any row included."""
        for seam in (self.seams or ())[len(self.segments) :]:
            self._begin(seam)
        return self.segments

    def _pieces(self, starts: Ints, steps: Ints) -> list[tuple[int, int, Segment]]:
        if self.seams is None:
            return self._detected(steps)
        bounds = [int(np.searchsorted(starts, seam.offset)) for seam in self.seams]
        pieces = []
        first = 0
        for number in range(len(self.seams)):
            # What lies before the first attempt's own start counts as the first attempt's.
            last = len(steps) if number + 1 == len(self.seams) else bounds[number + 1]
            if last > first:
                while len(self.segments) <= number:
                    self._begin(self.seams[len(self.segments)])
                self._place_cut(number, int(steps[first]))
                pieces.append((first, last, self.segments[number]))
                first = last
        if first < len(steps):  # launched, yet without a readable attempt
            if not self.segments:
                self.segments.append(Segment(attempt=1))
            pieces.append((first, len(steps), self.segments[-1]))
        return pieces

    def _begin(self, seam: Seam) -> None:
        cut = seam.cut if self.segments else None
        self.segments.append(Segment(attempt=seam.attempt, cut=cut, resumed_frame=seam.resumed_frame))

    def _place_cut(self, number: int, first_step: int) -> None:
        segment = self.segments[number]
        if number and segment.cut is None and segment.first_step is None:
            segment.cut = first_step

    def _detected(self, steps: Ints) -> list[tuple[int, int, Segment]]:
        if not len(steps):
            return []
        previous = self.segments[-1].last_step if self.segments else None
        goes_on = previous is None or int(steps[0]) >= previous
        edges = [0, *(np.flatnonzero(steps[1:] < steps[:-1]) + 1).tolist(), len(steps)]
        pieces = []
        for first, last in itertools.pairwise(edges):
            if not self.segments:
                self.segments.append(Segment(attempt=1))
            elif first or not goes_on:
                self.segments.append(Segment(attempt=len(self.segments) + 1, cut=int(steps[first])))
            pieces.append((first, last, self.segments[-1]))
        return pieces


def _extend(segment: Segment, steps: Ints) -> None:
    if segment.first_step is None:
        segment.first_step = int(steps[0])
    else:
        assert segment.last_step is not None
        segment.max_stride = max(segment.max_stride, int(steps[0]) - segment.last_step)
    if len(steps) > 1:
        segment.max_stride = max(segment.max_stride, int((steps[1:] - steps[:-1]).max()))
    segment.rows += len(steps)
    segment.last_step = int(steps[-1])
    segment.max_step = max(segment.max_step, int(steps.max()))


def cuts(segments: Sequence[Segment]) -> dict[int, int]:
    """By attempt, the step below which its rows count; what the later segments leave of it."""
    limit = NO_CUT
    by_attempt = {}
    for segment in reversed(segments):
        by_attempt[segment.attempt] = limit
        if segment.cut is not None:
            limit = min(limit, segment.cut)
    return by_attempt


def surviving(attempts: NDArray[np.int32], steps: Ints, limits: Mapping[int, int]) -> Mask:
    """Which rows count, shape [rows]."""
    if all(limit == NO_CUT for limit in limits.values()):
        return np.ones(len(steps), np.bool_)
    numbers = np.array(sorted(limits), np.int64)
    bounds = np.array([limits[number] for number in numbers.tolist()], np.int64)
    return steps < bounds[np.searchsorted(numbers, attempts)]


def gap_frames(segments: Sequence[Segment]) -> int:
    """Frames whose episodes were lost because a checkpoint was saved after the log was last written.

    Between the last logged episode and the checkpoint an episode may simply have been under way, so only a distance
    beyond the longest one seen in the run counts.
    """
    total, longest, reached = 0, 0, 0
    for segment in segments:
        if segment.cut is not None and segment.resumed_frame is not None:
            reached = min(reached, segment.resumed_frame)
            gap = segment.resumed_frame - reached
            total += gap if gap > longest else 0
        longest = max(longest, segment.max_stride)
        reached = max(reached, segment.max_step)
    return total
