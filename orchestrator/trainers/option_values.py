"""What a trainer makes of settings: its schedule, its source, and every option that it will run with."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.trainers import dreamer_pypi
from orchestrator.trainers.registry import trainer_of
from orchestrator.trainers.trainer import Trainer
from orchestrator.trainers.trainer_configs import TrainerConfigs
from sweeps.contracts import TrainerSource
from sweeps.errors import TrainerError
from sweeps.grid import Program
from sweeps.settings import SweepSettings


def program_finder(*, is_for_launch: bool) -> Callable[[SweepSettings], Program]:
    """A function from settings to the program that they stand for; each adapter and its source are looked up once.

    Args:
        is_for_launch: whether the trainer must be there; a plan needs its numbers only.
    """
    known: dict[str, tuple[Trainer, TrainerSource]] = {}

    def program_of(settings: SweepSettings) -> Program:
        name = str(sorted(settings.trainer.items()))
        if name not in known:
            trainer = trainer_of(settings.trainer)
            known[name] = trainer, _source(trainer, settings, is_for_launch=is_for_launch)
        trainer, source = known[name]
        return Program(trainer.schedule(settings), source, option_values(settings))

    return program_of


def option_values(settings: SweepSettings) -> Mapping[str, Any]:
    """Every option of the official trainer by dotted name; nothing for a program that we know nothing about."""
    path = _configs_path(settings.trainer)
    if path is None:
        return {}
    blocks = [*settings.suite.configs, *settings.method.configs]
    return TrainerConfigs.read(path).resolve(blocks, settings.flags)


def _configs_path(trainer: Mapping[str, Any]) -> Path | None:
    if trainer.get("adapter") == "dreamer_pypi":
        return dreamer_pypi.EMBEDDED / "configs.yaml"
    if trainer.get("adapter") == "dreamerv3":
        return Path(str(trainer["repo"])).expanduser() / "dreamerv3" / "configs.yaml"
    return None


def _source(trainer: Trainer, settings: SweepSettings, *, is_for_launch: bool) -> TrainerSource:
    try:
        return trainer.source()
    except TrainerError:
        if is_for_launch:
            raise
        return TrainerSource(adapter=str(settings.trainer["adapter"]))
