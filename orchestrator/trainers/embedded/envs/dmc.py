"""DeepMind Control for the trainer: tasks named `dmc_<domain>_<task>`, for example `dmc_walker_walk`.

Renders only where the agent sees images, so that proprioceptive tasks need no graphics at all.
"""

import os

import elements
import embodied
import numpy as np
from embodied.envs.extras import require

# The camera that shows the whole body; 0 elsewhere.
CAMERAS = {"quadruped": 2}


class DMC(embodied.Env):
    """One task of the Control Suite.

    The published names hold a domain of several words (`ball_in_cup_catch`), which the trainer's own name for the
    task shortens (`cup_catch`); both are understood. `camera=-1` chooses the camera by domain.
    """

    def __init__(self, task, repeat=1, size=(64, 64), proprio=True, image=True, camera=-1, seed=None):
        if not (proprio or image):
            raise ValueError("A DMC task needs observations: set env.dmc.proprio or env.dmc.image.")
        if repeat < 1:
            raise ValueError(f"The action repeat must be at least 1 (got {repeat!r}).")
        # Read once, when MuJoCo is imported. EGL draws without a display, on a GPU or in software.
        os.environ.setdefault("MUJOCO_GL", "egl" if image else "disabled")
        suite = require("dm_control.suite", package="dm_control", extra="dmc")
        domain, name = _split(task)
        self._env = suite.load(domain, name, task_kwargs={} if seed is None else {"random": int(seed)})
        self._repeat = repeat
        self._size = tuple(size)
        self._image = image
        self._camera = CAMERAS.get(domain, 0) if camera == -1 else camera
        self._sensors = _sensors(self._env.observation_spec()) if proprio else {}
        self._over = True

    @property
    def obs_space(self):
        found = {name: elements.Space(np.float32, shape) for name, (_, shape) in self._sensors.items()}
        if self._image:
            found["image"] = elements.Space(np.uint8, (*self._size, 3))
        return {
            **found,
            "reward": elements.Space(np.float32),
            "is_first": elements.Space(bool),
            "is_last": elements.Space(bool),
            "is_terminal": elements.Space(bool),
        }

    @property
    def act_space(self):
        spec = self._env.action_spec()
        return {
            "action": elements.Space(np.float32, spec.shape, spec.minimum, spec.maximum),
            "reset": elements.Space(bool),
        }

    def step(self, action):
        if action["reset"] or self._over:
            self._over = False
            return self._record(self._env.reset(), 0.0)
        control = np.asarray(action["action"], np.float64)
        if not np.isfinite(control).all():
            raise FloatingPointError(f"The agent's action is not finite: {control}.")
        total = 0.0
        for _ in range(self._repeat):
            moment = self._env.step(control)
            total += float(moment.reward)
            if moment.last():
                break
        self._over = moment.last()
        return self._record(moment, total)

    def close(self):
        self._env.close()

    def _record(self, moment, reward):
        record = {
            name: np.asarray(moment.observation[source], np.float32) for name, (source, _) in self._sensors.items()
        }
        for name, value in record.items():
            if not np.isfinite(value).all():
                raise FloatingPointError(f"The observation {name!r} is not finite: {value}.")
        if self._image:
            record["image"] = self._env.physics.render(*self._size, camera_id=self._camera)
        record["reward"] = np.float32(reward)
        record["is_first"] = moment.first()
        record["is_last"] = moment.last()
        # An episode that ends by its time limit keeps a discount of 1.
        record["is_terminal"] = moment.last() and moment.discount == 0
        return record


def _split(task):
    for prefix in ("ball_in_cup_", "cup_"):
        if task.startswith(prefix):
            return "ball_in_cup", task.removeprefix(prefix)
    domain, _, name = task.partition("_")
    return domain, name


def _sensors(spec):
    """The names under which the agent sees each sensor, with its own name and its shape; empty ones are left out."""
    return {name.replace("/", "_"): (name, tuple(part.shape)) for name, part in spec.items() if np.prod(part.shape)}
