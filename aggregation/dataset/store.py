"""The generations of a store: a dataset, its tables and its state change together, in one atomic step.

<store>/scores          -> .collected/current/scores
<store>/runs.parquet    -> .collected/current/runs.parquet
<store>/faults.parquet  -> .collected/current/faults.parquet
<store>/metrics         -> .collected/current/metrics        where metrics are collected
<store>/.collected/
    lock                one collection at a time
    current             -> 000012, replaced atomically
    000012/             scores/task=<task>/label=<label>/part-<n>.parquet  metrics/…  runs.parquet  faults.parquet
                        state.json

Files that did not change are hard links into the earlier generation. A reader that listed the dataset before the
step finds every file it listed afterwards, under the same name: files are added, or replaced by versions of
themselves that begin with the same bytes (part_file.py). Only where files are written anew as one (partition.py), and
where a partition's last run has gone, files go. A generation stays as it is until another two are
published; then it is made into the next one, unless a reader holds it.
"""

import contextlib
import errno
import fcntl
import logging
import os
import re
import shutil
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from aggregation.dataset.schema import SCORE_ROWS, Dataset
from sweeps.errors import LogError
from sweeps.files import make_durable
from sweeps.layout import SweepRoot

_log = logging.getLogger(__name__)
#: Earlier generations that stay: the last one for readers which had resolved the link, and the one before it, which
#: becomes the next.
_KEPT_GENERATIONS = 2
_SYNCS = 8


@dataclass(frozen=True, slots=True)
class Generation:
    """The paths of one generation, which are those of a root."""

    path: Path

    @property
    def number(self) -> int:
        """Counts collections; 0 in a copy that has a folder where the link was."""
        return int(self.path.name) if self.path.name.isdecimal() else 0

    @property
    def scores(self) -> Path:
        return SweepRoot(self.path).scores

    def folder(self, dataset: Dataset) -> Path:
        root = SweepRoot(self.path)
        return root.scores if dataset is SCORE_ROWS else root.metrics

    @property
    def runs_table(self) -> Path:
        return SweepRoot(self.path).runs_table

    @property
    def faults_table(self) -> Path:
        return SweepRoot(self.path).faults_table

    @property
    def state(self) -> Path:
        return self.path / "state.json"


class HeldGeneration:
    """A generation that no collection removes until this is let go of, or its process ends.

    Args:
        generation: Which one.
        handle: An open file whose shared lock holds it; None where locks do not work.
    """

    def __init__(self, generation: Generation, handle: int | None) -> None:
        self.generation = generation
        self._close = weakref.finalize(self, os.close, handle) if handle is not None else None

    def let_go(self) -> None:
        if self._close is not None:
            self._close()


