"""The store of checkpoints of `storage=ship`: any file system that Arrow reaches by URL. No other file speaks to one.

    <url>/<sweep id>/<run>/manifests/<attempt>-<number>.json    what a checkpoint holds; written last
    <url>/<sweep id>/<run>/checkpoints/<attempt>-<number>/…     its files, and the ends of the logs
    <url>/<sweep id>/<run>/pieces/…                             files that several checkpoints need: the replay buffer

A checkpoint is there once its manifest is, with a digest of itself that a torn one lacks. Each file is told with its
size and SHA-256, which are checked when it is fetched. Credentials come from the environment, as each store has it.
"""

import contextlib
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from orchestrator.attempts.shipping import Carried
from sweeps.contracts import Attempt
from sweeps.errors import StorageError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_BLOCK_BYTES = 4 * 1024 * 1024
_NAME = re.compile(r"(\d+)-(\d+)\.json")
#: What Arrow, fsspec and the libraries under them raise where a store does not do what it is asked for.
REFUSALS = (OSError, ValueError, NotImplementedError, ImportError, TypeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A checkpoint that was fetched."""

    name: str
    carried: Carried
    bytes: int
    #: What was left out or passed over, in words.
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class _Name:
    """Sorts checkpoints by age."""

    attempt: int
    number: int

    def __str__(self) -> str:
        return f"{self.attempt:06d}-{self.number:06d}"


class _DamagedError(Exception):
    """A file in the store is not what its manifest says."""


@dataclass(slots=True)
class CheckpointStore:
    """The checkpoints of one run."""

    url: str
    #: The run's folder below the URL.
    folder: str
    _known_pieces: dict[str, dict[str, Any]] = field(default_factory=dict)

    def names(self, since: int = 0) -> list[_Name]:
        """The checkpoints of attempts from `since` on, oldest first; whether they are whole is not looked at."""
        names = []
        for file in self._files.listed(self._path("manifests")):
            match = _NAME.fullmatch(PurePosixPath(file).name)
            if match and int(match[1]) >= since:
                names.append(_Name(int(match[1]), int(match[2])))
        return sorted(names)

    def publish(
        self,
        files: Path,
        carried: Carried,
        *,
        pieces: Callable[[], Mapping[str, Path]],
        label: str,
        may_publish: Callable[[], bool] = lambda: True,
    ) -> str | None:
        """Upload a checkpoint; returns its name, or None where it may not be published any more.

        Args:
            files: a folder that holds it as it lies in a run directory, and that nobody changes.
            pieces: tells further files that it needs, by path in the run directory, each of which is uploaded once and
                never changes. Asked late: the trainer writes some of them behind the checkpoint.
            label: the trainer's name for it.
            may_publish: asked last: an attempt that was given up must not add anything.

        Raises:
            REFUSALS: the store does not do it.
        """
        numbers = [name.number for name in self.names() if name.attempt == carried.attempt]
        name = _Name(carried.attempt, max(numbers, default=0) + 1)
        folder = self._path(f"checkpoints/{name}")
        parts = {}
        for path in sorted(files.rglob("*")):
            if path.is_file():
                place = path.relative_to(files).as_posix()
                parts[place] = self._upload(path, f"{folder}/files/{place}")
        needed = pieces()
        for place, path in needed.items():
            if place not in self._known_pieces:
                self._known_pieces[place] = self._upload(path, self._path(f"pieces/{place}"))
        ends = {}
        for log, (start, data) in carried.ends.items():
            if data:
                self._files.write(f"{folder}/logs/{log}", data)
                ends[log] = {"start": start, **_digest_of(data)}
        body = {
            "attempt": carried.attempt,
            "label": label,
            "files": parts,
            "pieces": {place: self._known_pieces[place] for place in needed},
            "logs": ends,
            "records": [record.to_json() for record in carried.records],
        }
        if not may_publish():
            return None
        self._files.write(self._manifest(name), _sealed(body))
        return str(name)

    def prune(self, keep: int, *, since: int, attempt: int) -> None:
        """Remove all but the newest checkpoints, and what earlier attempts uploaded without coming to its manifest.

        Args:
            since: what is of attempts before this one stays as it is.
            attempt: the one that goes on; every earlier one is over.

        Raises:
            REFUSALS: the store does not do it.
        """
        names = self.names(since)
        for name in names[:-keep]:
            self._files.remove(self._manifest(name))
            self._files.remove_folder(self._path(f"checkpoints/{name}"))
        whole = {str(name) for name in names}
        for path in self._files.folders(self._path("checkpoints")):
            folder = PurePosixPath(path).name
            if folder not in whole and folder[:6].isdigit() and since <= int(folder[:6]) < attempt:
                self._files.remove_folder(self._path(f"checkpoints/{folder}"))

    def settle(self, *, since: int, attempt: int) -> None:
        """The run is done: remove what only one that goes on needs, and all checkpoints but the newest.

        Raises:
            REFUSALS: the store does not do it.
        """
        self.prune(1, since=since, attempt=attempt)
        for name in self.names(since):
            body = self._read_manifest(name)
            if body is not None and body["pieces"]:
                self._files.write(self._manifest(name), _sealed({**body, "pieces": {}}))
        self._files.remove_folder(self._path("pieces"))

    def fetch(self, into: Path, since: int = 0) -> tuple[Fetched | None, tuple[str, ...]]:
        """Bring the newest whole checkpoint into a run directory; with it, what is wrong with newer ones.

        Raises:
            REFUSALS: the store does not do it.
        """
        faults: list[str] = []
        for name in reversed(self.names(since)):
            body = self._read_manifest(name)
            if body is None:
                faults.append(f"the manifest of checkpoint {name} is torn")
                continue
            try:
                return self._fetch(name, body, into, faults), tuple(faults)
            except (_DamagedError, FileNotFoundError) as error:
                faults.append(f"checkpoint {name} is damaged: {error}")
                for place in body["files"]:
                    (into / place).unlink(missing_ok=True)
        return None, tuple(faults)

    def _fetch(self, name: _Name, body: Mapping[str, Any], into: Path, faults: list[str]) -> Fetched:
        folder = self._path(f"checkpoints/{name}")
        total = 0
        for place, told in body["files"].items():
            self._files.download(f"{folder}/files/{place}", into / place, told)
            total += told["size"]
        missing = 0
        for place, told in body["pieces"].items():
            try:
                self._files.download(self._path(f"pieces/{place}"), into / place, told)
            except (_DamagedError, FileNotFoundError):
                missing += 1  # the trainer leaves out what it cannot read of its replay buffer
                continue
            self._known_pieces[place] = dict(told)
            total += told["size"]
        if missing:
            faults.append(f"{missing} of {len(body['pieces'])} pieces of checkpoint {name} are damaged or missing")
        ends = {}
        for log, told in body["logs"].items():
            data = self._files.read(f"{folder}/logs/{log}")
            if _digest_of(data) != {"size": told["size"], "sha256": told["sha256"]}:
                raise _DamagedError(f"the end of {log} is not what was uploaded")
            ends[log] = (int(told["start"]), data)
        return Fetched(
            name=str(name),
            carried=Carried(
                attempt=int(body["attempt"]),
                ends=ends,
                records=tuple(Attempt.from_json(record) for record in body["records"]),
            ),
            bytes=total,
            faults=tuple(faults),
        )

    def _read_manifest(self, name: _Name) -> dict[str, Any] | None:
        try:
            return _unsealed(self._files.read(self._manifest(name)))
        except FileNotFoundError:
            return None

    def _upload(self, source: Path, target: str) -> dict[str, Any]:
        digest, size = hashlib.sha256(), 0
        with source.open("rb") as file, self._files.writing(target) as sink:
            while block := file.read(_BLOCK_BYTES):
                sink.write(block)
                digest.update(block)
                size += len(block)
        return {"size": size, "sha256": digest.hexdigest()}

    def _manifest(self, name: _Name) -> str:
        return self._path(f"manifests/{name}.json")

    def _path(self, place: str) -> str:
        return f"{self.folder}/{place}"

    @property
    def _files(self) -> "_Files":
        return _files_at(self.url)


class _Files:
    """A folder of any file system, with the few things that are needed of one."""

    def __init__(self, url: str) -> None:
        self.system, self.top = _system_at(url)

    def listed(self, folder: str) -> list[str]:
        """The files in a folder."""
        return [info.path for info in self._entries(folder) if info.is_file]

    def folders(self, folder: str) -> list[str]:
        """The folders in a folder."""
        return [info.path for info in self._entries(folder) if not info.is_file]

    def _entries(self, folder: str) -> list[Any]:
        from pyarrow.fs import FileSelector

        return list(self.system.get_file_info(FileSelector(self._at(folder), allow_not_found=True)))

    def read(self, path: str) -> bytes:
        with self.system.open_input_stream(self._at(path)) as stream:
            return bytes(stream.read())

    def writing(self, path: str) -> Any:
        if self._has_folders:
            self.system.create_dir(self._at(str(PurePosixPath(path).parent)), recursive=True)
        return self.system.open_output_stream(self._at(path))

    def write(self, path: str, data: bytes) -> None:
        with self.writing(path) as stream:
            stream.write(data)

    def download(self, path: str, into: Path, told: Mapping[str, Any]) -> None:
        """Raises _DamagedError where what comes is not what was uploaded."""
        into.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with self.system.open_input_stream(self._at(path)) as stream, into.open("wb") as file:
            while block := stream.read(_BLOCK_BYTES):
                file.write(block)
                digest.update(block)
                size += len(block)
        if (size, digest.hexdigest()) != (told["size"], told["sha256"]):
            into.unlink()
            raise _DamagedError(f"{PurePosixPath(path).name} is not what was uploaded")

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.system.delete_file(self._at(path))

    def remove_folder(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.system.delete_dir(self._at(path))

    def _at(self, path: str) -> str:
        return f"{self.top}/{path}"

    @cached_property
    def _has_folders(self) -> bool:
        """Object stores have none; making some there costs a request each."""
        return self.system.type_name not in ("s3", "gcs")


def probe(url: str) -> None:
    """Write, read, list and remove something, as attempts will.

    Raises:
        StorageError: it cannot be done here; the message says what failed.
    """
    name = f"probe-{uuid.uuid4().hex}"
    try:
        files = _Files(url)
        files.write(f"{name}/object", b"dreamsweep")
        found = files.read(f"{name}/object")
        listed = [PurePosixPath(path).name for path in files.listed(name)]
        files.remove_folder(name)
    except REFUSALS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise StorageError(
            f"The store of checkpoints at storage.checkpoints={url!r} cannot be used: {reason}. Expected a URL that "
            f"every node can write to, with credentials in the environment of the nodes: s3://bucket/path, "
            f"gs://bucket/path, abfs://container@account/path, file:///shared/folder, or fsspec+<scheme>://… for what "
            f"fsspec knows."
        ) from None
    if found != b"dreamsweep" or listed != ["object"]:
        raise StorageError(
            f"The store of checkpoints at storage.checkpoints={url!r} does not give back what was written: expected "
            f"one object of ten bytes, found {listed} and {found!r}."
        )


_OPEN: dict[str, _Files] = {}


def _files_at(url: str) -> _Files:
    if url not in _OPEN:
        _OPEN[url] = _Files(url)
    return _OPEN[url]


def _system_at(url: str) -> tuple["FileSystem", str]:
    # A tenth of a second, which a worker of a sweep on a shared file system need not spend.
    from pyarrow.fs import FileSystem

    if "://" not in url:
        raise ValueError("it is no URL")
    try:
        system, path = FileSystem.from_uri(url)
    except ValueError as error:
        if "Unrecognized filesystem" not in str(error):
            raise
        # What Arrow does not know by itself, fsspec may.
        system, path = FileSystem.from_uri(f"fsspec+{url}")
    return system, path.rstrip("/")


def _digest_of(data: bytes) -> dict[str, Any]:
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _sealed(body: Mapping[str, Any]) -> bytes:
    text = json.dumps(body, sort_keys=True)
    return json.dumps({"body": body, "sha256": hashlib.sha256(text.encode()).hexdigest()}).encode()


def _unsealed(data: bytes) -> dict[str, Any] | None:
    """The body of a manifest; None where it is torn."""
    try:
        record = json.loads(data)
        body: dict[str, Any] = record["body"]
        seal = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    except (ValueError, KeyError, TypeError):
        return None
    return body if seal == record.get("sha256") else None
