"""Imports of packages that only some suites need. Fails in one line that says what to install."""

import importlib
import types


def require(module: str, *, package: str, extra: str) -> types.ModuleType:
    """Import `module`, part of the PyPI `package`, which comes with dreamsweep's `extra`.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise  # the package is there, but something that it needs is not
        raise ModuleNotFoundError(
            f"{package} is not installed; install the extra: pip install 'dreamsweep[{extra}]'", name=error.name
        ) from None
