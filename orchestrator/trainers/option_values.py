"""What a trainer makes of settings: its schedule, its source, and every option that it will run with."""

from collections.abc import Callable

from orchestrator.trainers.registry import trainer_of
from orchestrator.trainers.trainer import Trainer
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
        return Program(trainer.schedule(settings), source, trainer.options(settings))

    return program_of


def _source(trainer: Trainer, settings: SweepSettings, *, is_for_launch: bool) -> TrainerSource:
    try:
        return trainer.source()
    except TrainerError:
        if is_for_launch:
            raise
        return TrainerSource(adapter=str(settings.trainer["adapter"]))
