"""Runs the official DreamerV3 code: a checkout of danijar/dreamerv3 or of a fork, or the embedded package.

Only its `train` script is used: `parallel` never ends by itself, and `train_eval` mixes evaluation episodes into
scores.jsonl. Everything that the code would otherwise default to silently is passed as a flag.
"""

import getpass
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveInt

from orchestrator.outcomes import Verdict
from orchestrator.trainers import checkpoint, dreamer_pypi, signatures
from orchestrator.trainers.checkout import Checkout, PinnedCheckout, TrainerCode
from orchestrator.trainers.trainer import Ending, Launch, ScoreLog, TrainerSettings
from orchestrator.trainers.trainer_configs import TrainerConfigs
from sweeps.contracts import Option, RunSpec, Schedule, TrainerSource, ratio_text
from sweeps.errors import TrainerError
from sweeps.layout import RunDir
from sweeps.settings import SweepSettings, checked, flat_options

# The losses and the gradient norm. Other metrics are NaN by nature: the replay ratio of a window without inserts.
_NAN_LOSS = re.compile(r'"train/(?:opt/loss|opt/grad_norm|loss/[^"]*)": -?(?:NaN|Infinity)')
_STARTED = "Start training loop"
# What the sweep decides itself; a method that sets one of these would contradict the run's key.
_OURS = ("logdir", "task", "seed", "script", "run.steps", "run.train_ratio", "configs")


class _Settings(TrainerSettings):
    #: The interpreter; null for the one that runs dreamsweep.
    python: str | None = None
    platform: Literal["auto", "cpu", "cuda"] = "auto"
    # Whole seconds: the trainer's own options are.
    log_every_s: PositiveInt = 20
    save_every_s: PositiveInt = 300
    report_every_s: NonNegativeInt = 0
    #: Whether a finished run keeps its replay buffer, which it can never use again.
    keep_replay: bool = False


class _CheckoutSettings(_Settings):
    repo: str | None = None
    #: A commit, tag or branch of `repo`; null for the checkout as it is. Digits alone are read as a number.
    revision: str | int | None = None


class _EmbeddedSettings(_Settings):
    home: str | None = None


class DreamerV3Trainer:
    """The official code in a folder that holds `dreamerv3/main.py` and `dreamerv3/configs.yaml`."""

    def __init__(self, settings: _Settings, code: TrainerCode) -> None:
        self.settings = settings
        self._code = code

    @property
    def score_log(self) -> ScoreLog:
        return ScoreLog()

    def source(self) -> TrainerSource:
        return self._code.source()

    def schedule(self, settings: SweepSettings) -> Schedule:
        blocks = [*settings.suite.configs, *settings.method.configs]
        flags = {**flat_options(settings.method.flags), **flat_options(settings.flags)}
        for name in flags:
            if name in _OURS:
                raise TrainerError(
                    f"The flag {name!r} of method {settings.method.name!r} is set by the sweep itself; use the axes "
                    f"task, seed and train_ratio, and steps=."
                )
        values = self._code.configs().resolve(blocks, flags)
        prefix = next(iter(settings.suite.trainer_tasks.values()), settings.suite.tasks[0]).split("_")[0]
        return Schedule(
            steps=settings.steps or settings.suite.steps,
            action_repeat=_at_least(1, f"env.{prefix}.repeat", {f"env.{prefix}.repeat": 1, **values}),
            envs=_at_least(1, "run.envs", values),
            batch_size=_at_least(1, "batch_size", values),
            batch_length=_at_least(1, "batch_length", values),
            replay_context=_at_least(0, "replay_context", values),
        )

    def options(self, settings: SweepSettings) -> Mapping[str, Any]:
        blocks = [*settings.suite.configs, *settings.method.configs]
        return self._code.configs().resolve(blocks, flat_options(settings.flags))

    def launch(self, spec: RunSpec, run_dir: RunDir) -> Launch:
        settings = self.settings
        code = self._code.folder(spec.source.revision) / "dreamerv3"
        # Our own start script, where there is one, calls main.py in the way that newer JAX needs.
        script = code / "start.py" if (code / "start.py").exists() else code / "main.py"
        uses_gpu = settings.platform == "cuda" or (settings.platform == "auto" and spec.resources.gpus > 0)
        flags: dict[str, Option] = {
            "logger.outputs": "jsonl",
            "jax.platform": "cuda" if uses_gpu else "cpu",
            "run.log_every": settings.log_every_s,
            "run.save_every": settings.save_every_s,
            "run.report_every": settings.report_every_s,
            **spec.flags,
            "script": "train",
            "task": spec.trainer_task,
            "seed": spec.key.seed,
            "run.steps": spec.schedule.steps,
            "logdir": str(run_dir.path),
        }
        if spec.train_ratio is not None:
            flags["run.train_ratio"] = ratio_text(spec.train_ratio)
        argv = [str(Path(settings.python or sys.executable).expanduser()), "-u", str(script)]
        if spec.configs:
            argv += ["--configs", *spec.configs]
        for name, value in flags.items():
            argv += [f"--{name}", *_flag_words(value)]
        environ = {
            "PYTHONUNBUFFERED": "1",
            "JAX_COMPILATION_CACHE_DIR": str(_compilation_cache()),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
        }
        if not uses_gpu:
            environ["JAX_PLATFORMS"] = "cpu"
        return Launch(tuple(argv), {**environ, **spec.environ}, run_dir.path)

    def repair(self, run_dir: RunDir) -> tuple[int | None, tuple[str, ...]]:
        return checkpoint.repair(run_dir)

    @property
    def small_files(self) -> tuple[str, ...]:
        return ("config.yaml",)

    def checkpoint_name(self, run_dir: RunDir) -> str | None:
        return checkpoint.newest_name(run_dir)

    def snapshot(self, run_dir: RunDir, name: str, into: Path) -> None:
        checkpoint.link(run_dir, name, into)

    def pieces(self, run_dir: RunDir) -> Iterator[Path]:
        return checkpoint.whole_chunks(run_dir.replay)

    def has_started(self, text: str) -> bool:
        return _STARTED in text

    def has_diverged(self, metrics: str) -> bool:
        return _NAN_LOSS.search(metrics) is not None

    def verdict(self, ending: Ending) -> Verdict:
        return signatures.classify(
            ending.exit_code, ending.signal, ending.text, ending.has_started, nan_seen=ending.has_diverged
        )

    def clean(self, run_dir: RunDir) -> None:
        # A finished run is never started again, and its replay buffer may be many times the rest.
        if not self.settings.keep_replay:
            shutil.rmtree(run_dir.replay, ignore_errors=True)


