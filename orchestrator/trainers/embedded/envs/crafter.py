"""Crafter for the trainer: `crafter_reward`, or `crafter_noreward` without the rewards of achievements."""

import elements
import embodied
import numpy as np
from embodied.envs.extras import require

crafter = require("crafter", package="crafter", extra="crafter")


class Crafter(embodied.Env):
    """One world after another, each seen from above.

    `logs` is accepted and must stay off: the packaged trainer fails on metrics that come from an environment.
    """

    def __init__(self, task, size=(64, 64), logs=False, seed=None):
        if task not in ("reward", "noreward"):
            raise ValueError(f"The Crafter task must be 'reward' or 'noreward' (got {task!r}).")
        if logs:
            raise ValueError("env.crafter.logs works in a checkout of the official repository only; leave it False.")
        seed = None if seed is None else int(seed)
        self._size = tuple(size)
        self._env = crafter.Env(size=self._size, reward=task == "reward", seed=seed)
        self._over = True

    @property
    def obs_space(self):
        return {
            "image": elements.Space(np.uint8, (*self._size, 3)),
            "reward": elements.Space(np.float32),
            "is_first": elements.Space(bool),
            "is_last": elements.Space(bool),
            "is_terminal": elements.Space(bool),
        }

    @property
    def act_space(self):
        return {
            "action": elements.Space(np.int32, (), 0, len(crafter.constants.actions)),
            "reset": elements.Space(bool),
        }

    def step(self, action):
        if action["reset"] or self._over:
            self._over = False
            return self._record(self._env.reset(), 0.0, is_first=True)
        image, reward, self._over, info = self._env.step(int(action["action"]))
        # A discount of zero means death; the time limit keeps it at one.
        return self._record(image, reward, is_last=self._over, is_terminal=bool(info["discount"] == 0))

    def _record(self, image, reward, *, is_first=False, is_last=False, is_terminal=False):
        return {
            "image": image,
            "reward": np.float32(reward),
            "is_first": is_first,
            "is_last": bool(is_last),
            "is_terminal": is_terminal,
        }
