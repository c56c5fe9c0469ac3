"""Gymnasium environments for the trainer: tasks named `gym_<id>`, for example `gym_CartPole-v1`."""

from collections.abc import Iterator

import elements
import embodied
import numpy as np
from embodied.envs.extras import require

gymnasium = require("gymnasium", package="gymnasium", extra="trainer")
spaces = gymnasium.spaces

# The names that the trainer itself gives to entries of an observation.
RESERVED = ("reward", "is_first", "is_last", "is_terminal", "reset")


class FromGym(embodied.Env):
    """One Gymnasium environment, given by its id or as an object.

    Observations and actions may be boxes, discrete, multi-discrete or multi-binary, and dictionaries of these.
    `repeat` takes each action so many times and sums the rewards.
    """

    def __init__(self, env, repeat=1, seed=None, obs_key="image", act_key="action", **kwargs):
        if repeat < 1:
            raise ValueError(f"The action repeat must be at least 1 (got {repeat!r}).")
        self._env = gymnasium.make(env, **kwargs) if isinstance(env, str) else env
        self._repeat = repeat
        # Only the first reset is seeded: later ones draw from the environment's own generator.
        self._seed = None if seed is None else int(seed)
        self._obs_leaves = dict(_leaves(self._env.observation_space, obs_key))
        self._act_leaves = dict(_leaves(self._env.action_space, act_key))
        taken = sorted({*self._obs_leaves, *self._act_leaves} & set(RESERVED))
        if taken:
            raise ValueError(f"The environment names an entry {taken[0]!r}, which the trainer uses itself.")
        self._over = True

    @property
    def obs_space(self):
        return {
            **{name: _observed(space) for name, space in self._obs_leaves.items()},
            "reward": elements.Space(np.float32),
            "is_first": elements.Space(bool),
            "is_last": elements.Space(bool),
            "is_terminal": elements.Space(bool),
        }

    @property
    def act_space(self):
        return {
            **{name: _acted(space) for name, space in self._act_leaves.items()},
            "reset": elements.Space(bool),
        }

    def step(self, action):
        if action["reset"] or self._over:
            self._over = False
            observation, _ = self._env.reset(seed=self._seed)
            self._seed = None
            return self._record(observation, is_first=True)
        native = self._native_action(action)
        total = 0.0
        for _ in range(self._repeat):
            observation, reward, terminated, truncated, _ = self._env.step(native)
            total += float(reward)
            self._over = bool(terminated or truncated)
            if self._over:
                break
        return self._record(observation, total, is_last=self._over, is_terminal=bool(terminated))

    def close(self):
        self._env.close()

    def _native_action(self, action):
        values = {name: _to_native(action[name], space) for name, space in self._act_leaves.items()}
        if not isinstance(self._env.action_space, spaces.Dict):
            (value,) = values.values()
            return value
        nested = {}
        for path, value in values.items():
            *folders, name = path.split("/")
            node = nested
            for folder in folders:
                node = node.setdefault(folder, {})
            node[name] = value
        return nested

    def _record(self, observation, reward=0.0, *, is_first=False, is_last=False, is_terminal=False):
        record = {}
        for path, space in self._obs_leaves.items():
            value = observation
            if isinstance(self._env.observation_space, spaces.Dict):
                for part in path.split("/"):
                    value = value[part]
            record[path] = _from_native(value, space)
        record["reward"] = np.float32(reward)
        record["is_first"] = is_first
        record["is_last"] = is_last
        record["is_terminal"] = is_terminal
        return record


def _leaves(space, name: str) -> Iterator[tuple]:
    """Every plain space in `space` with its path, whose parts are joined by `/`."""
    if isinstance(space, spaces.Dict):
        for key, inner in space.spaces.items():
            for path, leaf in _leaves(inner, str(key)):
                yield (f"{key}/{path}" if isinstance(inner, spaces.Dict) else path), leaf
    elif isinstance(space, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
        yield name, space
    else:
        raise ValueError(f"The space {space} of {name!r} is not one that the trainer can learn from.")


def _acted(space):
    if _is_real(space):
        return elements.Space(np.float32, space.shape, space.low, space.high)
    return _counted(space)


def _observed(space):
    if _is_real(space):
        # Without its bounds: the networks do not use them, and some environments overstep theirs by rounding.
        return elements.Space(np.float32, space.shape)
    if space.dtype == np.uint8:
        return elements.Space(np.uint8, space.shape)
    return _counted(space)


def _is_real(space):
    return isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating)


def _counted(space):
    """A space of integers; `elements` wants the number above the highest one."""
    if isinstance(space, spaces.Box):
        return elements.Space(np.int32, space.shape, space.low, space.high.astype(np.int64) + 1)
    if isinstance(space, spaces.Discrete):
        return elements.Space(np.int32, (), 0, int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        return elements.Space(np.int32, space.shape, 0, space.nvec)
    return elements.Space(np.int32, space.shape, 0, 2)


def _to_native(value, space):
    if isinstance(space, spaces.Discrete):
        return int(value) + int(space.start)
    if isinstance(space, spaces.MultiDiscrete):
        return np.asarray(value, space.dtype) + space.start
    return np.asarray(value, space.dtype)


def _from_native(value, space):
    if isinstance(space, spaces.Discrete):
        return np.int32(int(value) - int(space.start))
    if isinstance(space, spaces.MultiDiscrete):
        return np.asarray(value - space.start, np.int32)
    if isinstance(space, spaces.MultiBinary):
        return np.asarray(value, np.int32)
    if _is_real(space):
        return np.asarray(value, np.float32)
    return np.asarray(value, np.uint8 if space.dtype == np.uint8 else np.int32)
