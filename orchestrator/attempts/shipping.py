"""Which bytes of a log go where, with `storage=ship`. Pure: sizes and bytes in, bytes out.

The worker cannot see the root, so what it logs travels in parcels that the orchestrator asks for. Offsets are those of
the root's files throughout: the size of a file there is the only truth about how far its log has come. So a parcel may
be lost, or come twice, and an orchestrator may die at any moment: the next one asks on from the size that it finds.

    root    ....earlier attempts....|....attempt n, as far as it has come
    local                           |....attempt n........................
                                    size at the handover

A checkpoint takes along the end of the logs that the root had not confirmed when it was saved. An attempt that resumes
from it sends that end first, so that no row before the checkpoint is missing, also where the node is gone that had it.
With the bytes go the records of the attempts that wrote them, of which the root may never have heard.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sweeps.contracts import Attempt
from sweeps.settings import StorageSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """What an attempt is told about a root that it cannot see."""

    storage: StorageSettings
    #: The URL of the store of checkpoints.
    store: str
    #: Names the run on local disks and in the store: `<sweep id>/<run>`.
    folder: str
    #: Bytes on the root by log, when the attempt was launched: its own begin behind them. A log without any is absent.
    sizes: Mapping[str, int] = field(default_factory=dict)
    #: The logs that end there without a newline.
    torn: frozenset[str] = frozenset()
    #: Where the own bytes of each earlier attempt begin, by attempt and log.
    seams: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    #: Checkpoints of attempts before this one do not count.
    since: int = 0
    #: The latest checkpoint of these that the root has heard of; empty for none.
    checkpoint: str = ""
    #: Where earlier logs went, for the record; empty unless this attempt starts afresh.
    set_aside: str = ""
    #: Nothing is left to do but to say so.
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of a log and where they belong in the root's file."""

    log: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What an attempt sends at a time. To be unpacked in the order of the fields."""

    #: Small files that are sent whole, by their path in the run directory.
    files: Mapping[str, bytes] = field(default_factory=dict)
    #: Lines of attempts.jsonl that the root may lack, of attempts whose bytes are sent here.
    earlier: tuple[Attempt, ...] = ()
    #: The attempt's own line; None until there is one.
    record: Attempt | None = None
    chunks: tuple[Chunk, ...] = ()
    #: How the program ended, as its guard wrote it.
    exit_status: bytes | None = None
    #: The latest checkpoint in the store; empty for none.
    checkpoint: str = ""
    #: Why the store takes no checkpoints at the moment; empty while it does.
    trouble: str = ""
    #: More has been written than one parcel holds: ask again at once.
    has_more: bool = False
    #: The attempt is over, and nothing is missing behind this parcel.
    is_all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """The end of the logs that a checkpoint took along."""

    #: The attempt that saved it.
    attempt: int
    #: By log, the offset on the root and the bytes from there.
    ends: Mapping[str, tuple[int, bytes]] = field(default_factory=dict)
    #: The records of the attempts that wrote them, where the root may lack them.
    records: tuple[Attempt, ...] = ()


def news(size: int, chunk: Chunk) -> bytes:
    """What of a chunk a file of `size` bytes does not have yet; nothing where bytes before it are missing."""
    if chunk.offset > size:
        return b""
    return chunk.data[size - chunk.offset :]


def rescued(handover: Handover, carried: Carried | None, log: str) -> bytes:
    """What a resuming attempt sends first: the bytes that a checkpoint took along and the root never got.

    They may be appended only where the root's file ends with bytes of the attempt that saved the checkpoint, or with
    such as were rescued before: as soon as a later attempt has sent bytes of its own, it is too late.
    """
    if carried is None or log not in carried.ends:
        return b""
    start, data = carried.ends[log]
    size = handover.sizes.get(log, 0)
    later = [seams.get(log, 0) for attempt, seams in handover.seams.items() if attempt > carried.attempt]
    if not start <= size < start + len(data) or any(size > seam for seam in later):
        return b""
    return data[size - start :]


def beginning(handover: Handover, carried: Carried | None, log: str) -> tuple[bytes, int]:
    """What a log begins with on the attempt's local disk, and where on the root its own bytes begin.

    A line that is torn at the end of what came before is closed, so that the next record does not continue it.
    """
    first = rescued(handover, carried, log)
    is_torn = not first.endswith(b"\n") if first else log in handover.torn
    return first + (b"\n" if is_torn else b""), handover.sizes.get(log, 0) + len(first)


def cut_at_line(data: bytes, *, is_over: bool, is_full: bool) -> bytes:
    """Leave an unfinished last line for the next parcel, unless there is no next one, or the line fills this one."""
    if is_over:
        return data
    end = data.rfind(b"\n") + 1
    return data[:end] if end or not is_full else data
