"""Composes the configuration with Hydra: the only file that knows it.

An axis (suite, task, method, train_ratio, seed) takes its values from, in this order: the command line
(`seed=0,1`, `seed=range(0,5)`, `seed=[0,1]`), the experiment's `hydra.sweeper.params`, the composed config.
`replay_ratio` is another name of train_ratio, the paper's. Every suite × method pair is composed once; tasks, ratios,
seeds and further axes are expanded without Hydra.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, OverrideType, Quote, QuotedString, Transformer
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from sweeps.cell_rules import CellRules, Rule
from sweeps.config_tree import check_config_dir, conf_dir, file_names, read_group, undecodable_file
from sweeps.contracts import Option, Scalar
from sweeps.errors import ConfigError, GridError, UnknownNameError
from sweeps.grid import Product
from sweeps.selection import matching
from sweeps.settings import SweepSettings, checked, flat_options

AXES = ("suite", "task", "method", "train_ratio", "seed")
#: Other names of an axis. The paper's replay ratio is the same quantity as the trainer's train_ratio.
_ALIASES = {"replay_ratio": "train_ratio"}
_GROUPS = ("suite", "method", "trainer", "cluster", "storage", "experiment")
#: Keys whose value is text: a path, a program with its words, a URL. `~`, `=`, `{` and `é` need no quotes there.
_TEXT_KEY = re.compile(
    r"name|root|trainer\.(command|repo|revision|python|home|checkpoint|environ\.\w+)"
    r"|storage\.(checkpoints|local_dir)|cluster\.(address|namespace|preemption_command)"
)


@dataclass(frozen=True, slots=True)
class SweepConfig:
    """A composed sweep: the products that its grid is made of, and the rules about them."""

    #: The sweep's own product first, then one for each entry of `extra`.
    products: tuple[Product, ...]
    only: tuple[Rule, ...]
    exclude: tuple[Rule, ...]
    zipped: tuple[tuple[str, ...], ...]
    #: What `--cfg` prints and sweep.yaml keeps.
    text: str

    @property
    def first(self) -> SweepSettings:
        """The settings that do not vary with the axes (name, root, cluster) are the same in each."""
        return self.products[0].bases[0]

    def rules(self) -> CellRules:
        """The rules, which count what they match: a new record for every expansion."""
        return CellRules(self.only, self.exclude, self.zipped)


def compose_sweep(overrides: Sequence[str], config_dir: Path | None = None) -> SweepConfig:
    """Compose a sweep from Hydra overrides.

    Args:
        overrides: as typed, sweep syntax allowed for the axes.
        config_dir: a user's own config directory, searched beside ours.

    Raises:
        UnknownNameError: an unknown key, suite, method, trainer, cluster, storage or experiment.
        GridError: an axis without a value, or with something that is no list of values.
        ConfigError: anything else that does not compose.
    """
    axes, options, plain = _split(_parse(overrides))
    lines = [_line(override) for override in plain]
    with _Composer(config_dir, lines) as composer:
        for override in plain:
            if override.key_or_group in _GROUPS and not override.is_delete():
                composer.check_name(override.key_or_group, override.value())
        outer = composer.compose([*lines, *composer.first_choices(axes)])
        swept = {**_sweeper_params(outer), **axes}
        choices = outer.hydra.runtime.choices
        suites = composer.expand("suite", swept.pop("suite", [choices["suite"]]))
        methods = composer.expand("method", swept.pop("method", [choices["method"]]))
        composed = [composer.pair(suite, method) for suite in suites for method in methods]
        first = composed[0]
        values = {axis: swept.get(axis) or _config_axis(axis, first) for axis in ("task", "train_ratio", "seed")}
        settings = tuple(checked(SweepSettings, composer.with_own_parts(config)) for config in composed)
        main = Product(
            bases=settings,
            tasks=tuple(values["task"]),
            train_ratios=tuple(values["train_ratio"]),
            seeds=tuple(values["seed"]),
            method_seeds=_method_seeds(settings),
            options={**_option_axes(settings[0].axes), **options},
        )
        extra = [_extra_product(entry, main, composer, suites, methods) for entry in settings[0].extra]
    shown = {**first, **{axis: _shortest(values[axis]) for axis in values}}
    if main.options:
        shown["axes"] = {axis: list(choices) for axis, choices in main.options.items()}
    if len(composed) > 1:
        shown["suite"] = [config["suite"] for config in composed][:: len(methods)]
        shown["method"] = [config["method"] for config in composed][: len(methods)]
    return SweepConfig(
        products=(main, *extra),
        only=tuple(_rule(entry, "only") for entry in settings[0].only),
        exclude=tuple(_rule(entry, "exclude") for entry in settings[0].exclude),
        zipped=tuple(tuple(_axis_name(axis) for axis in group) for group in settings[0].zip),
        text=OmegaConf.to_yaml(OmegaConf.create(shown)),
    )


class _Composer:
    """Hydra, initialised for one or several compositions from the same config directories."""

    def __init__(self, config_dir: Path | None, lines: Sequence[str]) -> None:
        self._config_dir = config_dir
        self._dirs = [conf_dir()]
        self._search: list[str] = []
        self._lines = lines
        self._pairs: dict[tuple[str, str], dict[str, Any]] = {}
        #: Each method with its interpolations as they are written.
        self._raw_methods: dict[str, Any] = {}
        self._first: tuple[str, str] | None = None
        if config_dir is not None:
            check_config_dir(config_dir)
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
        except YAMLError as error:
            raise ConfigError(f"A file of the configuration is no YAML: {' '.join(str(error).split())}.") from None
        except UnicodeDecodeError as error:
            path = undecodable_file(self._dirs)
            raise ConfigError(
                f"{path or 'A file of the configuration'} is no UTF-8: {error}. Save it as UTF-8."
            ) from None
        except (HydraException, OmegaConfBaseException) as error:
            raise self._translated(error, lines) from None

    def pair(self, suite: str, method: str) -> dict[str, Any]:
        """The plain values of the sweep with this suite and this method.

        Composing takes Hydra a while. A method that touches nothing but its own key, which is nearly every one, is
        composed once and put beside each suite.
        """
        first_suite, first_method = self._first = self._first or (suite, method)
        if suite == first_suite or method == first_method:
            return self._composed(suite, method)
        plain, other = self._composed(first_suite, first_method), self._composed(first_suite, method)
        if "${" in str(self._raw_methods[method]) or {**plain, "method": None} != {**other, "method": None}:
            return self._composed(suite, method)
        return {**self._composed(suite, first_method), "method": other["method"]}

    def _composed(self, suite: str, method: str) -> dict[str, Any]:
        if (suite, method) not in self._pairs:
            composed = self.compose([*self._lines, f"suite={suite}", f"method={method}"])
            self._pairs[suite, method] = _plain(composed)
            self._raw_methods[method] = OmegaConf.to_container(composed.method)
        return self._pairs[suite, method]

    def with_own_parts(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The values with what the method brings of its own laid over the sweep's trainer and resources."""
        method = config.get("method")
        own = dict(method) if isinstance(method, Mapping) else {}
        trainer, resources = own.get("trainer") or {}, own.get("resources") or {}
        suite = config.get("suite")
        if isinstance(suite, Mapping) and isinstance(suite.get("evaluation"), str):
            name = suite["evaluation"]
            protocol = {"name": name, **read_group("protocol", name, self._config_dir)}
            config = {**config, "suite": {**suite, "evaluation": protocol}}
        base = config.get("trainer") or {}
        if not all(isinstance(part, Mapping) for part in (trainer, resources, base)):
            return dict(config)  # refused in a moment, with its key
        if trainer and trainer.get("adapter", base.get("adapter")) != base.get("adapter"):
            # Another program: the options meant for the sweep's own would not fit it.
            self.check_name("trainer", trainer["adapter"])
            base = _plain(self.compose([f"trainer={trainer['adapter']}"]))["trainer"]
        return {
            **config,
            "trainer": {**base, **trainer},
            "resources": _laid_over(config.get("resources") or {}, resources),
        }

    def expand(self, group: str, names: Sequence[object]) -> list[str]:
        """The named configs of a group, wild cards expanded."""
        options = self._options(group)
        expanded: list[str] = []
        for name in names:
            matches = matching(str(name), options)
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
        return file_names(self._dirs, group)

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


