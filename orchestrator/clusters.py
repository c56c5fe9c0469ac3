"""Makes the cluster that a config asks for."""

from collections.abc import Callable

from orchestrator.cluster import Cluster
from orchestrator.local_head import LocalHead, prepare_environ
from orchestrator.process_cluster import ProcessCluster
from sweeps.settings import ClusterSettings


def cluster_of(settings: ClusterSettings) -> Cluster:
    """The backend for the composed `cluster:` options. Nothing is started before it is opened."""
    if settings.backend == "process":
        return ProcessCluster(cpus=settings.cpus, gpus=settings.gpus)
    if settings.backend == "local":
        prepare_environ()
    # Only now: Ray reads its environment when it is imported, and takes a second to do so.
    from orchestrator import ray_cluster

    def start_here(sweep_id: str) -> Callable[[], None]:
        head = LocalHead(sweep_id, cpus=settings.cpus, gpus=settings.gpus, namespace=settings.namespace)
        ray_cluster.join(head.address())
        return head.stop

    def join(_sweep_id: str) -> Callable[[], None]:
        ray_cluster.join(settings.address)
        return lambda: None

    return ray_cluster.RayCluster(
        start_here if settings.backend == "local" else join,
        namespace=settings.namespace,
        poll_every_s=settings.poll_every_s,
    )
