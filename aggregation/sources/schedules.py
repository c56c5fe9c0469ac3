"""What run.json and the suite say of a run beside its scores: its schedule, and its task's published name."""

import json
from pathlib import Path

from sweeps.contracts import RunSpec, Schedule
from sweeps.errors import DreamsweepError
from sweeps.protocols import read_suite
from sweeps.settings import Suite

#: Suite, task and label.
Place = tuple[str, str, str]
#: So many folders of a place are looked into.
_FOLDERS = 4


class Schedules:
    """The schedules of the runs of one source. Each is read when it is first asked for.

    Args:
        config_dir: A user's own config directory, whose suites count beside ours.
    """

    def __init__(self, config_dir: Path | None = None) -> None:
        self._config_dir = config_dir
        self._suites: dict[str, Suite | None] = {}
        self._published: dict[str, dict[str, str]] = {}
        #: By suite, task and label, where a run.json may lie; runs that share these share their schedule.
        self._folders: dict[Place, list[str]] = {}
        self._known: dict[Place, Schedule | None] = {}

    def look_in(self, place: Place, folder: str) -> None:
        """Tell of a folder of a run that dreamsweep launched."""
        folders = self._folders.setdefault(place, [])
        if len(folders) < _FOLDERS:
            folders.append(folder)

    def of(self, place: Place) -> Schedule | None:
        """The schedule of the runs of a place: from a run.json, else of the suite; None where neither tells."""
        if place not in self._known:
            specs = (_spec(Path(folder) / "run.json") for folder in self._folders.get(place, ()))
            spec = next(filter(None, specs), None)
            self._known[place] = self._of_suite(place[0]) if spec is None else spec.schedule
        return self._known[place]

    def published_task(self, suite: str, task: str) -> str:
        """The published name of a task that may be named by the trainer's flag; the name itself where none is known."""
        if suite not in self._published:
            found = self.suite(suite)
            flags = {} if found is None else found.trainer_tasks
            self._published[suite] = {flag: name for name, flag in flags.items()}
        return self._published[suite].get(task, task)

    def suite(self, name: str) -> Suite | None:
        """A suite by its name; None where it is not known."""
        if name not in self._suites:
            self._suites[name] = read_suite(name, self._config_dir)
        return self._suites[name]

    def _of_suite(self, name: str) -> Schedule | None:
        suite = self.suite(name)
        return None if suite is None else schedule_of(suite)


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
