"""The state of a run directory's checkpoint, and its repair before a start. Reads no pickled code and no arrays.

The trainer keeps its checkpoints so, and cannot start again if `latest` is empty or names a folder that is not whole:

    ckpt/ or checkpoint.pkl/            a folder in both cases; the second name is that of the packaged 3.3.0
        <time>/*.pkl  <time>/done       done: an empty file, written last
        latest                          the name of a folder, no newline

It writes `latest` in place, so a kill can leave it empty; a full disk can tear a pickle or the last line of a log.
"""

import io
import os
import pickle
import pickletools
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from sweeps.errors import TrainerError
from sweeps.files import make_durable
from sweeps.layout import RunDir

#: Arguments of a pickle longer than this are skipped over, not read: arrays of parameters are gigabytes.
SKIP_BYTES = 1 << 20


class CheckpointBrokenError(TrainerError):
    """A run has logs but no whole checkpoint to resume from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointState:
    """What one checkpoint folder holds."""

    #: The whole folder that `latest` names; None if there is no such one.
    latest: Path | None
    #: Policy steps at the newest whole folder; None if there is no such one or it does not say.
    step: int | None
    #: Every whole folder, oldest first.
    whole: tuple[Path, ...]
    #: Everything else that lies there, but for `latest`.
    debris: tuple[Path, ...]
    #: What is broken, in words.
    faults: tuple[str, ...]


def inspect(ckpt_dir: Path) -> CheckpointState:
    """Look at a checkpoint folder, which a trainer may be writing; one that does not exist is an empty one."""
    whole, debris, faults = [], [], []
    for entry in _entries(ckpt_dir):
        fault = _folder_fault(entry)
        if fault is None:
            whole.append(entry)
        else:
            debris.append(entry)
            faults.append(f"{entry.name} {fault}")
    latest, fault = _latest(ckpt_dir, whole)
    if fault is not None:
        faults.append(fault)
    return CheckpointState(
        latest=latest,
        step=_step(whole[-1]) if whole else None,
        whole=tuple(whole),
        debris=tuple(debris),
        faults=tuple(faults),
    )


def repair(run_dir: RunDir) -> tuple[int | None, tuple[str, ...]]:
    """Make the trainer able to start in `run_dir`; return the step that it resumes from and what was mended.

    The step is None where it starts from nothing. Nothing is touched in a run that cannot be resumed.

    Raises:
        CheckpointBrokenError: there are logs, but no whole checkpoint.
    """
    states = {folder: inspect(folder) for folder in run_dir.checkpoints}
    if not any(state.whole for state in states.values()) and _has_logs(run_dir):
        faults = "; ".join(fault for state in states.values() for fault in state.faults)
        raise CheckpointBrokenError(
            f"{run_dir.path} holds logs of earlier attempts but no checkpoint that can be resumed"
            f" ({faults or 'there is none at all'}). To start this run from nothing, with what is there put aside: "
            f"dreamsweep retry <root> --run … --fresh."
        )
    repairs: list[str] = []
    steps: list[int | None] = []
    for folder, state in states.items():
        repairs += _repair_folder(folder, state, scratch=run_dir.path / ".latest")
        if state.whole:
            steps.append(state.step)
    for path in (run_dir.scores, run_dir.metrics):
        mended = close_torn_line(path)
        if mended is not None:
            repairs.append(mended)
    known = [step for step in steps if step is not None]
    return (max(known) if known else None), tuple(repairs)


def newest_name(run_dir: RunDir) -> str | None:
    """The newest finished checkpoint, as its path in the run directory; its pickles are not looked into."""
    finished = [
        entry
        for folder in run_dir.checkpoints
        for entry in _entries(folder)
        if entry.is_dir() and (entry / "done").exists()
    ]
    newest = max(finished, key=lambda entry: entry.name, default=None)
    return None if newest is None else newest.relative_to(run_dir.path).as_posix()


def link(run_dir: RunDir, name: str, into: Path) -> None:
    """Link the files of a finished checkpoint into another folder of the same disk, with a `latest` that names it.

    Raises:
        FileNotFoundError: the trainer removed it meanwhile.
    """
    source, target = run_dir.path / name, into / name
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        (target / path.name).hardlink_to(path)
    if not (target / "done").exists():
        raise FileNotFoundError(f"{source} was removed while it was read")
    (target.parent / "latest").write_text(source.name, encoding="utf-8")


def whole_chunks(folder: Path) -> Iterator[Path]:
    """The replay chunks that are written to their end, which is where a zip archive has its table of contents."""
    for path in sorted(folder.glob("*.npz")):
        if zipfile.is_zipfile(path):
            yield path


def close_torn_line(path: Path) -> str | None:
    """End a log's last line if it lacks its newline; return what was done.

    The trainer appends: without this, the next record would continue the torn line and be lost with it.
    """
    try:
        with open(path, "r+b") as file:
            if file.seek(0, io.SEEK_END) == 0:
                return None
            file.seek(-1, io.SEEK_END)
            if file.read(1) == b"\n":
                return None
            file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return None
    return f"closed the torn last line of {path.name}"


def _repair_folder(folder: Path, state: CheckpointState, *, scratch: Path) -> Iterator[str]:
    pointer = folder / "latest"
    newest = state.whole[-1] if state.whole else None
    if newest is not None and state.latest != newest:
        # Written elsewhere and moved here: a stray file in this folder would count as a checkpoint when the trainer
        # clears out all but the last name.
        scratch.write_text(newest.name, encoding="utf-8")
        make_durable(scratch)
        scratch.replace(pointer)
        make_durable(folder)
        yield f"pointed {folder.name}/latest to {newest.name}"
    elif newest is None and pointer.exists():
        pointer.unlink()
        yield f"removed {folder.name}/latest, which named no whole checkpoint"
    for entry in state.debris:
        # Removed because the trainer keeps the last name only, which may be this one.
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
        yield f"removed {folder.name}/{entry.name}, which is not a whole checkpoint"


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.name != "latest")
    except (FileNotFoundError, NotADirectoryError):
        return []


def _folder_fault(folder: Path) -> str | None:
    """Why `folder` is not a whole checkpoint; None if it is."""
    try:
        return _fault_of_still(folder)
    except FileNotFoundError:
        # A trainer at work removes the checkpoint before its newest.
        return "was removed while it was read"


def _fault_of_still(folder: Path) -> str | None:
    if not folder.is_dir():
        return "is not a folder"
    if not (folder / "done").exists():
        return "was not finished"
    files = sorted(path for path in folder.iterdir() if path.name != "done")
    if not files:
        return "is empty"
    for path in files:
        fault = _pickle_fault(path) if path.suffix == ".pkl" else None
        if fault is not None:
            return f"holds {path.name}, which {fault}"
    return None


def _latest(ckpt_dir: Path, whole: list[Path]) -> tuple[Path | None, str | None]:
    """The whole folder that `latest` names, or what is wrong with it."""
    try:
        name = (ckpt_dir / "latest").read_bytes().decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return None, ("latest is missing" if whole else None)
    if not name:
        return None, "latest is empty"
    for folder in whole:
        if folder.name == name:
            return folder, None
    return None, f"latest names {name!r}, which is not a whole checkpoint"


def _has_logs(run_dir: RunDir) -> bool:
    return any(path.exists() and path.stat().st_size > 0 for path in (run_dir.scores, run_dir.metrics))


class _Skipping(io.RawIOBase):
    """A file for pickletools that steps over long arguments; zeros stand for what it did not read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._bytes = os.fstat(file.fileno()).st_size

    def read(self, count: int = -1) -> bytes:
        if count < SKIP_BYTES or self._file.tell() + count > self._bytes:
            return self._file.read(count)
        self._file.seek(count, io.SEEK_CUR)
        return bytes(count)  # untouched zero pages: costs no memory

    def readline(self, size: int | None = -1) -> bytes:
        return self._file.readline(-1 if size is None else size)

    def tell(self) -> int:
        return self._file.tell()


def _pickle_fault(path: Path) -> str | None:
    """What is wrong with a pickle, found from its opcodes alone; None if it is whole."""
    with open(path, "rb") as file:
        if not file.read(1):
            return "is empty"
        file.seek(0)
        try:
            for _ in pickletools.genops(cast(IO[bytes], _Skipping(file))):
                pass
        except ValueError:
            return "is truncated"
    return None


class _Plain(pickle.Unpickler):
    """Reads numbers and containers; refuses everything that would import code."""

    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(f"{module}.{name}")


def _step(folder: Path) -> int | None:
    """The policy step of a whole checkpoint; None where it is not a plain number in step.pkl."""
    try:
        with open(folder / "step.pkl", "rb") as file:
            step = _Plain(file).load()
    except (OSError, pickle.UnpicklingError, EOFError, ValueError, IndexError, AttributeError):
        return None
    return step if isinstance(step, int) else None
