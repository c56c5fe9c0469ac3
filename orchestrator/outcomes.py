"""How an attempt can end. The class decides what happens next (orchestrator/policy.py)."""

from dataclasses import dataclass
from typing import Literal, get_args

Outcome = Literal[
    "succeeded",  # exit code 0
    "preempted",  # the machine was taken away
    "worker_lost",  # the actor, its worker or its node is gone
    "out_of_memory",  # of the host or of the GPU
    "crashed",  # the trainer ended by itself, or by a signal that nobody sent on purpose
    "stalled",  # no sign of life within its limit
    "diverged",  # NaN in the losses
    "misconfigured",  # unknown task, missing package, unknown option
    "disk_full",  # no space left where the run writes
    "cancelled",  # stopped on request
]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt's end is taken for, and why."""

    outcome: Outcome
    #: One sentence for people, free of paths and numbers that vary, so that equal failures group.
    cause: str = ""
    #: The log lines that decided it.
    evidence: tuple[str, ...] = ()
    #: Whether the node or its GPU is suspected, rather than the run.
    is_node_suspect: bool = False
