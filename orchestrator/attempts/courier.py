"""Takes an attempt's checkpoints to the store while its program runs, and brings the last one to where it resumes."""

import contextlib
import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from orchestrator import clock
from orchestrator.attempts.checkpoint_store import REFUSALS, CheckpointStore
from orchestrator.attempts.outbox import Outbox
from orchestrator.attempts.shipping import Carried, Handover
from orchestrator.trainers.checkpoint import CheckpointBrokenError
from orchestrator.trainers.trainer import Trainer
from sweeps.errors import StorageError
from sweeps.layout import RunDir
from sweeps.wording import size_text

log = logging.getLogger(__name__)

#: Between two tries to reach a store, in seconds. Beyond the last, the attempt ends.
_PATIENCE_S = (1.0, 2.0, 5.0, *[10.0] * 25)


class Courier:
    """Of one attempt."""

    def __init__(
        self,
        trainer: Trainer,
        run_dir: RunDir,
        handover: Handover,
        outbox: Outbox,
        attempt: int,
        *,
        is_leased: Callable[[], bool],
    ) -> None:
        """Set up.

        Args:
            is_leased: whether no other attempt can have been started yet.
        """
        self._trainer = trainer
        self._dir = run_dir
        self._handover = handover
        self._outbox = outbox
        self._attempt = attempt
        self._is_leased = is_leased
        self._store = CheckpointStore(handover.store, handover.folder)
        self._published: str | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def fetch(self, should_stop: Callable[[], bool]) -> tuple[Carried | None, tuple[str, ...]]:
        """Bring the newest whole checkpoint; with it, what there is to tell about it.

        Raises:
            CheckpointBrokenError: there are checkpoints, or were, and none of them is whole.
            StorageError: the store was not reached for minutes.
        """
        since = self._handover.since
        for patience_s in (*_PATIENCE_S, None):
            try:
                fetched, faults = self._store.fetch(self._dir.path, since)
                # A disk that is not mounted is an empty folder.
                is_missing = fetched is None and not faults and self._handover.checkpoint
                if not is_missing or patience_s is None or should_stop():
                    break
                log.warning("The store of checkpoints is empty, and must not be.")
                clock.sleep(patience_s)
            except REFUSALS as error:
                if patience_s is None or should_stop():
                    raise StorageError(
                        f"The store of checkpoints {self._handover.store} cannot be reached: {_reason(error)}."
                    ) from None
                log.warning("The store of checkpoints cannot be reached: %s", _reason(error))
                clock.sleep(patience_s)
        if fetched is None:
            if faults or self._handover.checkpoint:
                found = "; ".join(faults) or f"of the latest, {self._handover.checkpoint}, nothing is left"
                raise CheckpointBrokenError(
                    f"None of the checkpoints of {self._handover.folder} in {self._handover.store} is whole ({found}). "
                    f"To start this run from nothing: dreamsweep retry <root> --run … --fresh."
                )
            return None, ()
        self._published = self._trainer.checkpoint_name(self._dir)
        self._outbox.checkpoint = fetched.name
        return fetched.carried, (f"fetched the checkpoint {fetched.name}, {size_text(fetched.bytes)}", *faults)

    def start(self) -> None:
        """From now on, take each new checkpoint to the store."""
        self._thread.start()

    def finish(self) -> None:
        """Take the last one, then stop. Returns when that is done, or has failed."""
        self._is_over.set()
        if self._thread.ident:
            self._thread.join()
            self._take_newest()

    def settle(self) -> None:
        """The run is done: leave only its newest checkpoint in the store, as far as that can be had."""
        with contextlib.suppress(Exception):  # a store's library may raise anything, and the run is done all the same
            self._store.settle(since=self._handover.since, attempt=self._attempt)

    def _run(self) -> None:
        while not self._is_over.wait(self._handover.storage.interval_s):
            self._take_newest()

    def _take_newest(self) -> None:
        try:
            name = self._trainer.checkpoint_name(self._dir)
            # Not before the attempt has a record: what it writes could be told from nobody's.
            is_new = name is not None and name != self._published and self._outbox.started is not None
            if name is not None and is_new and self._is_leased():
                self._take(name)
            self._outbox.trouble = ""
        except Exception as error:  # a store's library may raise anything: the program goes on, and so does this thread
            self._outbox.trouble = _reason(error)

    def _take(self, name: str) -> None:
        spool = self._dir.path / ".spool"
        shutil.rmtree(spool, ignore_errors=True)
        spool.mkdir()
        try:
            self._trainer.snapshot(self._dir, name, spool)
        except FileNotFoundError:
            return  # the program has a newer one by now
        # After the checkpoint: what it was saved behind is in the logs by now.
        carried = self._outbox.unconfirmed()
        published = self._store.publish(
            spool,
            carried,
            pieces=self._pieces,
            label=name,
            may_publish=self._is_leased,
        )
        shutil.rmtree(spool, ignore_errors=True)
        if published is not None:
            self._published = name
            self._outbox.checkpoint = published
            self._store.prune(self._handover.storage.keep, since=self._handover.since, attempt=self._attempt)

    def _pieces(self) -> dict[str, Path]:
        if not self._handover.storage.replay:
            return {}
        return {path.relative_to(self._dir.path).as_posix(): path for path in self._trainer.pieces(self._dir)}


def _reason(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
