"""Joins a running cluster."""

import contextlib
import logging
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from sweeps.errors import ClusterError

log = logging.getLogger(__name__)

_ANSWER_LIMIT_S = 10.0


def join(address: str) -> None:
    """Connect this process to a running cluster.

    Raises:
        ClusterError: there is none, or it does not let us in.
    """
    try:
        _check_answers(address)
        on_sigterm = signal.getsignal(signal.SIGTERM)
        # Workers look for modules first in the folder from which Ray was joined: there, a file of the user's named
        # statistics.py would be taken for Python's, and no worker would start.
        with contextlib.chdir(Path(__file__).parents[2]):
            # Ray's own lines belong into its log folder, not into the table of a sweep.
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
        with contextlib.suppress(ValueError, TypeError):  # not the first thread, or a handler that is not Python's
            # Ray takes it, also in the middle of a sweep that had to join another cluster.
            signal.signal(signal.SIGTERM, on_sigterm)
        # What it has to say of dead nodes and workers it would print all the same, also between the lines of --json.
        ray._private.worker.print_to_stdstream = _note_lines
    except (OSError, RuntimeError, RayError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ClusterError(
            f"Cannot join the Ray cluster at cluster.address={address!r}: {reason}. Expected 'auto' "
            f"on a node of a running cluster, or host:port of its head. Is it up (`ray status`), and does this shell "
            f"have its token (RAY_AUTH_MODE, RAY_AUTH_TOKEN_PATH)?"
        ) from None


def _note_lines(data: Mapping[str, Any], **_: object) -> None:
    """Ray's lines for its driver's terminal."""
    for line in data["lines"]:
        log.info("Ray: %s", line)


def _check_answers(address: str) -> None:
    """Fail at once where nobody listens: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:  # not for ray://, which it handles itself
        socket.create_connection((host, int(port)), timeout=_ANSWER_LIMIT_S).close()