def _at_least(least: int, name: str, values: Mapping[str, Any]) -> int:
    """The value of one of the trainer's options that counts something.

    Raises:
        TrainerError: it is less than the trainer can work with.
    """
    value = int(values[name])
    if value < least:
        raise TrainerError(
            f"The trainer's option {name} is {value}; expected at least {least}. Correct it in flags= or in the method."
        )
    return value


def checkout_trainer(options: Mapping[str, Any]) -> DreamerV3Trainer:
    """The adapter for `trainer=dreamerv3 trainer.repo=…`."""
    settings = checked(_CheckoutSettings, options, where="trainer")
    if not settings.repo:
        raise TrainerError(
            "trainer.repo is not set; expected a checkout of danijar/dreamerv3 or of a fork: trainer.repo=/path/to/it."
        )
    repo = Path(settings.repo).expanduser().resolve()
    if settings.revision is not None:
        return DreamerV3Trainer(settings, PinnedCheckout(repo, str(settings.revision)))
    return DreamerV3Trainer(settings, Checkout(repo, settings.repo))


def embedded_trainer(options: Mapping[str, Any]) -> DreamerV3Trainer:
    """The adapter for `trainer=dreamer_pypi`: the package that `dreamsweep trainer install` has put in place."""
    settings = checked(_EmbeddedSettings, options, where="trainer")
    folder = Path(settings.home).expanduser().resolve() if settings.home else dreamer_pypi.default_location()
    return DreamerV3Trainer(settings, _Embedded(folder))


class _Embedded:
    """The package, and the configs that come with dreamsweep."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def source(self) -> TrainerSource:
        if not dreamer_pypi.is_installed(self._folder):
            raise TrainerError(
                f"The embedded trainer is not installed in {self._folder}, or is of another version. Run: "
                f"dreamsweep trainer install"
            )
        revision = dreamer_pypi.revision(self._folder)
        return TrainerSource(adapter="dreamer_pypi", location=str(self._folder), revision=revision)

    def configs(self) -> TrainerConfigs:
        return TrainerConfigs.read(dreamer_pypi.EMBEDDED / "configs.yaml")

    def folder(self, revision: str) -> Path:  # noqa: ARG002 - `source` knows one version only
        return self._folder


def _flag_words(value: Option) -> list[str]:
    """A value as elements' flag parser reads it: a list is several words."""
    if isinstance(value, list):
        return [_flag_word(item) for item in value]
    return [_flag_word(value)]


def _flag_word(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "True" if value is True else "False" if value is False else json.dumps(value)


def _compilation_cache() -> Path:
    """One cache of compiled programs for all attempts on this host, readable by this user alone."""
    path = Path(tempfile.gettempdir()) / f"dreamsweep-jax-cache-{getpass.getuser()}"
    path.mkdir(mode=0o700, exist_ok=True)
    return path