def _laid_over(base: Any, own: Mapping[str, Any]) -> Any:
    """The values with some of them replaced; what is no mapping stays, and is refused with its key."""
    return {**base, **own} if isinstance(base, Mapping) else base


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
    return [_parsed(text) for text in overrides]


def _parsed(text: str) -> Override:
    """One override; the value of a key that holds text is taken as it was typed where Hydra would not read a text."""
    quoted = _quoted(text)
    try:
        (override,) = OverridesParser.create().parse_overrides([text])
        is_other = override.is_sweep_override() or type(override.value()) in (int, float, bool)
        return _parsed(quoted) if quoted and is_other else override
    except HydraException as error:
        if quoted:
            return _parsed(quoted)
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"Cannot read the override {text!r}: {reason}. Expected key=value, for example seed=0,1 or "
            f"'seed=range(0,5)' (quoted, since the shell reads brackets)."
        ) from None


def _quoted(text: str) -> str | None:
    """The override of a key that holds text with its value in quotes; None of any other, and where it has them."""
    key, sign, value = text.partition("=")
    if not sign or not _TEXT_KEY.fullmatch(key.lstrip("+")) or value.lstrip()[:1] in ("'", '"'):
        return None
    return f"{key}={QuotedString(text=value, quote=Quote.single).with_quotes()}"


