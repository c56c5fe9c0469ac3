"""Finds the dataset behind a path, whatever the path is; what holds none is collected or imported into one first."""

import contextlib
import logging
import shutil
import tempfile
from pathlib import Path

from aggregation.dataset.collect import Progress, collect
from aggregation.dataset.reference_runs import import_files
from aggregation.dataset.store import Store
from sweeps.errors import LogError
from sweeps.layout import SweepRoot

log = logging.getLogger(__name__)

_MOST_WARNINGS = 10
_SCORE_FILES = ("*-*.json.gz", "*-*.json")


class StoreFinder:
    """Finds the store behind each path, or makes one.

    Args:
        suite: Of folders that dreamsweep did not launch, None to tell it from each folder; and of a score file whose
            name tells none.
        store: Where to keep what is collected; None for a temporary place.
        brings_up_to_date: First collect what the runs of sweep roots have logged since.
        progress: Told the bytes read and to read of one folder.
        is_one: Whether there is one path only, so that `store` itself can be its store.
    """

    def __init__(
        self,
        *,
        suite: str | None,
        store: Path | None,
        brings_up_to_date: bool,
        progress: Progress | None,
        is_one: bool,
    ) -> None:
        self._suite = suite
        self._store = store.expanduser().absolute() if store is not None else None
        self._brings_up_to_date = brings_up_to_date
        self._progress = progress
        self._is_one = is_one
        #: A folder that is to be removed in the end; None where none was needed.
        self.temporary: Path | None = None
        self._made = 0

    def abandon(self) -> None:
        """Remove what was made in a temporary place."""
        if self.temporary is not None:
            shutil.rmtree(self.temporary, ignore_errors=True)

    def find(self, path: Path, name: str) -> tuple[str, Path]:
        """What a path is (`root`, `store`, `logs` or `score_file`), and where its store lies.

        Raises:
            LogError: there is nothing at the path, or nothing that holds scores.
        """
        if not path.exists():
            raise LogError(
                f"{path} does not exist; expected a sweep root, a store, a folder of logs or a score file. "
                f"Check the path."
            )
        root = SweepRoot(path)
        is_root = root.config.exists() or root.journal.exists()
        if path.is_dir() and Store(path).current() is not None:
            if is_root and self._brings_up_to_date:
                with contextlib.suppress(LogError):  # one that cannot be written is read as it is
                    self._collect(path, path)
            return "root" if is_root else "store", path
        files = [path] if path.is_file() else _score_files(path)
        if is_root:
            return "root", self._collected(path, name, suite=None)
        if files:
            place = self._place(name)
            # Found in a folder they all name their suite.
            import_files(files, place, suite=self._suite if "-" not in files[0].name else None)
            return "score_file", place
        return "logs", self._collected(path, name, suite=self._suite)

    def _collected(self, path: Path, name: str, *, suite: str | None) -> Path:
        """Collect the dataset of a folder of logs; that of a sweep root goes where every command expects it."""
        root = SweepRoot(path)
        place = path if root.config.exists() and _is_writable(path) else self._place(name)
        self._collect(path, place, suite=suite)
        return place

    def _collect(self, path: Path, place: Path, *, suite: str | None = None) -> None:
        summary = collect([path], place, suite=suite, progress=self._progress)
        for reason in summary.unusable[:_MOST_WARNINGS]:
            log.warning("left out: %s", reason)
        if len(summary.unusable) > _MOST_WARNINGS:
            log.warning("left out: %s more", f"{len(summary.unusable) - _MOST_WARNINGS:,}")

    def _place(self, name: str) -> Path:
        if self._store is not None:
            return self._store if self._is_one else self._store / name.replace("/", "_")
        if self.temporary is None:
            self.temporary = Path(tempfile.mkdtemp(prefix="dreamsweep-"))
        self._made += 1
        return self.temporary / str(self._made)


def _is_writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _score_files(folder: Path) -> list[Path]:
    """Score files that lie in a folder itself; plain ones only where none is compressed, since much else is JSON."""
    return next((sorted(found) for pattern in _SCORE_FILES if (found := [*folder.glob(pattern)])), [])
