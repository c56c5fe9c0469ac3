"""Finds the adapter that a config names."""

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.trainers.command import CommandTrainer
from orchestrator.trainers.dreamerv3 import checkout_trainer, embedded_trainer
from orchestrator.trainers.trainer import Trainer
from sweeps.errors import UnknownNameError

_ADAPTERS: Mapping[str, Callable[[Mapping[str, Any]], Trainer]] = {
    "command": CommandTrainer,
    "dreamer_pypi": embedded_trainer,
    "dreamerv3": checkout_trainer,
}


def trainer_of(options: Mapping[str, Any]) -> Trainer:
    """The adapter for the composed `trainer:` options.

    Raises:
        UnknownNameError: no adapter has that name, or it has no such option.
        ConfigError: an option has a value that it cannot have.
    """
    name = str(options.get("adapter"))
    if name not in _ADAPTERS:
        raise UnknownNameError("trainer.adapter", name, _ADAPTERS)
    return _ADAPTERS[name](options)
