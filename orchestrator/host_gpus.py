"""The GPUs of this host that a process may use, as CUDA names them."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path

#: Says which GPUs a process and its children may use; CUDA counts them anew from 0 in the order given.
CUDA_VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"


def visible_gpus(environ: Mapping[str, str], devices: Path = Path("/dev")) -> list[str]:
    """The GPUs that a process with this environment sees: numbers or UUIDs, in its order.

    As CUDA reads it, the list ends before the first entry that is none; an empty variable hides all.
    """
    told = environ.get(CUDA_VISIBLE_DEVICES)
    if told is not None:
        return list(takewhile(_is_name, (name.strip() for name in told.split(","))))
    return [str(number) for number in range(len(list(devices.glob("nvidia[0-9]*"))))]


def names_of(positions: Sequence[int], environ: Mapping[str, str]) -> str:
    """The variable's value for some of the GPUs that a process with this environment sees, by position among them.

    Where the environment names none, positions are numbers of the host.
    """
    told = visible_gpus(environ) if CUDA_VISIBLE_DEVICES in environ else []
    return ",".join(told[position] if position < len(told) else str(position) for position in positions)


def _is_name(name: str) -> bool:
    return bool(name) and not name.startswith("-")