def _split(
    overrides: Sequence[Override],
) -> tuple[dict[str, list[Scalar]], dict[str, tuple[Option, ...]], list[Override]]:
    """Separate the axes, with their values, and the further axes (`axes.<option>=…`) from everything else."""
    axes: dict[str, list[Scalar]] = {}
    options: dict[str, tuple[Option, ...]] = {}
    plain = []
    for override in overrides:
        name = override.key_or_group
        axis = _axis_name(name)
        if axis in AXES and override.package is None and not override.is_delete():
            if axis in axes:
                also = "" if axis == name else f" ({name} is another name of it)"
                raise GridError(f"The axis {axis!r} is given twice{also}; give all its values at once, as {axis}=a,b.")
            axes[axis] = _override_values(override)
        elif name.startswith("axes.") and not override.is_delete():
            options[name.removeprefix("axes.")] = _option_values(override)
        elif override.is_sweep_override():
            raise GridError(
                f"{override.input_line!r} sweeps over {name!r}, which is no axis. The axes are {', '.join(AXES)}; to "
                f"sweep over an option of the trainer, write axes.{name.removeprefix('flags.')}=a,b."
            )
        else:
            plain.append(override)
    return axes, options, plain


def _axis_name(name: str) -> str:
    return _ALIASES.get(name, name)


def _option_values(override: Override) -> tuple[Option, ...]:
    """The values of a further axis, given as `a,b`, as a range, or as a list."""
    if override.is_discrete_sweep() and not isinstance(override.value(), Glob):
        return _options(override.key_or_group, list(override.sweep_iterator(Transformer.identity)))
    return _options(override.key_or_group, override.value())


