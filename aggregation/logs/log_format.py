"""How a log names its values. DreamerV3's own names are the default; a `command` trainer may have others."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

METRICS_FILE = "metrics.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFormat:
    """The keys of one line of a log, and the file's name in the run directory."""

    file: str = "scores.jsonl"
    step_key: str = "step"
    score_key: str = "episode/score"
    #: Read where it is there; DreamerV3 writes it into metrics.jsonl only.
    length_key: str = "episode/length"
    #: Where set, a line has no score: it has a value for each key that this regular expression matches as a whole.
    metrics: str | None = None

    @classmethod
    def from_trainer(cls, trainer: Mapping[str, Any]) -> Self:
        """The names that the options of a trainer set; only the `command` adapter lets them be set."""
        default = cls()
        if trainer.get("adapter") != "command":
            return default
        return cls(
            file=trainer.get("log") or default.file,
            step_key=trainer.get("step_key") or default.step_key,
            score_key=trainer.get("score_key") or default.score_key,
        )

    def of_metrics(self, pattern: str) -> Self:
        """The form of the log of metrics beside this one."""
        return replace(self, file=METRICS_FILE, metrics=pattern)
