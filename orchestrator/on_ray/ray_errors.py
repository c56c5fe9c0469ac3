"""What Ray's errors mean; the only place that tells."""

import contextlib
from collections.abc import Iterator

from ray.exceptions import (
    ActorDiedError,
    ActorUnschedulableError,
    ObjectLostError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayError,
)

from orchestrator.outcomes import Outcome
from sweeps.errors import ClusterError

TAKEN_AWAY = "its node was taken away"
#: What becomes of a large answer whose actor is well: it goes through the object store, which may be full.
LOST_ANSWERS = (ObjectLostError, ObjectStoreFullError, OutOfDiskError)


def verdict_of(error: RayError) -> tuple[Outcome, str]:
    """The only translation of Ray's errors into outcomes."""
    if isinstance(error, OutOfMemoryError):
        return "out_of_memory", "Ray's memory monitor killed it: the node ran out of memory"
    if getattr(error, "preempted", False) or "SIGTERM" in str(error) or "preempted" in str(error):
        return "preempted", TAKEN_AWAY
    if isinstance(error, ActorDiedError):
        return "worker_lost", "its Ray worker died, and the trainer with it"
    if isinstance(error, ActorUnschedulableError):
        return "worker_lost", "its node is gone"
    return "worker_lost", f"Ray lost it ({type(error).__name__})"


def is_unable(error: RayError) -> bool:
    """Whether an actor never came to be, by an error of its own code: it would be the same with the next one."""
    return isinstance(error, ActorDiedError) and error.actor_init_failed


def last_line(error: RayError) -> str:
    """What of a remote traceback says what happened."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


@contextlib.contextmanager
def lost_connection_in_words() -> Iterator[None]:
    """Tell in a sentence that Ray fails, wherever it does.

    Raises:
        ClusterError: it did.
    """
    try:
        yield
    except (RayError, ConnectionError, TimeoutError) as error:
        raise ClusterError(
            f"The connection to the Ray cluster is lost ({type(error).__name__}). Attempts that still run go on; "
            f"the same command finds them again once the cluster answers (`ray status`)."
        ) from None
