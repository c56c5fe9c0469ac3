"""Finds protocols, normalisers and suites by name in the config tree, without composing a sweep."""

from collections.abc import Mapping
from pathlib import Path

from sweeps.config_tree import group_names, read_group
from sweeps.errors import ConfigError, UnknownNameError
from sweeps.settings import Protocol, Suite, checked

#: Serves every suite: how its runs ended.
FINAL = "final"

#: By task, the scores that stand for 0 and 1.
Normaliser = Mapping[str, tuple[float, float]]


def read_protocol(name: str, config_dir: Path | None = None) -> Protocol:
    """A protocol by its name.

    Args:
        name: Of a file of conf/protocol/, or of a suite that brings its own.
        config_dir: A user's own config directory, which comes before ours.

    Raises:
        UnknownNameError: there is none of that name.
        ConfigError: the file holds no protocol.
    """
    if name in (names := group_names("protocol", config_dir)):
        values = {"name": name, **read_group("protocol", name, config_dir)}
        return checked(Protocol, values, where=f"protocol {name}")
    suite = read_suite(name, config_dir)
    if suite is not None and _has_window(suite.evaluation):
        assert suite.evaluation is not None
        return suite.evaluation.model_copy(update={"name": name})
    raise UnknownNameError("protocol", name, names)


def protocol_of(suite: str, config_dir: Path | None = None) -> Protocol:
    """The protocol by which a suite is reported; how its runs ended where nothing is published."""
    found = read_suite(suite, config_dir)
    if found is None or not _has_window(found.evaluation):
        return read_protocol(FINAL, config_dir)
    assert found.evaluation is not None
    return found.evaluation if found.evaluation.name else found.evaluation.model_copy(update={"name": suite})


def read_normaliser(name: str, config_dir: Path | None = None) -> Normaliser:
    """A normaliser by its name.

    Raises:
        UnknownNameError: there is none of that name.
        ConfigError: a task has no two scores, or the same one twice.
    """
    values = read_group("normaliser", name, config_dir)
    spans = {}
    for task, span in values.items():
        if not (isinstance(span, list) and len(span) == 2 and all(_is_number(each) for each in span)):
            raise ConfigError(f"The normaliser {name!r} has {span!r} for {task!r}; expected [scores 0, scores 1].")
        if span[0] == span[1]:
            raise ConfigError(f"The normaliser {name!r} has the score {span[0]} for both 0 and 1 of {task!r}.")
        spans[task] = float(span[0]), float(span[1])
    return spans


def read_suite(name: str, config_dir: Path | None = None) -> Suite | None:
    """A suite as its file has it; None where no file has that name.

    Raises:
        ConfigError: the file holds no suite.
    """
    if name not in group_names("suite", config_dir):
        return None
    values = read_group("suite", name, config_dir)
    protocol = values.get("evaluation")
    if isinstance(protocol, str):
        values["evaluation"] = {"name": protocol, **read_group("protocol", protocol, config_dir)}
    return checked(Suite, values, where=f"suite {name}")


def _has_window(protocol: Protocol | None) -> bool:
    return protocol is not None and (protocol.window is not None or protocol.last is not None)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
