"""Turns Ctrl-C and SIGTERM into a question that the loop asks: shall it stop? A terminal may close meanwhile."""

import contextlib
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Listens to signals inside a `with` block. The first one asks to stop; a second one interrupts at once.

    SIGHUP means that the terminal has closed, and nothing else: whoever closes it wants the sweep to go on.
    """

    def __init__(self, on_first: Callable[[], None]) -> None:
        self._on_first = on_first
        self._before: dict[int, Any] = {}
        self.is_requested = False

    def __enter__(self) -> Self:
        self._before = {number: signal.getsignal(number) for number in (*_SIGNALS, signal.SIGHUP)}
        self.listen()
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def listen(self) -> None:
        """Take the signals, also where a library has taken them meanwhile (ray.init takes SIGTERM)."""
        for number in _SIGNALS:
            signal.signal(number, self._receive)
        # Not ignored: that would be handed down to what is started from here.
        signal.signal(signal.SIGHUP, lambda *_: None)

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        if self.is_requested:
            raise KeyboardInterrupt
        self.is_requested = True
        with contextlib.suppress(RuntimeError):  # this came in the middle of a line to the same console
            self._on_first()
