"""Records without what they have in common: a field that holds its default is not written."""

from dataclasses import MISSING, Field, fields
from functools import lru_cache
from typing import Any


def told(value: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults, by name."""
    record = {}
    for name, default in _defaults(type(value)):
        held = getattr(value, name)
        if held != default:
            record[name] = held
    return record


@lru_cache
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((each.name, _default(each)) for each in fields(kind) if each.init)


def _default(each: Field[Any]) -> Any:
    return each.default if each.default_factory is MISSING else each.default_factory()
