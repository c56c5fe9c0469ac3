"""An environment that does nothing, for tests of the trainer itself: `dummy_disc` or `dummy_cont`."""

import elements
import embodied
import numpy as np


class Dummy(embodied.Env):
    """Episodes of `length` steps with a reward of one each, whatever the action."""

    def __init__(self, task, size=(64, 64), length=100):
        if task not in ("disc", "cont"):
            raise ValueError(f"The dummy task must be 'disc' or 'cont' (got {task!r}).")
        self._discrete = task == "disc"
        self._image = np.zeros((*size, 3), np.uint8)
        self._length = length
        self._count = length

    @property
    def obs_space(self):
        return {
            "image": elements.Space(np.uint8, self._image.shape),
            "progress": elements.Space(np.float32, (1,)),
            "reward": elements.Space(np.float32),
            "is_first": elements.Space(bool),
            "is_last": elements.Space(bool),
            "is_terminal": elements.Space(bool),
        }

    @property
    def act_space(self):
        if self._discrete:
            choice = elements.Space(np.int32, (), 0, 5)
        else:
            choice = elements.Space(np.float32, (6,), -1, 1)
        return {"action": choice, "reset": elements.Space(bool)}

    def step(self, action):
        is_first = bool(action["reset"]) or self._count >= self._length
        self._count = 0 if is_first else self._count + 1
        is_last = self._count >= self._length
        return {
            "image": self._image,
            "progress": np.array([self._count / self._length], np.float32),
            "reward": np.float32(0.0 if is_first else 1.0),
            "is_first": is_first,
            "is_last": is_last,
            "is_terminal": is_last,
        }
