"""Ratios, steps and updates: the arithmetic between a budget, a train_ratio and gradient updates.

`train_ratio` is replayed time steps per policy step, summed over environments, as in the trainer's option
`run.train_ratio` and in the paper's tables. It carries no factor of action repeat. The rules below were
checked against the counters that real runs save (`agent.pkl`, `updates`).
"""

from math import ceil, floor

from sweeps.contracts import Schedule

#: The trainer's driver advances in calls of this many policy steps (embodied/run/train.py: `steps=10`).
_DRIVER_STEPS = 10


def final_step(schedule: Schedule) -> int:
    """The policy step at which the trainer stops: the budget, rounded up to whole driver calls.

    Every driver call advances all environments together until at least ten steps are done.
    """
    stride = schedule.envs * ceil(_DRIVER_STEPS / schedule.envs)
    return ceil(schedule.steps / stride) * stride


def first_update_step(schedule: Schedule) -> int:
    """The policy step of the first gradient update.

    Replay hands out a batch once it holds `B * T` sequence starts, and an environment with `n` steps holds
    `n - (T + c) + 1` of them; environments advance together, so each must first fill `T + c - 1` steps.
    """
    batch_steps = schedule.batch_size * schedule.batch_length
    fill = schedule.batch_length + schedule.replay_context - 1
    return batch_steps + schedule.envs * fill


def updates(schedule: Schedule, train_ratio: float) -> int:
    """Gradient updates of an uninterrupted run: `1 + floor((N - S0) * train_ratio / (B * T))`."""
    batch_steps = schedule.batch_size * schedule.batch_length
    span = final_step(schedule) - first_update_step(schedule)
    if span < 0 or train_ratio <= 0:
        return 0
    return 1 + floor(span * train_ratio / batch_steps)


def replayed_steps(schedule: Schedule, train_ratio: float) -> int:
    """Time steps that all updates together replay."""
    return updates(schedule, train_ratio) * schedule.batch_size * schedule.batch_length


def updates_per_policy_step(schedule: Schedule, train_ratio: float) -> float:
    """Gradient updates per policy step, which some libraries call the replay ratio."""
    return train_ratio / (schedule.batch_size * schedule.batch_length)


def replayed_per_frame(schedule: Schedule, train_ratio: float) -> float:
    """Replayed time steps per environment frame, which some texts call the replay ratio."""
    return train_ratio / schedule.action_repeat