class Syncs:
    """Makes files durable while others are still written."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_SYNCS)
        self._running: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(self, path: Path) -> None:
        """Begin with a file that is whole."""
        self._running.append(self._pool.submit(_sync_if_there, path))

    def wait(self) -> None:
        """Wait until every file is durable."""
        for each in self._running:
            each.result()
        self._running.clear()


class Store:
    """A folder that holds a collected dataset."""

    def __init__(self, path: Path) -> None:
        self.path = path
        #: Everything that collections keep.
        self.collected = SweepRoot(path).collected

    @property
    def scores(self) -> Path:
        """The dataset, for any reader of Parquet folders."""
        return SweepRoot(self.path).scores

    @contextlib.contextmanager
    def locked(self, *, with_metrics: bool = False) -> Iterator[None]:
        """Hold the store against other collections.

        Args:
            with_metrics: The folder of metrics is to be written too.

        Raises:
            LogError: the folder cannot be made or written, or holds a dataset that is not ours.
        """
        try:
            self.collected.mkdir(parents=True, exist_ok=True)
            lock = (self.collected / "lock").open("ab")
        except OSError as error:
            raise LogError(
                f"{self.path} cannot hold a dataset: {error.strerror}. Expected a folder that can be written; "
                f"name another one."
            ) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
                # Each collection still publishes a whole generation; the last one wins.
                _log.warning("%s does not support locks; collect into it from one machine at a time.", self.path)
            self.check_is_ours(with_metrics=with_metrics)
            yield

    def check_is_ours(self, *, with_metrics: bool) -> None:
        """See that nothing of somebody else is where the links go.

        Raises:
            LogError: something is.
        """
        for path in _shown(self.path) if with_metrics else _shown(self.path)[:-1]:
            if path.exists() and not path.is_symlink():
                raise LogError(
                    f"{path} was not made by dreamsweep and would be replaced. Move it away, or name another store. "
                    f"Where it is a copy of a link's target, as cp -L makes them, remove it, and {self.collected} as "
                    f"well: the logs have everything but imported references."
                )

    def current(self) -> Generation | None:
        """The published generation; None before the first collection."""
        link = self.collected / "current"
        return Generation(link.resolve()) if link.exists() else None

    def held(self) -> HeldGeneration | None:
        """The published generation, to be read for as long as it takes; None before the first collection."""
        while (generation := self.current()) is not None:
            try:
                handle = os.open(generation.state, os.O_RDONLY)
            except FileNotFoundError:
                if generation.path.exists():
                    return HeldGeneration(generation, None)
                continue  # removed since the link was read
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                continue  # being removed
            except OSError as error:
                _log.debug("%s cannot be held against later collections: %s", generation.path, error)
            if generation.state.exists():
                return HeldGeneration(generation, handle)
            os.close(handle)
        return None

    def begin(self) -> Generation:
        """Make the folder of the next generation, invisible until it is published.

        Its datasets may hold what they held in one that no reader needs any more: folders are dearer than files.
        """
        there = self._generations()
        generation = Generation(self.collected / f"{max((each.number for each in there), default=0) + 1:06d}")
        kept = self._published()[-_KEPT_GENERATIONS:]
        for each in reversed(there):
            if each not in kept and _reuse(each, generation):
                return generation
        while generation.path.exists():  # something in it could not be removed
            generation = Generation(self.collected / f"{generation.number + 1:06d}")
        generation.path.mkdir()
        return generation

    def publish(self, generation: Generation, syncs: Syncs) -> None:
        """Make `generation` the one that readers see, and remove those that no reader can need.

        Args:
            generation: Whose files are all whole.
            syncs: Has been given the files of its datasets; the others are added here.
        """
        for path in (generation.runs_table, generation.faults_table, generation.state, generation.path):
            syncs.add(path)
        syncs.wait()
        _replace_link(self.collected / "current", generation.path.name)
        self.show()
        make_durable(self.collected)
        self._remove_others(generation)

    def show(self) -> None:
        """Let the links be those of the published generation; a collection may have been killed before it made them."""
        generation = self.current()
        if generation is None:
            return
        for path in _shown(self.path):
            target = Path(self.collected.name, "current", path.name)
            if not (generation.path / path.name).exists():
                if path.is_symlink() and path.readlink() == target:
                    path.unlink()
                continue
            if not path.is_symlink() or path.readlink() != target:
                _replace_link(path, str(target))

    def discard(self, generation: Generation) -> None:
        """Remove a generation, unless it was published: what ended its collection may have come after that."""
        current = self.current()
        if current is None or current.number != generation.number:
            shutil.rmtree(generation.path, ignore_errors=True)

    def _generations(self) -> list[Generation]:
        """Those that are there, the earliest first."""
        found = [Generation(path) for path in self.collected.iterdir() if re.fullmatch("[0-9]+", path.name)]
        return sorted(found, key=lambda each: each.number)

    def _published(self) -> list[Generation]:
        """Those that readers may know, the current one last. One that never was whole has no state."""
        current = self.current()
        if current is None:
            return []
        there = [each for each in self._generations() if each.number <= current.number]
        return [each for each in there if each.number == current.number or each.state.exists()]

    def _remove_others(self, generation: Generation) -> None:
        kept = self._published()[-_KEPT_GENERATIONS - 1 :]
        for each in self._generations():
            if each not in kept and each.number < generation.number:
                _remove(each)


def remove_file(path: Path) -> None:
    """Remove a file, unless it is one that an NFS client keeps for whoever has it open: those go by themselves."""
    try:
        path.unlink()
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise


def remove_folder(path: Path) -> None:
    """Remove a folder; what an NFS client keeps in it stays, and goes by itself."""

    def failed(_function: object, _path: str, info: tuple[object, BaseException, object]) -> None:
        if not isinstance(info[1], OSError) or info[1].errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise info[1]

    shutil.rmtree(path, onerror=failed)


def _remove(generation: Generation) -> None:
    """Remove a generation, unless a reader holds it; a later collection then tries again."""
    with _unless_held(generation) as is_free:
        if is_free:
            shutil.rmtree(generation.path, ignore_errors=True)


def _reuse(old: Generation, generation: Generation) -> bool:
    """Make a generation from the folders of another, unless a reader holds that; tell whether."""
    is_ours = False
    try:
        if old.path.stat().st_uid != os.geteuid():
            return False  # its folders may not let us write
        with _unless_held(old) as is_free:
            if is_free:
                old.path.rename(generation.path)
                is_ours = True
                for each in generation.path.iterdir():
                    if not each.is_dir():
                        remove_file(each)
            return is_free
    except OSError as error:
        _log.debug("%s cannot be used once more: %s", old.path, error)
        if is_ours:
            shutil.rmtree(generation.path, ignore_errors=True)
        return False


@contextlib.contextmanager
def _unless_held(generation: Generation) -> Iterator[bool]:
    """Tell whether no reader holds a generation, and let none begin to."""
    try:
        handle = os.open(generation.state, os.O_RDWR)
    except FileNotFoundError:
        yield True  # it was never whole
        return
    except OSError:
        yield False  # nobody can tell
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_held = False
        except OSError as error:
            # Where there are no locks, nothing can be held.
            is_held = isinstance(error, BlockingIOError)
        yield not is_held
    finally:
        os.close(handle)


def _shown(path: Path) -> list[Path]:
    """What a store's folder shows of the published generation; last the metrics, which not every one has."""
    root = SweepRoot(path)
    return [root.scores, root.runs_table, root.faults_table, root.metrics]


def _replace_link(link: Path, target: str) -> None:
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)


def _sync_if_there(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # it was merged into another one since
        make_durable(path)
