"""Short names for the paths of several sources."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path


def source_names(paths: Sequence[Path]) -> list[str]:
    """A short name for each path: its last part, with parents where that is needed to tell them apart."""
    parts = [_name_parts(path) for path in paths]
    depths = [1] * len(paths)
    while True:
        names = ["/".join(each[-depth:]) for each, depth in zip(parts, depths, strict=True)]
        counts = Counter(names)
        longer = [
            min(depth + (counts[name] > 1), len(each)) for name, depth, each in zip(names, depths, parts, strict=True)
        ]
        if longer == depths:
            return names
        depths = longer


def _name_parts(path: Path) -> list[str]:
    name = path.name
    if path.is_file():
        name = name.removesuffix(".gz").removesuffix(".json")
    return [part for part in (*path.parent.parts, name) if part != path.anchor] or [str(path)]
