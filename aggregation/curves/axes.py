"""What a curve can be drawn over: frames, policy steps, gradient updates, and the hours that a run took. Pure."""

from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from aggregation.sources.sources import RunInfo
from sweeps import ratio
from sweeps.contracts import Schedule
from sweeps.errors import UnknownNameError

Floats = NDArray[np.float64]
Axis = Literal["frames", "policy_steps", "updates", "gpu_hours", "wall_hours"]

#: As they stand under a picture.
TITLES: dict[Axis, str] = {
    "frames": "environment frames",
    "policy_steps": "policy steps",
    "updates": "gradient updates",
    "gpu_hours": "GPU hours",
    "wall_hours": "hours of running",
}
#: Why a run may have no place on an axis, and what gives it one.
_NEEDS: dict[Axis, str] = {
    "frames": "an episode",
    "policy_steps": "a run.json or a known suite, which tell the action repeat",
    "updates": "a train_ratio, and a run.json or a known suite for the batch",
    "gpu_hours": "a finished attempt of dreamsweep on a GPU (wall_hours works without one)",
    "wall_hours": "a finished attempt of dreamsweep",
}


def axis_named(name: str) -> Axis:
    """The axis of this name.

    Raises:
        UnknownNameError: there is none.
    """
    for axis in get_args(Axis):
        if axis == name:
            return axis  # type: ignore[no-any-return]
    raise UnknownNameError("axis", name, get_args(Axis))


def needs(axis: Axis) -> str:
    """What a run must have to be drawn over the axis, in words."""
    return _NEEDS[axis]


def positions(run: RunInfo, axis: Axis, steps: Floats) -> Floats | None:
    """Where a run stood on the axis when it had taken so many environment frames; None where that is not known.

    Updates follow the trainer's exact rule (sweeps/ratio.py), as if nothing had interrupted the run: a resume adds at
    most one. Hours grow evenly with the frames of a run, since only their sum is known; they include start-up and
    what later attempts had to repeat.

    Args:
        run: Of a source.
        axis: What to draw over.
        steps: Environment frames, shape [n].
    """
    if axis == "frames":
        return steps
    if axis in ("policy_steps", "updates"):
        schedule = run.schedule
        if schedule is None:
            return None
        policy_steps = steps / schedule.action_repeat
        if axis == "policy_steps":
            return policy_steps
        return None if run.train_ratio is None else updates_by(schedule, run.train_ratio, policy_steps)
    hours = gpu_hours(run) if axis == "gpu_hours" else wall_hours(run)
    end = end_frames(run)
    return steps * (hours / end) if hours is not None and end else None


def end_frames(run: RunInfo) -> int:
    """How far a run came: its last episode, or its whole budget where it is known to have finished."""
    last = run.last_step or 0
    schedule = run.schedule if run.state == "finished" else None
    if schedule is None:
        return last
    return max(last, ratio.final_step(schedule) * schedule.action_repeat)


def updates_by(schedule: Schedule, train_ratio: float, policy_steps: Floats) -> Floats:
    """`sweeps.ratio.updates_by` of each policy step, shape [n]."""
    span = np.floor(policy_steps) - ratio.first_update_step(schedule)
    made = 1.0 + np.floor(span * train_ratio / ratio.batch_steps(schedule))
    return np.where((span >= 0) & (train_ratio > 0), made, 0.0)


def gpu_hours(run: RunInfo) -> float | None:
    """GPU hours of all attempts of a run; None while it runs, and where it used no GPU or nobody counted."""
    return run.gpu_hours if run.gpu_hours and run.state != "running" else None


def wall_hours(run: RunInfo) -> float | None:
    """Hours of all attempts of a run; None while it runs, and where nobody counted."""
    if not run.fps or not run.last_step or run.state == "running":
        return None
    return run.last_step / run.fps / 3600


def left_out(runs: Iterable[RunInfo], axis: Axis) -> str:
    """A sentence on runs that have no place on the axis."""
    names = list(dict.fromkeys(f"{run.key.suite} {run.label}" for run in runs))
    listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"Not drawn over {TITLES[axis]}: runs of {listed}; each needs {_NEEDS[axis]}."
