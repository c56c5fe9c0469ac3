"""Asks whether the machine of an attempt is about to be taken away."""

import shlex
import subprocess

from orchestrator import clock

_NOTICE_EVERY_S = 5.0


class PreemptionNotice:
    """Asks a program now and then whether this machine is about to be taken away."""

    def __init__(self, command: str | None) -> None:
        self._words = shlex.split(command) if command else []
        self._asked_at = float("-inf")

    def is_given(self) -> bool:
        moment = clock.monotonic()
        if not self._words or moment - self._asked_at < _NOTICE_EVERY_S:
            return False
        self._asked_at = moment
        try:
            return (
                subprocess.run(self._words, capture_output=True, timeout=_NOTICE_EVERY_S, check=False).returncode == 0
            )
        except (OSError, subprocess.TimeoutExpired):
            return False  # a program that does not answer gives no notice
