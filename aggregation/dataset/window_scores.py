"""The mean score of each run between two frames, from its episodes, remembered for as long as those stay.

<store>/.collected/windows.json     by partition and window: the files it was made from, and each run's mean and count
"""

import contextlib
import json
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from aggregation.dataset.episodes import Columns, read_partition
from aggregation.dataset.partition_files import Files, files_of
from aggregation.dataset.store import Generation
from sweeps.files import write_atomically

_VERSION = 1
#: Windows of one partition that are remembered, the latest.
_MANY_WINDOWS = 4
#: Partitions that are read before they are asked for.
_READERS = 2

#: First and last environment frame, both inside.
Window = tuple[int, int]
#: Told the partitions read so far and the partitions to read.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class WindowScore:
    """What a run scored in a window."""

    mean: float
    #: Episodes with a finite score, at least one.
    count: int


def window_scores(
    generation: Generation, wanted: Mapping[str, set[Window]], progress: Progress | None = None
) -> dict[tuple[str, Window], WindowScore]:
    """The scores of every run of some partitions in some windows, by run and window; those without any are left out.

    Args:
        generation: Of which dataset.
        wanted: The windows by partition, as `task=<task>/label=<label>`.
        progress: Called before each partition that is read.
    """
    path = generation.path.parent / "windows.json"
    known = _read(path)
    files: dict[str, Files] = {}
    for name in wanted:
        with contextlib.suppress(FileNotFoundError):
            files[name] = files_of(generation.scores / name)
    missing = [
        (name, [window for window in sorted(wanted[name]) if not _is_known(known, name, window, files[name])])
        for name in files
    ]
    missing = [(name, windows) for name, windows in missing if windows]
    for name, made in _made(generation, missing, progress or (lambda _done, _total: None)):
        entries = [entry for entry in known.get(name, []) if entry["files"] == files[name]]
        known[name] = [*entries, *({"files": files[name], **one} for one in made)]
    if missing:
        kept = {name: known[name][-_MANY_WINDOWS:] for name in sorted(known)}
        with contextlib.suppress(OSError):  # a store that cannot be written is read again each time
            write_atomically(path, json.dumps({"version": _VERSION, "partitions": kept}, separators=(",", ":")))
    return {
        (run, (entry["window"][0], entry["window"][1])): WindowScore(*score)
        for name in files
        for entry in known.get(name, [])
        if entry["files"] == files[name]
        for run, score in entry["runs"].items()
    }


def _made(
    generation: Generation, missing: list[tuple[str, list[Window]]], progress: Progress
) -> "list[tuple[str, list[dict[str, Any]]]]":
    """Each partition's entries for its windows."""

    def read(name: str) -> dict[str, Columns]:
        return read_partition(generation.scores / name)

    made = []
    with ThreadPoolExecutor(_READERS) as pool:
        remaining = iter(missing)
        ahead = deque(pool.submit(read, name) for name, _ in islice(remaining, _READERS))
        for number, (name, windows) in enumerate(missing):
            progress(number, len(missing))
            held = ahead.popleft().result()
            ahead.extend(pool.submit(read, following) for following, _ in islice(remaining, 1))
            made.append((name, [{"window": list(window), "runs": _scores(held, window)} for window in windows]))
    return made


def _scores(held: Mapping[str, Columns], window: Window) -> dict[str, list[float]]:
    scores = {}
    for run in sorted(held):
        steps, values = held[run]
        first, last = np.searchsorted(steps, window[0], "left"), np.searchsorted(steps, window[1], "right")
        inside = values[first:last]
        inside = inside[np.isfinite(inside)]
        if len(inside):
            scores[run] = [float(inside.mean()), len(inside)]
    return scores


def _is_known(known: Mapping[str, list[dict[str, Any]]], name: str, window: Window, files: Files) -> bool:
    return any(entry["files"] == files and entry["window"] == list(window) for entry in known.get(name, ()))


def _read(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        record = json.loads(path.read_text("utf-8"))
        if record["version"] != _VERSION:
            return {}
        return {name: list(entries) for name, entries in record["partitions"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
