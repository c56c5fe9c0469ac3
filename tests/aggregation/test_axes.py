"""What curves are drawn over."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_builders import built

from aggregation.curves import axes
from sweeps import ratio
from sweeps.contracts import Schedule
from sweeps.errors import UnknownNameError


@given(
    st.builds(
        Schedule,
        steps=st.integers(1, 10**6),
        envs=st.integers(1, 32),
        batch_size=st.integers(1, 32),
        batch_length=st.integers(1, 128),
    ),
    st.sampled_from([0.0, 0.5, 8.0, 32.0, 100.0, 512.0, 1024.0]),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=20),
)
def test_updates_follow_the_exact_rule(schedule: Schedule, train_ratio: float, steps: list[int]) -> None:
    """The same count as sweeps/ratio.py for every single step."""
    counted = [ratio.updates_by(schedule, train_ratio, step) for step in steps]

    np.testing.assert_array_equal(axes.updates_by(schedule, train_ratio, np.array(steps, float)), counted)


def test_frames_become_policy_steps_and_updates() -> None:
    """Atari: 4 frames to a policy step; at ratio 256 and 16 × 64 the first update is at step 1,088."""
    run = built("m_tr256", 0, [40_000], [1.0], schedule=Schedule(steps=10_000, action_repeat=4)).info
    frames = np.array([0.0, 4 * 1087, 4 * 1088, 4 * 1092, 40_000])

    np.testing.assert_array_equal(axes.positions(run, "policy_steps", frames), frames / 4)
    np.testing.assert_array_equal(
        axes.positions(run, "updates", frames), [0, 0, 1, 2, ratio.updates(Schedule(steps=10_000), 256)]
    )


def test_hours_grow_evenly_to_the_end_of_a_run() -> None:
    """A finished run took its hours for the whole budget, though its last episode lies before that."""
    run = built("m", 0, [90], [1.0], fps=90 / 7200, gpu_hours=1.0, state="finished", schedule=Schedule(steps=100)).info

    np.testing.assert_allclose(axes.positions(run, "wall_hours", np.array([0.0, 50.0, 100.0])), [0.0, 1.0, 2.0])
    np.testing.assert_allclose(axes.positions(run, "gpu_hours", np.array([50.0])), [0.5])


@pytest.mark.parametrize(
    ("axis", "run"),
    [
        ("policy_steps", built("m", 0, [9], [1.0])),
        ("updates", built("m", 0, [9], [1.0], schedule=Schedule(steps=10))),
        ("gpu_hours", built("m", 0, [9], [1.0], gpu_hours=0.0, fps=1.0)),
        ("gpu_hours", built("m", 0, [9], [1.0], gpu_hours=1.0, state="running")),
        ("wall_hours", built("m", 0, [9], [1.0], fps=1.0, state="running")),
        ("wall_hours", built("m", 0, [9], [1.0])),
    ],
)
def test_what_is_not_known_is_not_made_up(axis: axes.Axis, run: object) -> None:
    """Without a schedule, a ratio, a GPU, or before an attempt has ended."""
    assert axes.positions(run.info, axis, np.array([5.0])) is None  # type: ignore[attr-defined]


def test_unknown_axis_lists_the_known_ones() -> None:
    """A slip of the pen is answered with the nearest name."""
    with pytest.raises(UnknownNameError, match="Did you mean 'updates'"):
        axes.axis_named("update")
