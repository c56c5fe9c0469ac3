"""Composes the configuration with Hydra: the only file that knows Hydra and OmegaConf.

An axis (suite, task, method, train_ratio, seed) takes its values from, in this order: the command line
(`seed=0,1`, `seed=range(0,5)`, `seed=[0,1]`), the experiment's `hydra.sweeper.params`, the composed config.
Every suite × method pair is composed once; tasks, ratios and seeds are expanded without Hydra.
"""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, OverrideType, Transformer
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeps.contracts import Scalar
from sweeps.errors import ConfigError, GridError, UnknownNameError
from sweeps.settings import SweepSettings, checked

AXES = ("suite", "task", "method", "train_ratio", "seed")
_GROUPS = ("suite", "method", "trainer", "cluster", "experiment")


@dataclass(frozen=True, slots=True)
class SweepConfig:
    """A composed sweep: one settings record for every suite × method, and the values of the other axes."""

    #: By suite, then by method, in the order they were asked for.
    bases: tuple[SweepSettings, ...]
    tasks: tuple[Scalar, ...]
    train_ratios: tuple[Scalar, ...]
    seeds: tuple[Scalar, ...]
    #: What `--cfg` prints and sweep.yaml keeps.
    text: str

    @property
    def first(self) -> SweepSettings:
        """The settings that do not vary with the axes (root, cluster, trainer) are the same in each."""
        return self.bases[0]


def conf_dir() -> Path:
    """The config tree: at the top of a checkout, inside the package when installed."""
    installed = Path(__file__).parent / "conf"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "conf"


def compose_sweep(overrides: Sequence[str], config_dir: Path | None = None) -> SweepConfig:
    """Compose a sweep from Hydra overrides.

    Args:
        overrides: as typed, sweep syntax allowed for the axes.
        config_dir: a user's own config directory, searched beside ours.

    Raises:
        UnknownNameError: an unknown key, suite, method, trainer, cluster or experiment.
        GridError: an axis without a value, or with something that is no list of values.
        ConfigError: anything else that does not compose.
    """
    axes, plain = _split(_parse(overrides))
    lines = [_line(override) for override in plain]
    with _Composer(config_dir) as composer:
        for override in plain:
            if override.key_or_group in _GROUPS and override.value() is not None:
                composer.check_name(override.key_or_group, override.value())
        outer = composer.compose([*lines, *composer.first_choices(axes)])
        swept = {**_sweeper_params(outer), **axes}
        choices = outer.hydra.runtime.choices
        suites = composer.expand("suite", swept.pop("suite", [choices["suite"]]))
        methods = composer.expand("method", swept.pop("method", [choices["method"]]))
        composed = [
            _plain(composer.compose([*lines, f"suite={suite}", f"method={method}"]))
            for suite in suites
            for method in methods
        ]
    values = {
        axis: tuple(swept[axis] if axis in swept else _axis_values(axis, composed[0].get(axis)))
        for axis in ("task", "train_ratio", "seed")
    }
    shown = {**composed[0], **{axis: _shortest(values[axis]) for axis in values}}
    if len(composed) > 1:
        shown["suite"] = [config["suite"] for config in composed][:: len(methods)]
        shown["method"] = [config["method"] for config in composed][: len(methods)]
    return SweepConfig(
        bases=tuple(checked(SweepSettings, config) for config in composed),
        tasks=values["task"],
        train_ratios=values["train_ratio"],
        seeds=values["seed"],
        text=OmegaConf.to_yaml(OmegaConf.create(shown)),
    )


def read_yaml(text: str) -> dict[str, Any]:
    """The plain values of a YAML text, such as a frozen sweep.yaml.

    Raises:
        ConfigError: the text is no YAML mapping.
    """
    try:
        container = OmegaConf.to_container(OmegaConf.create(text))
    except Exception as error:  # OmegaConf passes on whatever its YAML reader raises
        raise ConfigError(f"Cannot read the configuration: {error}") from None
    if not isinstance(container, dict):
        raise ConfigError(f"The configuration holds {container!r}; expected a mapping of keys to values.")
    return {str(key): value for key, value in container.items()}


