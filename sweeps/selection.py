"""Chooses among names as people type them: whole, or with `*` for any letters."""

import fnmatch
from collections.abc import Collection, Iterable

from sweeps.errors import UnknownNameError


def matching(name: str, allowed: Iterable[str]) -> list[str]:
    """Those of `allowed` that `name` means, in their order; none where there is no such name."""
    if "*" in name:
        return fnmatch.filter(allowed, name)
    return [each for each in allowed if each == name]


def selected(kind: str, names: Collection[str], allowed: Collection[str], *, where: str = "") -> set[str]:
    """Those of `allowed` that any of `names` means.

    Args:
        kind: What they are names of, for the error.
        names: Whole names, and such with wild cards.
        allowed: The names that there are.
        where: Where they are, for the error.

    Raises:
        UnknownNameError: one of `names` means none.
    """
    found: set[str] = set()
    for name in names:
        matches = matching(name, allowed)
        if not matches:
            raise UnknownNameError(kind, name, allowed, where=where)
        found.update(matches)
    return found
