"""What turns the frames of a run into policy steps and updates: its schedule, from run.json or from its suite."""

import json
from collections.abc import Sequence
from pathlib import Path

from sweeps.contracts import RunSpec, Schedule
from sweeps.errors import DreamsweepError
from sweeps.protocols import read_suite
from sweeps.settings import Suite


class Schedules:
    """The schedules of the runs of one source. Each is read when it is first asked for.

    Args:
        config_dir: A user's own config directory, whose suites count beside ours.
    """

    def __init__(self, config_dir: Path | None = None) -> None:
        self._config_dir = config_dir
        self._suites: dict[str, Schedule | None] = {}
        #: Runs of one suite, task and label share theirs: it is part of what a run is.
        self._launched: dict[tuple[str, str, str], Schedule] = {}

    def of(self, suite: str, task: str, label: str, folders: Sequence[Path]) -> Schedule | None:
        """The schedule of a run, from the first folder with a run.json, else of its suite; None where neither tells."""
        place = suite, task, label
        if place not in self._launched:
            spec = next(filter(None, (_spec(folder / "run.json") for folder in folders)), None)
            if spec is None:
                return self._of_suite(suite)
            self._launched[place] = spec.schedule
        return self._launched[place]

    def _of_suite(self, name: str) -> Schedule | None:
        if name not in self._suites:
            suite = read_suite(name, self._config_dir)
            self._suites[name] = None if suite is None else schedule_of(suite)
        return self._suites[name]


def schedule_of(suite: Suite) -> Schedule:
    """The official schedule of a suite."""
    return Schedule(
        steps=suite.steps,
        action_repeat=suite.action_repeat,
        envs=suite.envs,
        batch_size=suite.batch_size,
        batch_length=suite.batch_length,
        replay_context=suite.replay_context,
    )


def _spec(path: Path) -> RunSpec | None:
    try:
        return RunSpec.from_json(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, DreamsweepError):
        return None
