"""The orchestrator's end of `storage=ship`: the only writer of the run directories of a root that no worker sees.

    attempts/shipped.json    {"attempt", "sizes", "since", "checkpoint"}: written before an attempt is launched

What has arrived is told by the sizes of the files alone, so nothing else needs to be remembered or recovered.
"""

import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aggregation.logs.log_format import LogFormat
from orchestrator.attempts.attempt_log import has_ended_well, write_attempt
from orchestrator.attempts.fresh_start import start_afresh
from orchestrator.attempts.shipping import Chunk, Handover, Parcel, news
from sweeps.contracts import Attempt, RunKey, RunSpec
from sweeps.errors import RootError, StorageError
from sweeps.files import make_durable, read_records, size_of, write_atomically
from sweeps.layout import RunDir, SweepRoot
from sweeps.settings import ClusterSettings, StorageSettings

log = logging.getLogger(__name__)


class Dock:
    """Hands runs over to attempts, and takes in what they send."""

    def __init__(self, root: SweepRoot, sweep_id: str, storage: StorageSettings) -> None:
        self._root = root
        self._sweep_id = sweep_id
        self._storage = storage
        self._troubles: dict[RunKey, str] = {}
        #: What the files say of the attempts that are in flight; nobody else writes them.
        self._records: dict[RunKey, Attempt] = {}
        self._checkpoints: dict[RunKey, str] = {}

    @property
    def store(self) -> str:
        """The URL of the store of checkpoints."""
        return self._storage.checkpoints or self._root.checkpoints.absolute().as_uri()

    @property
    def interval_s(self) -> float:
        """Between two questions to one attempt."""
        return self._storage.interval_s

    def hand_over(self, spec: RunSpec, attempt: int, fresh_from: int) -> Handover:
        """Make a run's directory ready for an attempt. Nothing of earlier ones may be taken in any more.

        Raises:
            OSError: the root cannot be written.
        """
        run_dir = self._root.run_dir(spec.key)
        run_dir.shipped.parent.mkdir(parents=True, exist_ok=True)
        if not run_dir.spec.exists():
            # Another launch, of other runs, may find this attempt before it has sent anything.
            write_atomically(run_dir.spec, json.dumps(spec.to_json(), indent=2) + "\n")
        set_aside = start_afresh(run_dir, fresh_from)
        logs = self._logs(spec)
        sizes, torn = {}, set()
        for name in logs:
            path = run_dir.path / name
            if path.exists() and path.stat().st_size:
                make_durable(path)
                sizes[name] = size_of(path)
                if not _ends_with_newline(path):
                    torn.add(name)
        before = next(read_records(run_dir.shipped), {})
        checkpoint = before.get("checkpoint", "") if before.get("since", 0) == fresh_from else ""
        record = {"attempt": attempt, "sizes": sizes, "since": fresh_from, "checkpoint": checkpoint}
        write_atomically(run_dir.shipped, json.dumps(record) + "\n")
        self._checkpoints[spec.key] = checkpoint
        return Handover(
            storage=self._storage,
            store=self.store,
            folder=f"{self._sweep_id}/{spec.key}",
            sizes=sizes,
            torn=frozenset(torn),
            seams=_seams(run_dir, fresh_from),
            since=fresh_from,
            checkpoint=checkpoint,
            set_aside=set_aside,
            is_over=run_dir.done.exists() or has_ended_well(run_dir),
        )

    def have(self, spec: RunSpec) -> dict[str, int]:
        """How far each log of a run has come."""
        run_dir = self._root.run_dir(spec.key)
        return {name: size_of(run_dir.path / name) for name in self._logs(spec)}

    def was_handed_over(self, key: RunKey, attempt: int) -> bool:
        """Whether an attempt may have been told to start; an orchestrator may have died before it did so."""
        record = next(read_records(self._root.run_dir(key).shipped), {})
        return bool(record.get("attempt") == attempt)

    def take(self, key: RunKey, attempt: int, parcel: Parcel) -> None:
        """Unpack what the attempt that the run was handed over to has sent; the same again changes nothing.

        Raises:
            OSError: the root cannot be written; what was not taken in will be sent again.
        """
        run_dir = self._root.run_dir(key)
        for name, content in parcel.files.items():
            path = run_dir.path / name
            # Frozen by the first attempt that has sent it, with its host.
            if path != run_dir.spec or not run_dir.attempts.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, content)
        record = parcel.record
        known = self._records.get(key)
        is_known = known is not None and known.attempt == attempt
        # The line comes before the bytes that it explains. It is completed behind them, when they are safe.
        if record is not None and (not is_known or (record != known and not parcel.is_all)):
            if not is_known:
                on_file = {line.get("attempt") for line in read_records(run_dir.attempts)}
                for earlier in parcel.earlier:
                    if earlier.attempt not in on_file:
                        write_attempt(run_dir, earlier)
            self._write_record(run_dir, key, record if is_known else replace(record, outcome=None, ended_at=None))
        for chunk in parcel.chunks:
            _append(run_dir.path / chunk.log, chunk)
        if parcel.checkpoint:
            self._note_checkpoint(run_dir, key, parcel.checkpoint)
        self._note_trouble(key, parcel.trouble)
        if parcel.is_all:
            self._finish(run_dir, key, attempt, parcel)

    def _finish(self, run_dir: RunDir, key: RunKey, attempt: int, parcel: Parcel) -> None:
        record = parcel.record
        for name in () if record is None else record.log_bytes:
            if (run_dir.path / name).exists():
                make_durable(run_dir.path / name)
        if parcel.exit_status is not None:
            write_atomically(run_dir.exit_status(attempt), parcel.exit_status)
        if record is not None:
            self._write_record(run_dir, key, record)
        has_succeeded = has_ended_well(run_dir) if record is None else record.outcome == "succeeded"
        if has_succeeded and not run_dir.done.exists():
            ended_at = None if record is None else record.ended_at
            write_atomically(run_dir.done, json.dumps({"attempt": attempt, "ended_at": ended_at}) + "\n")

    def _write_record(self, run_dir: RunDir, key: RunKey, record: Attempt) -> None:
        write_attempt(run_dir, record)
        self._records[key] = record

    def _logs(self, spec: RunSpec) -> tuple[str, ...]:
        run_dir = self._root.run_dir(spec.key)
        own = (run_dir.metrics.name, run_dir.stdout.name)
        return tuple(dict.fromkeys([LogFormat.from_trainer(spec.trainer).file, *own]))

    def _note_checkpoint(self, run_dir: RunDir, key: RunKey, name: str) -> None:
        if self._checkpoints.get(key) != name:
            record: dict[str, Any] = next(read_records(run_dir.shipped), {})
            write_atomically(run_dir.shipped, json.dumps({**record, "checkpoint": name}) + "\n")
            self._checkpoints[key] = name

    def _note_trouble(self, key: RunKey, trouble: str) -> None:
        if trouble and self._troubles.get(key) != trouble:
            log.warning("%s: its checkpoints cannot be stored: %s. It trains on, and tries again.", key, trouble)
        self._troubles[key] = trouble


