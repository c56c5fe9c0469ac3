"""What the machines offer that a sweep is planned for. Plain values: who measures them is not known here."""

from dataclasses import dataclass
from math import inf

from sweeps.contracts import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What is known of the cluster; None stands for what is not."""

    cpus: float | None = None
    gpus: float | None = None
    #: Host memory of the one machine, or None for a cluster of several.
    memory_bytes: int | None = None
    #: Free on the disk that holds the root.
    disk_bytes: int | None = None
    #: Of one GPU.
    gpu_memory_bytes: int | None = None
    #: NVIDIA's number for the generation of the oldest GPU: 8.0 is the first that computes bfloat16.
    gpu_compute_capability: float | None = None

    def runs_at_once(self, resources: Resources, runs: int, max_concurrent: int | None) -> int | None:
        """How many runs fit side by side; None where that is not known."""
        limits = [float(runs), inf if max_concurrent is None else float(max_concurrent)]
        for wanted, there in (
            (resources.cpus, self.cpus),
            (resources.gpus, self.gpus),
            (resources.memory_bytes, self.memory_bytes),
        ):
            if wanted and there is not None:
                limits.append(there // wanted)
        if self.cpus is None and max_concurrent is None:
            return None
        return max(1, int(min(limits)))
