"""What one run holds and leaves behind: replay, checkpoints and the least that its model needs. Pure arithmetic.

The figures follow from the trainer's own options; measured beside them: 2.6 KB a step for `size1m` on proprioceptive
DeepMind Control, 12.4 KB on Crafter in the debug size, 13.0 bytes of checkpoint a parameter.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from sweeps import ratio
from sweeps.contracts import Resources
from sweeps.grid import Block

#: Names, step numbers, reward and action of one step (embodied/core/replay.py).
_STEP_BYTES = 128
#: Parameters, two moments, and the slow critic's copy (embodied/jax/opt.py, `agent.pkl`).
_CHECKPOINT_BYTES_PER_PARAMETER = 13
#: Parameters, two moments and one gradient, in float32 whatever the compute type; activations come on top.
_TRAINING_BYTES_PER_PARAMETER = 16
#: Resident memory of the trainer itself with a model compiled.
_PROCESS_BYTES = 2 * 2**30
#: Parameters by the width of the recurrent state: the official sizes.
_PARAMETERS = {
    512: 1_000_000,
    2048: 12_000_000,
    3072: 25_000_000,
    4096: 50_000_000,
    6144: 100_000_000,
    8192: 200_000_000,
    12288: 400_000_000,
}


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one run needs, in bytes."""

    #: One step in replay: observation, and the latent state in float32.
    replay_step_bytes: int
    #: Host memory with replay as full as it gets.
    memory_bytes: int
    #: Replay on disk at its largest, before compression: files are never removed while a run lasts.
    replay_disk_bytes: int
    #: The one that stays; there are two while a new one is written. 0 where the size is unknown.
    checkpoint_bytes: int
    #: Parameters by the official size's name; None for another network.
    parameters: int | None

    @property
    def gpu_bytes(self) -> int | None:
        """The least GPU memory: weights, moments and gradients, without activations."""
        return None if self.parameters is None else self.parameters * _TRAINING_BYTES_PER_PARAMETER


def footprint(block: Block) -> Footprint | None:
    """The footprint of each run of a block; None for a program whose options are not known."""
    options = block.base.program.options
    if "replay.size" not in options:
        return None
    is_random = options.get("random_agent") is True
    deter, latent = _latent(options)
    stored = 0 if is_random or not options.get("replay_context") else 4 * latent
    step_bytes = stored + _observation_bytes(block, options) + _STEP_BYTES
    steps = ratio.final_step(block.first.schedule)
    parameters = None if is_random else _PARAMETERS.get(deter)
    return Footprint(
        replay_step_bytes=step_bytes,
        memory_bytes=min(steps, int(options["replay.size"])) * step_bytes + _PROCESS_BYTES,
        replay_disk_bytes=steps * step_bytes,
        checkpoint_bytes=_CHECKPOINT_BYTES_PER_PARAMETER * (parameters or 0),
        parameters=parameters,
    )


def held_resources(block: Block) -> Resources:
    """What each run of a block holds: where no memory is asked for, that which its replay will fill."""
    resources, need = block.first.resources, footprint(block)
    if resources.memory_bytes or need is None:
        return resources
    return replace(resources, memory_bytes=need.memory_bytes)


def _latent(options: Mapping[str, Any]) -> tuple[int, int]:
    """The width of the recurrent state, and the numbers of the whole latent state."""
    size = {name: int(options.get(f"agent.dyn.rssm.{name}", 0)) for name in ("deter", "stoch", "classes")}
    return size["deter"], size["deter"] + size["stoch"] * size["classes"]


def _observation_bytes(block: Block, options: Mapping[str, Any]) -> int:
    """The image of a step, as the environment's options or else the suite say; vectors are small beside it."""
    image = block.base.settings.suite.image
    environment = f"env.{block.first.trainer_task.split('_')[0]}"
    size = options.get(f"{environment}.size")
    if image is None or size is None:
        return 0 if image is None else prod(image)
    return prod(map(int, size)) * (1 if options.get(f"{environment}.gray") else 3)