def _options(axis: str, value: object) -> tuple[Option, ...]:
    """Plain values, each a scalar or a list of scalars; Hydra's quoted strings are unwrapped."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise GridError(f"The axis {axis!r} is empty; give at least one value, or leave it out.")
    return tuple(_scalars(axis, item) if isinstance(item, list) else _scalars(axis, [item])[0] for item in values)


def _option_axes(axes: Mapping[str, Any]) -> dict[str, tuple[Option, ...]]:
    """The further axes of a config file."""
    return {axis: _options(f"axes.{axis}", _swept(axis, value)) for axis, value in flat_options(dict(axes)).items()}


def _config_axis(axis: str, config: Mapping[str, Any]) -> list[Scalar]:
    """The values of an axis that only the config files give, under its name or another name of it."""
    for name in _ALIASES:
        if _ALIASES[name] == axis and config.get(name) is not None:
            if config.get(axis) != "default":
                raise GridError(f"{axis} is given twice, also as {name}, which is another name of it; keep one.")
            return _axis_values(axis, config[name])
    return _axis_values(axis, config.get(axis))


def _method_seeds(bases: Sequence[SweepSettings]) -> dict[str, tuple[Scalar, ...]]:
    """The seeds of single methods.

    Raises:
        UnknownNameError: a method that is not in the sweep.
    """
    methods = [base.method.name for base in bases]
    for method in bases[0].method_seeds:
        if method not in methods:
            raise UnknownNameError("method", method, methods, where="method_seeds")
    return {method: tuple(_axis_values("seed", values)) for method, values in bases[0].method_seeds.items()}


def _extra_product(
    entry: Mapping[str, Any], main: Product, composer: _Composer, suites: Sequence[str], methods: Sequence[str]
) -> Product:
    """The cells that one entry of `extra` adds; for an axis that it does not name, the sweep's own values."""
    rule = _rule(entry, "extra")
    for axis in rule:
        if axis not in AXES and axis not in main.options:
            raise UnknownNameError("axis", axis, [*AXES, *main.options], where="extra")
    pairs = [
        composer.pair(suite, method)
        for suite in composer.expand("suite", rule.get("suite", suites))
        for method in composer.expand("method", rule.get("method", methods))
    ]
    return Product(
        bases=tuple(checked(SweepSettings, composer.with_own_parts(config)) for config in pairs),
        tasks=_plain_values(rule, "task", main.tasks),
        train_ratios=_plain_values(rule, "train_ratio", main.train_ratios),
        seeds=_plain_values(rule, "seed", main.seeds),
        method_seeds={} if "seed" in rule else main.method_seeds,
        options={axis: rule.get(axis, values) for axis, values in main.options.items()},
    )


def _plain_values(rule: Rule, axis: str, default: tuple[Scalar, ...]) -> tuple[Scalar, ...]:
    return tuple(_scalars(axis, list(rule[axis]))) if axis in rule else default


def _rule(entry: Mapping[str, Any], where: str) -> Rule:
    """Values by axis, of one entry of `only`, `exclude` or `extra`."""
    if not entry:
        raise GridError(f"{where} holds an empty entry; expected values by axis, as {{task: dmc_walker_walk}}.")
    return {
        _axis_name(axis): _options(f"{where}.{axis}", _swept(_axis_name(axis), value))
        for axis, value in flat_options(dict(entry)).items()
    }


def _swept(axis: str, value: object) -> object:
    """A value of a config file, where the string of an axis may hold sweep syntax."""
    is_sweep = isinstance(value, str) and ("," in value or re.match(r"(range|choice)\(", value))
    if not is_sweep:
        return value
    override = _parse([f"{axis if axis in AXES else 'axes.x'}={value}"])[0]
    return list(override.sweep_iterator(Transformer.identity)) if override.is_discrete_sweep() else override.value()


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
    values: dict[str, list[Scalar]] = {}
    for name, value in params.items():
        axis = _axis_name(str(name))
        if axis not in AXES:
            raise UnknownNameError("axis", name, AXES, where="hydra.sweeper.params")
        values[axis] = _axis_values(axis, value)
    return values


def _line(override: Override) -> str:
    """The override as Hydra takes it.

    Below the top level, and for mappings, no `+` is needed for keys that a config file leaves at their default, and for
    those that are open by nature (flags); unknown ones are refused when the settings are checked.
    """
    line = override.input_line or ""
    is_open = "." in override.key_or_group or isinstance(override.value(), dict)
    return f"++{line}" if is_open and override.type is OverrideType.CHANGE else line


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
