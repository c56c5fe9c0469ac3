"""What a sweep will do, in numbers: frames, policy steps and gradient updates of every run. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sweeps import ratio
from sweeps.contracts import RunSpec


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run, or several together, will do."""

    #: Environment frames: policy steps × action repeat.
    frames: int
    #: Agent steps, summed over environments, including the last driver call's surplus.
    policy_steps: int
    #: Gradient updates; 0 where the trainer has no train_ratio.
    updates: int

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(self.frames + other.frames, self.policy_steps + other.policy_steps, self.updates + other.updates)


def figures(spec: RunSpec) -> Figures:
    """The figures of one run, if nothing interrupts it."""
    steps = ratio.final_step(spec.schedule)
    return Figures(
        frames=steps * spec.schedule.action_repeat,
        policy_steps=steps,
        updates=0 if spec.train_ratio is None else ratio.updates(spec.schedule, spec.train_ratio),
    )


def total(specs: Sequence[RunSpec]) -> Figures:
    """The figures of several runs together."""
    return sum(map(figures, specs), Figures(0, 0, 0))


def plan_json(specs: Sequence[RunSpec]) -> dict[str, Any]:
    """The plan as one JSON object; `runs` lists every cell."""
    return {
        "runs": [
            {
                "run": str(spec.key),
                "suite": spec.key.suite,
                "task": spec.key.task,
                "method": spec.method,
                "train_ratio": spec.train_ratio,
                "seed": spec.key.seed,
                "label": spec.key.label,
                **asdict(figures(spec)),
            }
            for spec in specs
        ],
        "total": {"runs": len(specs), **asdict(total(specs))},
    }
