"""The partitions of a dataset, and what tells that the files of one changed since something was made from them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple


class Mark(NamedTuple):
    """What tells the versions of a file apart: none is ever changed in place, and links and copies keep the time."""

    size: int
    mtime_ns: int


#: By the name of a file.
Marks = dict[str, Mark]
#: Name, size and time of change of each file of a partition.
Files = list[list[Any]]


def partitions(scores: Path) -> Iterator[tuple[str, Path]]:
    """The partitions of a dataset by the name of their folder, in the order of those."""
    for task in sorted(_folders(scores)):
        for label in sorted(_folders(scores / task)):
            yield f"{task}/{label}", scores / task / label


def files_of(partition: Path) -> Files:
    """The files of a partition as JSON has them."""
    return [[name, *mark] for name, mark in sorted(parts(partition).items())]


def parts(partition: Path) -> Marks:
    """The files of a partition that hold rows; none where it does not exist."""
    return {name: mark for name, mark in marks(partition).items() if name.startswith("part-")}


def marks(folder: Path) -> Marks:
    """Every file of a folder."""
    try:
        with os.scandir(folder) as entries:
            stats = {entry.name: entry.stat() for entry in entries}
    except FileNotFoundError:
        return {}
    return {name: Mark(stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def _folders(path: Path) -> list[str]:
    with os.scandir(path) as entries:
        return [entry.name for entry in entries if entry.is_dir()]
