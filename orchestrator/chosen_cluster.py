"""Makes the cluster that a config asks for, and joins the one that a command names."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.attempts.dock import check_store
from orchestrator.cluster import Cluster
from orchestrator.local_head import LocalHead, prepare_environ
from orchestrator.process_cluster import ProcessCluster
from sweeps.errors import ClusterError
from sweeps.layout import SweepRoot
from sweeps.settings import ClusterSettings, StorageSettings

if TYPE_CHECKING:
    from aggregation.logs.spread import Spread


def cluster_of(settings: ClusterSettings, storage: StorageSettings) -> Cluster:
    """The backend for the composed `cluster:` and `storage:` options. Nothing is started before it is opened.

    Raises:
        ClusterError: the cluster would be joined without a token, and nobody asked for that.
        StorageError: a store of checkpoints is needed, and none was named.
    """
    check_store(storage, settings)
    if settings.backend == "process":
        return ProcessCluster(
            cpus=settings.cpus,
            gpus=settings.gpus,
            preemption_command=settings.preemption_command,
            storage=storage,
        )
    _prepare(settings)
    # Only now: Ray reads its environment when it is imported, and takes a second to do so.
    from orchestrator.on_ray import connection
    from orchestrator.on_ray.ray_cluster import RayCluster

    heads: list[LocalHead] = []

    def start_here(sweep_id: str) -> Callable[[], None]:
        head = LocalHead(sweep_id, cpus=settings.cpus, gpus=settings.gpus, namespace=settings.namespace)
        connection.join(head.address())
        heads[:] = [head]
        return head.stop

    def beat() -> None:
        for head in heads:
            head.touch()

    def join(_sweep_id: str) -> Callable[[], None]:
        connection.join(settings.address)
        return lambda: None

    return RayCluster(
        start_here if settings.backend == "local" else join,
        namespace=settings.namespace,
        poll_every_s=settings.poll_every_s,
        lease_s=settings.lease_s,
        preemption_command=settings.preemption_command,
        storage=storage,
        beat=beat,
        is_lost=lambda: not all(head.is_alive() for head in heads),
    )


def host_detached(settings: ClusterSettings, words: Sequence[str], root: SweepRoot, folder: Path) -> None:
    """Run the command line `words` on the head of a cluster, in an actor that outlives this process.

    Args:
        settings: which cluster, and how it is joined.
        words: of the command.
        root: where its log goes.
        folder: where it works, as far as the head has that; relative paths among the words begin there.

    Raises:
        ClusterError: the cluster cannot be joined.
    """
    _prepare(settings)
    from orchestrator.on_ray import connection
    from orchestrator.on_ray.orchestrator_actor import host_orchestrator

    connection.join(settings.address)
    host_orchestrator(words, root, folder, namespace=settings.namespace)


def reading_spread(address: str) -> "Spread":
    """Reads logs on a running Ray cluster.

    Raises:
        ClusterError: it cannot be joined.
    """
    is_open = os.environ.get("RAY_AUTH_MODE") == "disabled"  # nobody says that by accident
    _prepare(
        ClusterSettings(backend="ray", address=address, auth="open" if is_open else "token"),
        how_open="RAY_AUTH_MODE=disabled",
    )
    from orchestrator.on_ray import connection
    from orchestrator.on_ray.log_reading import read_spread

    connection.join(address)
    return read_spread()


def _prepare(settings: ClusterSettings, *, how_open: str = "cluster.auth=open") -> None:
    """Set and check what Ray reads when it is imported."""
    if settings.backend == "local":
        prepare_environ()
    elif settings.auth == "token" and os.environ.get("RAY_AUTH_MODE") != "token":
        mode = os.environ.get("RAY_AUTH_MODE") or "not set"
        raise ClusterError(
            f"RAY_AUTH_MODE is {mode}; expected token, with RAY_AUTH_TOKEN_PATH naming the cluster's token. Without "
            f"one, everybody who reaches its ports can run programs there. Set both on the head, on every node and "
            f"here; or join an open cluster on purpose with {how_open}."
        )
