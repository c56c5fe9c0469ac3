"""The arithmetic between budgets, ratios and gradient updates, against counters that real runs saved."""

import pytest
from grid_builders import suite

from sweeps import ratio
from sweeps.contracts import Schedule
from sweeps.errors import GridError
from sweeps.ratio_axis import set_ratio


@pytest.mark.parametrize(
    ("envs", "batch_size", "batch_length", "train_ratio", "steps", "counted"),
    [(1, 8, 10, 8, 1000, 92), (4, 8, 10, 32, 1000, 356), (4, 4, 16, 32, 1000, 441), (1, 8, 10, 256, 500, 1313)],
)
def test_updates_equal_the_counter_of_a_real_run(
    envs: int, batch_size: int, batch_length: int, train_ratio: float, steps: int, counted: int
) -> None:
    """The number of gradient updates is exact: `updates` in agent.pkl of the official trainer."""
    schedule = Schedule(steps=steps, envs=envs, batch_size=batch_size, batch_length=batch_length)

    assert ratio.updates(schedule, train_ratio) == counted


@pytest.mark.parametrize(("envs", "final"), [(1, 510), (3, 504), (4, 504), (7, 504), (16, 512)])
def test_a_run_ends_with_a_whole_driver_call(envs: int, final: int) -> None:
    """A budget of 501 steps ends at the steps that the official trainer was seen to end at."""
    assert ratio.final_step(Schedule(steps=501, envs=envs)) == final


def test_updates_of_a_resumed_segment_equal_the_counter_of_a_real_run() -> None:
    """From the checkpoint at step 1000 to 1100, batches of 8 × 10 at ratio 8: ten updates were counted."""
    schedule = Schedule(steps=1100, envs=1, batch_size=8, batch_length=10)

    assert ratio.resumed_updates(schedule, 8, checkpoint_step=1000) == 10


def test_the_first_update_waits_for_replay() -> None:
    """With the official batch of 16 × 64, sixteen environments train from step 2048 and one from step 1088."""
    assert [ratio.first_update_step(Schedule(steps=1, envs=envs)) for envs in (16, 1)] == [2048, 1088]


def test_updates_by_a_step_count_from_the_first_one() -> None:
    """None before step 1088, the first at it, at ratio 32 the next 32 policy steps later, and all at the end."""
    schedule = Schedule(steps=2000)
    counted = [ratio.updates_by(schedule, 32, step) for step in (0, 1087, 1088, 1119, 1120)]

    assert counted == [0, 0, 1, 1, 2]
    assert ratio.updates_by(schedule, 32, ratio.final_step(schedule)) == ratio.updates(schedule, 32)


def test_a_budget_that_never_fills_replay_has_no_update() -> None:
    """Before a batch is there, and without a ratio, nothing trains."""
    assert [ratio.updates(Schedule(steps=1000), 32), ratio.updates(Schedule(steps=10_000), 0)] == [0, 0]


def test_the_other_meanings_of_replay_ratio_follow_from_train_ratio() -> None:
    """Atari 200M: 32 replayed steps per policy step are 8 per frame, or one update in 32 policy steps."""
    atari = Schedule(steps=51_000_000, action_repeat=4, envs=16)

    assert (ratio.replayed_per_frame(atari, 32), ratio.updates_per_policy_step(atari, 32)) == (8, 1 / 32)


@pytest.mark.parametrize(
    ("asked", "value", "is_set"),
    [
        ("default", 64, False),
        (32, 32, True),
        (0.5, 0.5, True),
        ("x1", 64, True),
        ("x0.25", 16, True),
        ("x4", 256, True),
    ],
)
def test_a_ratio_is_a_number_or_a_multiple_of_the_suites_own(asked: object, value: float, is_set: bool) -> None:
    """The axis takes numbers, `default` and multiples."""
    read = set_ratio(asked, suite(train_ratio=64))  # type: ignore[arg-type]

    assert (read.value, read.is_set) == (value, is_set)


@pytest.mark.parametrize("asked", [-1, "fast", "x", "4x", "x-1", True, None, float("nan"), float("inf")])
def test_what_is_no_ratio_is_refused(asked: object) -> None:
    """The error says what a ratio may be."""
    with pytest.raises(GridError, match="is no ratio; expected 'default', a number"):
        set_ratio(asked, suite())  # type: ignore[arg-type]


def test_a_multiple_of_nothing_is_refused() -> None:
    """A suite without a ratio of its own has no multiples."""
    with pytest.raises(GridError, match="the suite ponds has none"):
        set_ratio("x4", suite(train_ratio=None))
