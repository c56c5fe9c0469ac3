"""Runs any program, given as a template of words. It says how it went by its exit code and its log."""

import shlex
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.outcomes import Verdict
from orchestrator.trainers import signatures
from orchestrator.trainers.checkpoint import close_torn_line
from orchestrator.trainers.trainer import Ending, Launch, ScoreLog, TrainerSettings
from sweeps.contracts import RunSpec, Schedule, TrainerSource, ratio_text
from sweeps.errors import ConfigError, UnknownNameError
from sweeps.layout import RunDir
from sweeps.settings import SweepSettings, checked

#: What can be filled in, each with a value of its kind.
_FIELDS: Mapping[str, str | int] = {
    "task": "walker",
    "seed": 0,
    "train_ratio": "32",
    "steps": 1,
    "frames": 1,
    "run_dir": "/run",
    "method": "mine",
    "label": "mine",
    "suite": "mine",
    "flags": "",
}


class _Settings(TrainerSettings):
    #: Split into words as a shell would; each word is filled in by itself, so values with spaces stay whole.
    command: str | None
    #: Names the program's version.
    revision: str | int | float = ""
    log: str = "scores.jsonl"
    step_key: str = "step"
    score_key: str = "episode/score"
    #: The file or folder in the run directory that the program resumes from and replaces in one step, by a rename;
    #: null where it has none, or where that is not known. Only storage=ship needs to know.
    checkpoint: str | None = None


class CommandTrainer:
    """Any program; `{task}`, `{seed}`, `{train_ratio}`, `{run_dir}` and so on are filled in."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.settings = checked(_Settings, options, where="trainer")
        self._words = _words(self.settings.command)

    @property
    def score_log(self) -> ScoreLog:
        return ScoreLog(self.settings.log, self.settings.step_key, self.settings.score_key)

    def source(self) -> TrainerSource:
        return TrainerSource(
            adapter="command", location=str(self.settings.command), revision=str(self.settings.revision)
        )

    def schedule(self, settings: SweepSettings) -> Schedule:
        suite = settings.suite
        return Schedule(
            steps=settings.steps or suite.steps,
            action_repeat=suite.action_repeat,
            envs=suite.envs,
            batch_size=suite.batch_size,
            batch_length=suite.batch_length,
            replay_context=suite.replay_context,
        )

    def options(self, settings: SweepSettings) -> Mapping[str, Any]:  # noqa: ARG002 - any program has its own
        return {}

    def launch(self, spec: RunSpec, run_dir: RunDir) -> Launch:
        values = {
            "task": spec.trainer_task,
            "seed": spec.key.seed,
            "train_ratio": "" if spec.train_ratio is None else ratio_text(spec.train_ratio),
            "steps": spec.schedule.steps,
            "frames": spec.schedule.frames,
            "run_dir": str(run_dir.path),
            "method": spec.method,
            "label": spec.key.label,
            "suite": spec.key.suite,
        }
        argv: list[str] = []
        for word in self._words:
            if word == "{flags}":
                argv += [part for name, value in spec.flags.items() for part in (f"--{name}", str(value))]
            else:
                argv.append(word.format(**values))
        return Launch(tuple(argv), dict(spec.environ), run_dir.path)

    def repair(self, run_dir: RunDir) -> tuple[int | None, tuple[str, ...]]:
        sentence = close_torn_line(run_dir.path / self.settings.log)
        # Whether and where such a program resumes is its own affair: seams are found in its log.
        return None, (sentence,) if sentence else ()

    @property
    def small_files(self) -> tuple[str, ...]:
        return ()

    def checkpoint_name(self, run_dir: RunDir) -> str | None:
        if self.settings.checkpoint is None:
            return None
        try:
            return str((run_dir.path / self.settings.checkpoint).stat().st_mtime_ns)
        except FileNotFoundError:
            return None

    def snapshot(self, run_dir: RunDir, name: str, into: Path) -> None:
        assert self.settings.checkpoint is not None, name
        source = run_dir.path / self.settings.checkpoint
        files = [path for path in sorted(source.rglob("*")) if path.is_file()] if source.is_dir() else [source]
        for path in files:
            target = into / path.relative_to(run_dir.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(path)

    def pieces(self, run_dir: RunDir) -> Iterator[Path]:  # noqa: ARG002 - a checkpoint is one file or folder
        return iter(())

    def has_started(self, text: str) -> bool:  # noqa: ARG002 - any program has no marker to look for
        return True

    def has_diverged(self, metrics: str) -> bool:  # noqa: ARG002 - unknown metrics mean nothing
        return False

    def verdict(self, ending: Ending) -> Verdict:
        return signatures.classify(
            ending.exit_code, ending.signal, ending.text, ending.has_started, nan_seen=ending.has_diverged
        )

    def clean(self, run_dir: RunDir) -> None:
        """Nothing is known to be superfluous."""


def _words(template: str | None) -> list[str]:
    if not template:
        raise ConfigError(
            "trainer.command is not set; expected the words of a program, for example "
            "trainer.command='python /my/train.py --task {task} --seed {seed} --logdir {run_dir}'."
        )
    try:
        words = shlex.split(template)
    except ValueError as error:
        raise ConfigError(f"trainer.command {template!r} cannot be split into words: {error}.") from None
    for word in words:
        try:
            fields = [name for _, name, _, _ in string.Formatter().parse(word) if name is not None]
        except ValueError as error:
            raise ConfigError(
                f"trainer.command has the word {word!r}, which is no template: {error}. Write {{{{ and }}}} for braces."
            ) from None
        for name in fields:
            if name not in _FIELDS:
                raise UnknownNameError("field", name, _FIELDS, where="trainer.command")
            if name == "flags" and word != "{flags}":
                raise ConfigError("{flags} in trainer.command must stand as a word of its own.")
        try:
            word.format(**_FIELDS)
        except (ValueError, LookupError, TypeError) as error:
            raise ConfigError(
                f"trainer.command has the word {word!r}, which cannot be filled in: {error}. seed, steps and frames "
                f"are whole numbers, the other fields are text; write each as it is, such as {{train_ratio}}."
            ) from None
    return words
