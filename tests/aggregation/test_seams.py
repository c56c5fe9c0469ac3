"""Which rows survive resumes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_builders import attempt

from aggregation.logs.seams import Seam, SegmentTracker, cuts, gap_frames, known_seams, surviving


def kept(steps: list[int], seams: list[Seam] | None, *, pieces: int = 1) -> list[tuple[int, int]]:
    """Attempt and step of the rows that survive; every row has ten bytes."""
    tracker = SegmentTracker(seams)
    numbers = []
    for part in np.array_split(np.arange(len(steps)), pieces):
        numbers.append(tracker.add(part * 10, np.array(steps, np.int64)[part]))
    segments = tracker.finish()
    attempts = np.concatenate(numbers)
    good = surviving(attempts, np.array(steps, np.int64), cuts(segments))
    return [
        (number, step) for number, step, stays in zip(attempts.tolist(), steps, good.tolist(), strict=True) if stays
    ]


def seams_of(*starts: tuple[int | None, int], action_repeat: int = 1, has_checkpoints: bool = True) -> list[Seam]:
    """Seams from (checkpoint step, row of the log at the start) of each attempt."""
    attempts = [attempt(number, step, row * 10) for number, (step, row) in enumerate(starts, start=1)]
    return known_seams(attempts, file="scores.jsonl", action_repeat=action_repeat, has_checkpoints=has_checkpoints)


KNOWN = [
    ("one attempt", [1, 2, 3], seams_of((None, 0)), [(1, 1), (1, 2), (1, 3)]),
    ("overlap", [10, 20, 30, 25, 35], seams_of((None, 0), (20, 3)), [(1, 10), (1, 20), (2, 25), (2, 35)]),
    ("row at the checkpoint stays", [10, 20, 22], seams_of((None, 0), (20, 2)), [(1, 10), (1, 20), (2, 22)]),
    ("gap", [10, 90, 95], seams_of((None, 0), (80, 1)), [(1, 10), (2, 90), (2, 95)]),
    (
        "void row below the next first row",
        [10, 20, 22, 30],
        seams_of((None, 0), (20, 3)),
        [(1, 10), (1, 20), (2, 30)],
    ),
    (
        "further back than the one before",
        [10, 20, 30, 25, 35, 12, 40],
        seams_of((None, 0), (22, 3), (11, 5)),
        [(1, 10), (3, 12), (3, 40)],
    ),
    (
        "several in a row",
        [10, 20, 30, 21, 31, 32, 33],
        seams_of((None, 0), (20, 3), (31, 5), (32, 6)),
        [(1, 10), (1, 20), (2, 21), (2, 31), (3, 32), (4, 33)],
    ),
    (
        "resume without any new line",
        [10, 20, 30, 16],
        seams_of((None, 0), (15, 3), (15, 3)),
        [(1, 10), (3, 16)],
    ),
    ("an attempt that never logged", [10, 20], seams_of((None, 0), (None, 0), (None, 0)), [(3, 10), (3, 20)]),
    ("resume at the end of the log", [10, 20, 30], seams_of((None, 0), (20, 3)), [(1, 10), (1, 20)]),
    ("started from nothing again", [10, 20, 5, 15], seams_of((None, 0), (None, 2)), [(2, 5), (2, 15)]),
    (
        "checkpoints count policy steps",
        [40, 80, 120, 100],
        seams_of((None, 0), (20, 3), action_repeat=4),
        [(1, 40), (1, 80), (2, 100)],
    ),
    (
        "unknown checkpoints",
        [10, 20, 30, 20, 40, 45],
        seams_of((None, 0), (None, 3), (None, 5), has_checkpoints=False),
        [(1, 10), (2, 20), (2, 40), (3, 45)],
    ),
    ("no attempt is recorded", [10, 20, 15], [], [(1, 10), (1, 20), (1, 15)]),
]


@pytest.mark.parametrize(("steps", "seams", "want"), [case[1:] for case in KNOWN], ids=[case[0] for case in KNOWN])
@pytest.mark.parametrize("pieces", [1, 3])
def test_known_seams_drop_the_superseded_rows(
    steps: list[int], seams: list[Seam], want: list[tuple[int, int]], pieces: int
) -> None:
    """Rows beyond a later attempt's checkpoint are void, in one reading or in several."""
    assert kept(steps, seams, pieces=pieces) == want


DETECTED = [
    ([10, 20, 30], [(1, 10), (1, 20), (1, 30)]),
    ([10, 20, 20, 30], [(1, 10), (1, 20), (1, 20), (1, 30)]),
    ([10, 20, 30, 25, 35], [(1, 10), (1, 20), (2, 25), (2, 35)]),
    ([10, 20, 30, 20, 35], [(1, 10), (2, 20), (2, 35)]),
    ([10, 20, 30, 25, 35, 15, 40], [(1, 10), (3, 15), (3, 40)]),
    ([10, 20, 5], [(2, 5)]),
    ([], []),
]


@pytest.mark.parametrize(("steps", "want"), DETECTED)
@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_a_step_that_goes_backwards_is_a_seam(steps: list[int], want: list[tuple[int, int]], pieces: int) -> None:
    """Where nobody recorded attempts, earlier rows at or beyond the later segment's first step are void."""
    assert kept(steps, None, pieces=pieces) == want


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 6))
def test_detected_rows_ascend_and_do_not_depend_on_the_pieces(steps: list[int], pieces: int) -> None:
    """Whatever stands in a log, the surviving steps never go back, and reading it in pieces changes nothing."""
    whole = kept(steps, None)

    assert [step for _, step in whole] == sorted(step for _, step in whole)
    assert kept(steps, None, pieces=pieces) == whole


def test_gap_is_counted_where_the_checkpoint_is_ahead_of_the_log() -> None:
    """Episodes between the last flush and the checkpoint are lost: 29,353 to 60,920 as it was seen."""
    tracker = SegmentTracker(seams_of((None, 0), (60_920, 3)))
    tracker.add(np.array([0, 10, 20, 30]), np.array([29_000, 29_200, 29_353, 60_957]))

    assert gap_frames(tracker.finish()) == 60_920 - 29_353


def test_an_episode_under_way_is_no_gap() -> None:
    """The checkpoint lies a little beyond the last episode's end as a rule."""
    tracker = SegmentTracker(seams_of((None, 0), (3_100, 3)))
    tracker.add(np.array([0, 10, 20, 30]), np.array([1_000, 2_000, 3_000, 4_000]))

    assert gap_frames(tracker.finish()) == 0


def test_a_fresh_start_has_no_seams_before_it() -> None:
    """What earlier attempts tell of their logs is about files that were put aside."""
    earlier = [attempt(1, None, 0), attempt(2, 40, 500)]
    fresh = replace(attempt(3, None, 0), set_aside="set_aside/3")
    later = attempt(4, 20, 300)

    seams = known_seams([*earlier, fresh, later], file="scores.jsonl", action_repeat=1)

    assert [(seam.attempt, seam.offset, seam.cut) for seam in seams] == [(3, 0, 0), (4, 300, 21)]
