"""Lets the folders of a generation in the making hold what the published one holds, whatever they held before.

A generation is made from the folders of one that no reader needs any more (store.py): those of its partitions, and
most of its files, are the next one's too. What differs is taken away or linked; nothing is ever changed in place.
"""

import os
import shutil
from collections.abc import Collection
from pathlib import Path

from aggregation.dataset.partition_files import Marks, marks
from aggregation.dataset.store import Syncs, remove_file, remove_folder


def lay_out(dataset: Path, folders: Collection[str]) -> None:
    """Let a dataset consist of these folders, and of nothing else.

    Args:
        dataset: Its folder, which need not exist.
        folders: `task=<task>/label=<label>`; those that are there keep what they hold.
    """
    dataset.mkdir(exist_ok=True)
    wanted: dict[str, set[str]] = {}
    for folder in folders:
        task, _, label = folder.partition("/")
        wanted.setdefault(task, set()).add(label)
    there = _kept(str(dataset), wanted)
    for task in sorted(wanted):
        path = f"{dataset}/{task}"
        if task not in there:
            Path(path).mkdir()
        for label in sorted(wanted[task] - (_kept(path, wanted[task]) if task in there else set())):
            Path(path, label).mkdir()


def mirror(earlier: Path | None, files: Marks, target: Path, syncs: Syncs, *, but: Collection[str] = ()) -> list[Path]:
    """Let a partition hold the files of another, as they are, and return their paths in order.

    Args:
        earlier: The published partition; None where there is none.
        files: Those it has.
        target: The one in the making, which is there.
        syncs: Makes copies durable, where the file system has no hard links.
        but: Files of the new one that others write, which are left alone.
    """
    there = marks(target)
    for name, mark in there.items():
        if files.get(name) != mark and name not in but:
            remove_file(target / name)
    for name, mark in files.items():
        if there.get(name) != mark and name not in but and link_or_copy(f"{earlier}/{name}", f"{target}/{name}"):
            syncs.add(target / name)
    return [target / name for name in sorted(files)]


def _kept(folder: str, names: Collection[str]) -> set[str]:
    """Those of the names that a folder holds as folders; what else is in it is removed."""
    kept = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                remove_file(Path(entry.path))
            elif entry.name in names:
                kept.add(entry.name)
            else:
                remove_folder(Path(entry.path))
    return kept


def link_or_copy(source: str | Path, target: str | Path) -> bool:
    """Let `target` be the same file as `source`, or a copy where the file system has no hard links; tell whether."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise  # a copy would change whatever it is
    except OSError:
        shutil.copy2(source, target)
        return True
    return False