class _Composer:
    """Hydra, initialised for one or several compositions from the same config directories."""

    def __init__(self, config_dir: Path | None) -> None:
        self._dirs = [conf_dir()]
        self._search: list[str] = []
        if config_dir is not None:
            if not config_dir.is_dir():
                raise ConfigError(
                    f"--config-dir {str(config_dir)!r} is not a folder; expected one that holds suite/, method/, "
                    f"trainer/, cluster/ or experiment/."
                )
            self._dirs.append(config_dir)
            self._search = [f"hydra.searchpath=['file://{config_dir.resolve()}']"]

    def __enter__(self) -> Self:
        GlobalHydra.instance().clear()
        self._context = initialize_config_dir(str(conf_dir()), version_base="1.3")
        self._context.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        GlobalHydra.instance().clear()

    def compose(self, lines: Sequence[str]) -> DictConfig:
        try:
            return compose("config", [*self._search, *lines], return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise self._translated(error, lines) from None

    def expand(self, group: str, names: Sequence[object]) -> list[str]:
        """The named configs of a group, wild cards expanded."""
        options = self._options(group)
        expanded: list[str] = []
        for name in names:
            matches = fnmatch.filter(options, str(name)) if "*" in str(name) else []
            if not matches:
                self.check_name(group, name)
            expanded.extend(matches or [str(name)])
        return expanded

    def first_choices(self, axes: Mapping[str, Sequence[Scalar]]) -> list[str]:
        return [f"{group}={self.expand(group, axes[group])[0]}" for group in ("suite", "method") if group in axes]

    def check_name(self, group: str, name: object) -> None:
        options = self._options(group)
        if str(name) not in options:
            raise UnknownNameError(group, name, options)

    def _options(self, group: str) -> list[str]:
        return sorted({path.stem for folder in self._dirs for path in (folder / group).glob("*.yaml")})

    def _translated(self, error: Exception, lines: Sequence[str]) -> ConfigError:
        """Say in our words what Hydra refused: most often a key that does not exist."""
        groups = [line for line in lines if line.lstrip("+").split("=")[0].split("@")[0] in _GROUPS]
        if len(groups) < len(lines):
            known = _plain(self.compose(groups))
            for line in lines:
                key = line.split("=")[0]
                unknown = None if line in groups or key.startswith(("+", "~")) else _unknown_key(key, known)
                if unknown:
                    name, allowed, where = unknown
                    return UnknownNameError("key", name, allowed, where=where)
        cause = str(error.__cause__ or error).strip()
        return ConfigError(f"The configuration does not compose: {cause}")


def _unknown_key(key: str, known: Mapping[str, Any]) -> tuple[str, list[str], str] | None:
    """The first part of a dotted key that does not exist, with what exists beside it and where."""
    node: Any = known
    path: list[str] = []
    for part in key.split("."):
        if not isinstance(node, Mapping):
            return None
        if part not in node:
            return part, [str(name) for name in node], ".".join(path)
        node = node[part]
        path.append(part)
    return None


def _parse(overrides: Sequence[str]) -> list[Override]:
    parser = OverridesParser.create()
    parsed: list[Override] = []
    for text in overrides:
        try:
            parsed.extend(parser.parse_overrides([text]))
        except HydraException as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"Cannot read the override {text!r}: {reason}. Expected key=value, for example seed=0,1 or "
                f"'seed=range(0,5)' (quoted, since the shell reads brackets)."
            ) from None
    return parsed


def _split(overrides: Sequence[Override]) -> tuple[dict[str, list[Scalar]], list[Override]]:
    """Separate the axes, with their values, from everything else."""
    axes: dict[str, list[Scalar]] = {}
    plain = []
    for override in overrides:
        name = override.key_or_group
        if name in AXES and override.package is None and not override.is_delete():
            if name in axes:
                raise GridError(f"The axis {name!r} is given twice; give all its values at once, as {name}=a,b.")
            axes[name] = _override_values(override)
        elif override.is_sweep_override():
            raise GridError(
                f"{override.input_line!r} sweeps over {name!r}, which is no axis. The axes are {', '.join(AXES)}."
            )
        else:
            plain.append(override)
    return axes, plain


def _override_values(override: Override) -> list[Scalar]:
    axis = override.key_or_group
    if not override.is_sweep_override():
        return _scalars(axis, override.value())
    if not override.is_discrete_sweep():
        raise GridError(f"The axis {override.input_line!r} is no list of values; expected {axis}=a,b or a range.")
    if isinstance(override.value(), Glob):
        raise GridError(f"The axis {override.input_line!r}: write wild cards plainly, as {axis}='dmc_walker_*'.")
    return _scalars(axis, list(override.sweep_iterator(Transformer.identity)))


def _scalars(axis: str, value: object) -> list[Scalar]:
    """The values of an axis as plain scalars; Hydra's quoted strings are unwrapped."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise GridError(f"The axis {axis!r} is empty; give at least one value, or leave it out for its default.")
    plain: list[Scalar] = []
    for item in values:
        scalar = getattr(item, "text", item)
        if scalar is None or scalar == "":
            raise GridError(f"The axis {axis!r} holds an empty value; give at least one value, as {axis}=a,b.")
        if not isinstance(scalar, str | int | float | bool):
            raise GridError(f"The axis {axis!r} holds {scalar!r}; expected plain values, as {axis}=a,b.")
        plain.append(scalar)
    return plain


def _axis_values(axis: str, value: object) -> list[Scalar]:
    """Values of an axis from a config file, where a string may hold sweep syntax."""
    if isinstance(value, str) and ("," in value or re.match(r"\w+\(", value)):
        return _override_values(_parse([f"{axis}={value}"])[0])
    return _scalars(axis, value)


def _sweeper_params(outer: DictConfig) -> dict[str, list[Scalar]]:
    params = OmegaConf.to_container(outer.hydra.sweeper.get("params") or OmegaConf.create({}))
    assert isinstance(params, dict), type(params)
    for axis in params:
        if axis not in AXES:
            raise UnknownNameError("axis", axis, AXES, where="hydra.sweeper.params")
    return {str(axis): _axis_values(str(axis), value) for axis, value in params.items()}


def _line(override: Override) -> str:
    """The override as Hydra takes it.

    Below the top level no `+` is needed for keys that a config file leaves at their default, and for those that are
    open by nature (flags); unknown ones are refused when the settings are checked.
    """
    line = override.input_line or ""
    return f"++{line}" if "." in override.key_or_group and override.type is OverrideType.CHANGE else line


def _plain(config: DictConfig) -> dict[str, Any]:
    """The composed values without Hydra's own node, interpolations resolved."""
    names = [str(name) for name in config if name != "hydra"]
    try:
        container = OmegaConf.to_container(OmegaConf.masked_copy(config, names), resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"The configuration does not resolve: {str(error).splitlines()[0]}") from None
    assert isinstance(container, dict), type(container)
    return {str(key): value for key, value in container.items()}


def _shortest(values: Sequence[Scalar]) -> Any:
    return values[0] if len(values) == 1 else list(values)
