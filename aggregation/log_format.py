"""How a score log names its values. DreamerV3's own names are the default; a `command` trainer may have others."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFormat:
    """The keys of one line of a score log, and the file's name in the run directory."""

    file: str = "scores.jsonl"
    step_key: str = "step"
    score_key: str = "episode/score"
    #: Read where it is there; DreamerV3 writes it into metrics.jsonl only.
    length_key: str = "episode/length"

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
