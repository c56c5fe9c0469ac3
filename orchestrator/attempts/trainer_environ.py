"""The environment variables that a trainer gets from its worker."""

from collections.abc import Mapping

from orchestrator.host_gpus import CUDA_VISIBLE_DEVICES
from sweeps.contracts import RunSpec

# Set by Ray or Kubernetes for their own workers; the trainer would take them for its own settings or for secrets.
_SCRUBBED_PREFIXES = ("RAY_",)
_SCRUBBED = ("JOB_COMPLETION_INDEX", "PYTHONBREAKPOINT", "OMP_NUM_THREADS")


def trainer_environ(
    own: Mapping[str, str], wanted: Mapping[str, str], spec: RunSpec, visible_gpus: str | None = None
) -> dict[str, str]:
    """The environment of a trainer: the worker's, without what Ray put there for itself.

    A run without GPUs must see none: Ray leaves every GPU of the node visible to it.

    Args:
        own: the worker's.
        wanted: what the trainer asks for.
        spec: the run.
        visible_gpus: those that a run with GPUs may use; None for those that the worker may.
    """
    environ = {
        name: value for name, value in own.items() if name not in _SCRUBBED and not name.startswith(_SCRUBBED_PREFIXES)
    }
    environ["OMP_NUM_THREADS"] = str(max(1, int(spec.resources.cpus)))
    if spec.resources.gpus == 0:
        environ[CUDA_VISIBLE_DEVICES] = ""
    elif visible_gpus is not None:
        environ[CUDA_VISIBLE_DEVICES] = visible_gpus
    if 0 < spec.resources.gpus < 1:
        # Several trainers share the device; each leaves a tenth of its share for what JAX allocates beside its pool.
        environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 * spec.resources.gpus:.3f}"
    return {**environ, **wanted}
