"""The partitions of a dataset, and what tells that the files of one changed since something was made from them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Name, size and time of change of each file of a partition, as JSON has them.
Files = list[list[Any]]


def partitions(scores: Path) -> Iterator[tuple[str, Path]]:
    """The partitions of a dataset by the name of their folder, in the order of those."""
    for task in sorted(_folders(scores)):
        for label in sorted(_folders(scores / task)):
            yield f"{task}/{label}", scores / task / label


def files_of(partition: Path) -> Files:
    """The files of a partition: none is ever changed in place, and each keeps its time when it is linked."""
    found = []
    with os.scandir(partition) as entries:
        for entry in entries:
            if entry.name.startswith("part-"):
                stat = entry.stat()
                found.append([entry.name, stat.st_size, stat.st_mtime_ns])
    return sorted(found)


def _folders(path: Path) -> list[str]:
    with os.scandir(path) as entries:
        return [entry.name for entry in entries if entry.is_dir()]
