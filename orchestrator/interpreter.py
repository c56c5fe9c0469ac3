"""Starts Python for a program of our own, whatever lies in the folder where the user stands."""

import sys
from pathlib import Path


def interpreter() -> list[str]:
    """The first words of a command, before `-m`: a file of the user's named `queue.py` shall not be taken for Python's.

    In a checkout that was never installed, the current folder is where its own modules are found.
    """
    is_checkout = Path.cwd() == Path(__file__).parent.parent
    return [sys.executable] if is_checkout else [sys.executable, "-P"]
