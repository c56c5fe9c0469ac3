r"""Reads a trainer's own configs.yaml, to know what its named blocks make of each option.

The file maps block names to options. `defaults` holds every option; further blocks, and then flags, change them.
An option's name is dotted, and a block's name may be a pattern: `.*\.units: 64` changes every `units`.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from sweeps.contracts import Option
from sweeps.errors import TrainerError, UnknownNameError

# elements takes a name for a pattern when it holds anything beyond these characters.
_PLAIN = re.compile(r"[A-Za-z0-9_.\-]+")


@dataclass(frozen=True)
class TrainerConfigs:
    """The blocks of one configs.yaml."""

    path: Path
    blocks: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> "TrainerConfigs":
        """Read a configs.yaml.

        Raises:
            TrainerError: there is none, or it has no `defaults` block.
        """
        try:
            return _read(path, path.stat().st_mtime_ns)
        except OSError as error:
            raise TrainerError(f"Cannot read the trainer's configs file {path}: {error.strerror}.") from None

    @classmethod
    def parse(cls, text: str | bytes, path: Path) -> "TrainerConfigs":
        """Read the text of a configs.yaml; `path` names it in messages.

        Raises:
            TrainerError: it has no `defaults` block.
        """
        try:
            blocks = yaml.load(text, Loader=_Loader)
        except yaml.YAMLError as error:
            raise TrainerError(f"The trainer's configs file {path} is no YAML: {error}.") from None
        if not isinstance(blocks, dict) or not isinstance(blocks.get("defaults"), dict):
            raise TrainerError(f"The trainer's configs file {path} has no 'defaults' block.")
        return cls(path, blocks)

    def resolve(self, names: Iterable[str], flags: Mapping[str, Option]) -> dict[str, Any]:
        """Every option by dotted name, after the named blocks and the flags.

        A flag's value is read as the trainer reads it, by the kind of the option's default.

        Raises:
            UnknownNameError: a block or a flag that the trainer does not know.
            TrainerError: a flag that is no pattern, or a value that is not of its option's kind.
        """
        values = _flat(self.blocks["defaults"])
        for name in names:
            if name not in self.blocks:
                raise UnknownNameError(
                    "config block", name, [block for block in self.blocks if block != "defaults"], where=str(self.path)
                )
            for key, value in _flat(self.blocks[name]).items():
                for match in _matches(key, values):
                    values[match] = value
        for key, value in flags.items():
            matches = _matches(key, values)
            if not matches:
                raise UnknownNameError("trainer option", key, _near(key, values), where=str(self.path))
            for match in matches:
                values[match] = self._read(match, value, values[match])
        return values

    def _read(self, name: str, value: Option, default: Any) -> Any:
        """The value of a flag as the kind of the option's default: whole number, number or truth value.

        Raises:
            TrainerError: it is none.
        """
        for kind, wanted in ((bool, "true or false"), (int, "a whole number"), (float, "a number")):
            if isinstance(default, kind):
                read = _as(kind, value)
                if read is None:
                    raise TrainerError(
                        f"The trainer's option {name} is {value!r}; expected {wanted}, such as its default {default!r} "
                        f"in {self.path}."
                    )
                return read
        return value


def read_options(path: Path) -> dict[str, Any]:
    """Every option by dotted name, from the config.yaml that the trainer writes into its log folder.

    Raises:
        TrainerError: it cannot be read.
    """
    try:
        options = yaml.load(path.read_bytes(), Loader=_Loader)
    except (OSError, yaml.YAMLError) as error:
        raise TrainerError(f"{path} cannot be read: {error}.") from None
    if not isinstance(options, dict):
        raise TrainerError(f"{path} holds no options of the trainer.")
    return _flat(options)


@lru_cache(maxsize=8)
def _read(path: Path, _version: int) -> TrainerConfigs:
    return TrainerConfigs.parse(path.read_bytes(), path)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers, as the trainer's reader has them: `1e10` is a float."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\d[\d_]*(?:\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def _as(kind: type, value: Option) -> bool | int | float | None:
    """A flag's value as a truth value or a finite number; None where it is none."""
    if kind is bool:
        return {"True": True, "False": False}.get(str(value))
    if isinstance(value, bool | None | list):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(number) or (kind is int and not number.is_integer()):
        return None
    return int(number) if kind is int else number


def _flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _matches(key: str, values: Mapping[str, Any]) -> list[str]:
    if _PLAIN.fullmatch(key):
        return [key] if key in values else []
    try:
        pattern = re.compile(key)
    except re.error as error:
        raise TrainerError(
            f"The flag {key!r} is no regular expression: {error}. Expected the name of an option, or a pattern such as "
            f"'.*\\.units'."
        ) from None
    return [name for name in values if pattern.match(name)]


def _near(key: str, values: Mapping[str, Any]) -> list[str]:
    """The options worth listing: those beside the unknown one, or the top level."""
    parent = key.rpartition(".")[0]
    beside = [name for name in values if name.startswith(f"{parent}.")] if parent else []
    return beside or sorted({name.split(".")[0] for name in values})