def check_storage(root: SweepRoot, keys: Iterable[RunKey], storage: StorageSettings) -> None:
    """See that no run that is under way would be gone on with under the other storage: its checkpoint is elsewhere.

    Raises:
        RootError: one would.
    """
    for key in keys:
        run_dir = root.run_dir(key)
        if run_dir.done.exists() or not run_dir.attempts.exists():
            continue
        was_shipped = run_dir.shipped.exists()
        if was_shipped != (storage.kind == "ship"):
            before, now = ("ship", "shared") if was_shipped else ("shared", "ship")
            raise RootError(
                f"The run {key} in {root.path} was begun with storage={before}, and its checkpoints lie where that "
                f"puts them; storage={now} would begin it anew. Give storage={before}, or another root."
            )


def check_store(storage: StorageSettings, cluster: ClusterSettings) -> None:
    """See that a store was named where attempts cannot see the root.

    Raises:
        StorageError: none was.
    """
    if storage.kind == "ship" and storage.checkpoints is None and cluster.backend == "ray":
        raise StorageError(
            "storage.checkpoints is not set; expected the URL of a store that every node reaches, as "
            "storage.checkpoints=s3://bucket/path. Only cluster=local and cluster=process can do without: there it is "
            "a folder of the root."
        )


def _seams(run_dir: RunDir, fresh_from: int) -> dict[int, Mapping[str, int]]:
    lines = [line for line in read_records(run_dir.attempts) if line.get("attempt", -1) >= fresh_from]
    return {line["attempt"]: line.get("log_bytes", {}) for line in lines}


def _append(path: Path, chunk: Chunk) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        size = file.tell()
        if chunk.offset > size:
            # It was asked for from here, so the file has lost bytes since: a host that went down, or a person.
            log.warning("%s has lost %d bytes that had been there; the gap is filled.", path, chunk.offset - size)
            file.write(b"\n" * (chunk.offset - size))
            size = chunk.offset
        file.write(news(size, chunk))


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
