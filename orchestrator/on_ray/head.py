"""The head of a cluster that we start, from inside its process."""

import logging

import ray
from ray.exceptions import RayError

from orchestrator.on_ray.lease_registry import REGISTRY_NAME

log = logging.getLogger(__name__)

_OBJECT_STORE_BYTES = 128 * 1024 * 1024


def serve(*, cpus: float | None, gpus: float | None) -> str:
    """Start a cluster of one node, which lives as long as this process; returns its address."""
    ray.init(
        address="local",
        num_cpus=None if cpus is None else int(cpus),
        num_gpus=None if gpus is None else int(gpus),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        # Nothing goes through the object store: all results are files.
        object_store_memory=_OBJECT_STORE_BYTES,
    )
    return str(ray.get_runtime_context().gcs_address)


def mend() -> bool:
    """Start the control service of the cluster that `serve` started again, should it have died.

    It comes back at its old address. Where its store is on disk, it knows its nodes and actors, who waited for it.

    Returns:
        False if that is of no use: the raylet has died, and everything that ran on its node with it.
    """
    node = ray._private.worker._global_node
    alive = {name for name, _ in node.live_processes()}
    if "raylet" not in alive:
        return False
    if "gcs_server" not in alive:
        log.warning("Ray's control service has died; it is started again.")
        node.kill_gcs_server(check_alive=False)
        node.start_gcs_server()
    return True


def has_attempts(namespace: str) -> bool:
    """Whether attempts are alive on the cluster that this process is connected to, as far as it tells."""
    try:
        named = ray.util.list_named_actors(all_namespaces=True)
    except RayError as error:
        log.warning("Ray does not tell its actors: %s", type(error).__name__)
        return True
    # The registry of leases stays behind where an orchestrator was killed, and needs nobody.
    return any(actor["namespace"] == namespace and not actor["name"].endswith(REGISTRY_NAME) for actor in named)
