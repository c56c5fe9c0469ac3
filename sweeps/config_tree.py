"""Reads the config tree, and a user's own beside it: which names each group has, and what stands in one file.

Commands that only look a name up come here; to compose a sweep takes Hydra (config.py), which is slow to import.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from sweeps.errors import ConfigError, UnknownNameError


def conf_dir() -> Path:
    """The config tree: at the top of a checkout, inside the package when installed."""
    installed = Path(__file__).parent / "conf"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "conf"


def group_names(group: str, config_dir: Path | None = None) -> list[str]:
    """The names of a group of the config tree, and of a user's own directory, such as every suite.

    Raises:
        ConfigError: the user's directory is not there.
    """
    if config_dir is None:
        return file_names([conf_dir()], group)
    check_config_dir(config_dir)
    return file_names([conf_dir(), config_dir], group)


def read_group(group: str, name: str, config_dir: Path | None = None) -> dict[str, Any]:
    """The plain values of one file of the config tree, such as `suite/gym.yaml`, as they are written.

    Args:
        group: The folder.
        name: The file, without its suffix.
        config_dir: a user's own config directory, which comes before ours.

    Raises:
        UnknownNameError: no file has that name.
        ConfigError: the file holds no mapping.
    """
    names = group_names(group, config_dir)
    if name not in names:
        raise UnknownNameError(group, name, names)
    own = None if config_dir is None else config_dir / group / f"{name}.yaml"
    path = own if own is not None and own.is_file() else conf_dir() / group / f"{name}.yaml"
    try:
        values = read_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no UTF-8: {error}. Save it as UTF-8.") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return {key: value for key, value in values.items() if key != "defaults"}


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


def check_config_dir(config_dir: Path) -> None:
    """Refuse a user's own config directory that is not there."""
    if not config_dir.is_dir():
        raise ConfigError(
            f"--config-dir {str(config_dir)!r} is not a folder; expected one that holds suite/, method/, trainer/, "
            f"cluster/, storage/, experiment/, protocol/ or normaliser/."
        )


def file_names(folders: Sequence[Path], group: str) -> list[str]:
    """The names of a group's files in some folders, each once."""
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def undecodable_file(folders: Sequence[Path]) -> Path | None:
    """The first file of some config directories that is no UTF-8."""
    for path in sorted(path for folder in folders for path in folder.glob("**/*.yaml")):
        try:
            path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return path
    return None
