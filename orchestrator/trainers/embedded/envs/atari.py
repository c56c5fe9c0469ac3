"""Atari games for the trainer: tasks named `atari_<game>` or `atari100k_<game>`, for example `atari_pong`."""

import collections
import os
import threading
from pathlib import Path

import elements
import embodied
import numpy as np
from embodied.envs.extras import require

ale_py = require("ale_py", package="ale-py", extra="atari")
roms = require("ale_py.roms", package="ale-py", extra="atari")

# Perceived brightness of red, green and blue.
LUMA = np.array([0.299, 0.587, 0.114])

# The emulator's loading and resetting is not safe to run in two threads at once.
LOCK = threading.Lock()


class Atari(embodied.Env):
    """One game with the usual preprocessing.

    Each action is repeated for `repeat` frames; the last `pooling` of them are merged into one image by `aggregate`.
    With `sticky` actions, each frame repeats the previous action with a chance of a quarter. An episode starts with up
    to `noops` idle frames and ends after `length` frames at the latest. `lives` says what the loss of a life means:
    nothing (`unused`) or the end of the episode (`reset`).
    """

    def __init__(
        self,
        game,
        repeat=4,
        size=(84, 84),
        gray=True,
        noops=0,
        lives="unused",
        sticky=True,
        actions="all",
        length=108_000,
        pooling=2,
        aggregate="max",
        resize="pillow",
        autostart=False,
        clip_reward=False,
        seed=None,
    ):
        _check("lives", lives, ("unused", "reset"))
        _check("actions", actions, ("all", "needed"))
        _check("aggregate", aggregate, ("max", "mean"))
        _check("resize", resize, tuple(RESIZERS))
        if repeat < 1 or pooling < 1:
            raise ValueError(f"Atari's repeat and pooling must be at least 1 (got {repeat!r} and {pooling!r}).")
        self._repeat = repeat
        self._size = tuple(size)
        self._gray = gray
        self._noops = noops
        self._lives = lives
        self._length = length
        self._pooling = pooling
        self._aggregate = aggregate
        self._resize = RESIZERS[resize]()
        self._autostart = autostart
        self._clip_reward = clip_reward
        self._random = np.random.default_rng(seed)
        self._ale = self._load(game, sticky)
        self._actions = list(self._ale.getLegalActionSet() if actions == "all" else self._ale.getMinimalActionSet())
        # The newest screen comes last.
        self._screens = collections.deque(maxlen=pooling)
        self._frames = 0
        self._lives_left = 0
        self._over = True

    @property
    def obs_space(self):
        return {
            "image": elements.Space(np.uint8, (*self._size, 1 if self._gray else 3)),
            "reward": elements.Space(np.float32),
            "is_first": elements.Space(bool),
            "is_last": elements.Space(bool),
            "is_terminal": elements.Space(bool),
        }

    @property
    def act_space(self):
        return {
            "action": elements.Space(np.int32, (), 0, len(self._actions)),
            "reset": elements.Space(bool),
        }

    def step(self, action):
        if action["reset"] or self._over:
            self._start_episode()
            return self._record(0.0, is_first=True)
        chosen = self._actions[int(action["action"])]
        total = 0.0
        for index in range(self._repeat):
            total += self._ale.act(chosen)
            self._frames += 1
            if index >= self._repeat - self._pooling:
                self._screens.append(self._ale.getScreenRGB())
            self._over = self._is_over()
            if self._over:
                break
        return self._record(total, is_last=self._over)

    def _load(self, game, sticky):
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        with LOCK:
            ale = ale_py.ALEInterface()
            ale.setInt("random_seed", int(self._random.integers(2**31)))
            ale.setFloat("repeat_action_probability", 0.25 if sticky else 0.0)
            ale.loadROM(_rom(game))
        return ale

    def _is_over(self):
        lives, before = self._ale.lives(), self._lives_left
        self._lives_left = lives
        lost_life = self._lives == "reset" and 0 < lives < before
        return lost_life or self._ale.game_over() or self._frames >= self._length

    def _start_episode(self):
        self._reset_game()
        for _ in range(self._random.integers(self._noops + 1)):
            self._act_on_reset(ale_py.Action.NOOP)
        if self._autostart and ale_py.Action.FIRE in self._actions:
            self._act_on_reset(ale_py.Action.FIRE)
            self._act_on_reset(ale_py.Action.UP)
        self._screens.extend([self._ale.getScreenRGB()] * self._pooling)
        self._lives_left = self._ale.lives()
        self._frames = 0
        self._over = False

    def _act_on_reset(self, action):
        self._ale.act(action)
        if self._ale.game_over():
            self._reset_game()

    def _reset_game(self):
        with LOCK:
            self._ale.reset_game()

    def _record(self, reward, *, is_first=False, is_last=False):
        return {
            "image": self._observe(),
            "reward": np.float32(np.sign(reward) if self._clip_reward else reward),
            "is_first": is_first,
            "is_last": is_last,
            # The published results treat the time limit like the end of the game, so the same is done here.
            "is_terminal": is_last,
        }

    def _observe(self):
        if self._aggregate == "max":
            image = np.maximum.reduce(self._screens)
        else:
            image = np.mean(self._screens, axis=0).astype(np.uint8)
        image = self._resize(image, self._size)
        if self._gray:
            # Weighted: with equal weights, a red object on a green ground could disappear.
            image = (image @ LUMA).astype(np.uint8)[..., None]
        return image


def _pillow():
    from PIL import Image

    def resize(image, size):
        height, width = size
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))

    return resize


def _opencv():
    import cv2

    def resize(image, size):
        height, width = size
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)

    return resize


RESIZERS = {"pillow": _pillow, "opencv": _opencv}


def _rom(game):
    """The file of a game: from ALE_ROM_PATH where that is set, else the one that ale-py brings."""
    name = "jamesbond" if game == "james_bond" else game
    folder = os.environ.get("ALE_ROM_PATH")
    if folder:
        return str(Path(folder) / f"{name}.bin")
    known = roms.get_all_rom_ids()
    if name not in known:
        raise ValueError(f"Unknown Atari game {game!r}; allowed: {', '.join(sorted(known))}.")
    return str(roms.get_rom_path(name))


def _check(option, value, allowed):
    if value not in allowed:
        raise ValueError(f"Atari's {option} must be one of {', '.join(allowed)} (got {value!r}).")
