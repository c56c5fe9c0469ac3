"""Writes figures as files: whole or not at all, and the same figure as the same bytes."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from aggregation.pictures.picture_frame import styled
from sweeps.errors import LogError

_DPI = 160
#: Without the date and the program's version, by format.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}
FORMATS = tuple(_METADATA)


def check_picture(path: Path) -> None:
    """Raise LogError where the file's suffix names no format of a picture."""
    if path.suffix.removeprefix(".") not in FORMATS:
        raise LogError(f"{path} names no format of a picture; expected a name that ends in .{', .'.join(FORMATS)}.")


def write_picture(figure: Figure, path: Path) -> None:
    """Write a figure into a file, whose suffix names its format.

    Raises:
        LogError: the file cannot be written, or its suffix names no format.
    """
    check_picture(path)
    fresh = path.with_name(f".{path.stem}.new{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with styled():
            figure.savefig(fresh, dpi=_DPI, metadata=_METADATA[path.suffix.removeprefix(".")])
        fresh.replace(path)
    except OSError as error:
        raise LogError(
            f"{path} cannot be written: {error.strerror or error}. Expected a folder for pictures; name another."
        ) from None
