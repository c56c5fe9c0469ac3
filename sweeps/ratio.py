"""Ratios, steps and updates: the arithmetic between a budget, a train_ratio and gradient updates.

`train_ratio` is replayed time steps per policy step, summed over environments, as in the trainer's option
`run.train_ratio` and in the paper's tables. It carries no factor of action repeat (danijar/dreamerv3, issue 154).
The rules follow embodied/run/train.py and embodied/core/replay.py, and were checked against the counters that real
runs save (`agent.pkl`, `updates`). With N the final policy step, S0 that of the first update, a batch of B sequences
of T steps, a replay context of c steps and E environments:

    N = ceil(steps / g) * g            with g = E * ceil(10 / E)
    S0 = B * T + E * (T + c - 1)
    updates = 1 + floor((N - S0) * train_ratio / (B * T))
    environment frames = N * action_repeat
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
    fill = schedule.batch_length + schedule.replay_context - 1
    return batch_steps(schedule) + schedule.envs * fill


def batch_steps(schedule: Schedule) -> int:
    """Time steps that one gradient update replays: `B * T`."""
    return schedule.batch_size * schedule.batch_length


def updates(schedule: Schedule, train_ratio: float) -> int:
    """Gradient updates of an uninterrupted run: `1 + floor((N - S0) * train_ratio / (B * T))`."""
    return updates_by(schedule, train_ratio, final_step(schedule))


def updates_by(schedule: Schedule, train_ratio: float, policy_step: int) -> int:
    """Gradient updates that an uninterrupted run has made once it has taken so many policy steps."""
    span = policy_step - first_update_step(schedule)
    if span < 0 or train_ratio <= 0:
        return 0
    return 1 + floor(span * train_ratio / batch_steps(schedule))


def resumed_updates(schedule: Schedule, train_ratio: float, checkpoint_step: int) -> int:
    """Gradient updates from a checkpoint to the end: replay is full enough, and the first step updates at once."""
    span = final_step(schedule) - (checkpoint_step + 1)
    return 0 if span < 0 or train_ratio <= 0 else 1 + floor(span * train_ratio / batch_steps(schedule))


def updates_per_policy_step(schedule: Schedule, train_ratio: float) -> float:
    """Gradient updates per policy step, which some libraries call the replay ratio."""
    return train_ratio / batch_steps(schedule)


def replayed_per_frame(schedule: Schedule, train_ratio: float) -> float:
    """Replayed time steps per environment frame, which some texts call the replay ratio."""
    return train_ratio / schedule.action_repeat
