"""Follows a running trainer by the files that it writes: its progress, its signs of life, and when to end it."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator import clock
from orchestrator.attempts.tail import LogTail, point_of
from orchestrator.outcomes import Outcome
from orchestrator.trainers.trainer import Trainer
from sweeps.layout import RunDir

#: Silence is never suspicious before, however quick the run's rhythm.
_LEAST_SILENCE_S = 300.0
_SILENCE_FACTOR = 10.0
#: A silent trainer that for so long uses less than this share of one CPU does nothing.
_IDLE_S = 60.0
_IDLE_SHARE = 0.02
#: How much of the output a verdict may be based on.
_JUDGED_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, as its log tells."""

    #: Environment frames of the last finished episode.
    step: int = 0
    #: Of the last finished episode.
    score: float | None = None
    #: When the log last grew; seconds since 1970.
    at: float = 0.0


class Watch:
    """Follows the files of a running attempt: progress, signs of life, and the alarms that end it."""

    def __init__(self, trainer: Trainer, run_dir: RunDir, started_at: float, log_bytes: Mapping[str, int]) -> None:
        self._trainer = trainer
        #: A moment of `clock.monotonic`, as the others here: nobody is silent because the machine slept or its clock
        #: was set.
        self._started_at = clock.monotonic()
        self._output_path = run_dir.stdout
        self._output_start = log_bytes.get(run_dir.stdout.name, 0)
        log = trainer.score_log
        self._scores = LogTail(run_dir.path / log.file, log_bytes.get(log.file, 0))
        self._metrics = LogTail(run_dir.metrics, log_bytes.get(run_dir.metrics.name, 0))
        self._output = LogTail(run_dir.stdout, self._output_start)
        self._progress = Progress(at=started_at)
        self._alive_at = self._started_at
        #: The longest silence that was followed by a sign of life.
        self._longest_silence_s = 0.0
        #: CPU time and moment from which a silent trainer is watched; negative while it is not.
        self._cpu_seconds = -1.0
        self._idle_from = self._started_at
        self._has_logged = False
        self.has_started = False
        self.has_diverged = False

    @property
    def has_begun(self) -> bool:
        """Whether it trains for certain: it says so, and has logged something beyond its output."""
        return self.has_started and self._has_logged

    def progress(self) -> Progress:
        """Read what is new in all the logs, and tell how far the run is."""
        moment = clock.monotonic()
        scores, metrics, output = self._scores.read(), self._metrics.read(), self._output.read()
        # A progress bar never ends its line.
        if self._scores.has_grown or self._metrics.has_grown or self._output.has_grown:
            self._longest_silence_s = max(self._longest_silence_s, moment - self._alive_at)
            self._alive_at = moment
        self._has_logged = self._has_logged or bool(scores or metrics)
        self.has_started = self.has_started or self._trainer.has_started(output)
        self.has_diverged = self.has_diverged or self._trainer.has_diverged(metrics)
        log = self._trainer.score_log
        for line in reversed(scores.splitlines()):
            point = point_of(line, log.step_key, log.score_key)
            if point is not None:
                self._progress = Progress(point[0], point[1], clock.now())
                break
        return self._progress

    def alarm(self, moment: float, cpu_seconds: Callable[[], float]) -> tuple[Outcome, str] | None:
        """Why the attempt must be ended now, if it must.

        Args:
            moment: of `clock.monotonic`.
            cpu_seconds: what the trainer's processes have used so far; asked only when they are silent.
        """
        settings = self._trainer.settings
        if self.has_diverged:
            return "diverged", "the losses are NaN"
        if settings.startup_deadline_s and not self.has_started:
            if moment - self._started_at > settings.startup_deadline_s:
                return "stalled", "it did not begin to train within trainer.startup_deadline_s"
            return None
        silence_s = moment - self._alive_at
        if settings.heartbeat_s and silence_s > settings.heartbeat_s:
            return "stalled", "none of its logs grew for trainer.heartbeat_s"
        if not self._has_logged or silence_s <= _silence_limit_s(self._longest_silence_s):
            self._cpu_seconds = -1.0
            return None
        # Silent for much longer than ever before: is it at work?
        used = cpu_seconds()
        if self._cpu_seconds < 0 or used - self._cpu_seconds > _IDLE_SHARE * (moment - self._idle_from):
            self._cpu_seconds, self._idle_from = used, moment
        elif moment - self._idle_from > _IDLE_S:
            return "stalled", "none of its logs grew for far longer than ever before, and it uses no CPU"
        return None

    def last_output(self) -> str:
        with open(self._output_path, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._output_start, end - _JUDGED_BYTES))
            return file.read().decode("utf-8", "replace")


def _silence_limit_s(longest_s: float) -> float:
    """When silence is suspicious, learned from the run's own rhythm."""
    return max(_LEAST_SILENCE_S, _SILENCE_FACTOR * longest_s)
