"""The only file that reads the clock."""

import time


def now() -> float:
    """Seconds since 1970, as events carry them."""
    return time.time()


def monotonic() -> float:
    """Seconds that never go back, for deadlines within one process."""
    return time.monotonic()


def boottime() -> float:
    """Seconds since the machine was started, for leases: they run out while it is suspended, too.

    Where there is no such clock (only Linux has it), as `monotonic`.
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def sleep(seconds: float) -> None:
    time.sleep(max(0.0, seconds))


def stamp(at: float) -> str:
    """A moment as people read it: `2026-03-01 14:05:09 UTC`."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
