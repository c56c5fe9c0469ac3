"""Score files: one `{suite}-{label}.json.gz` per suite and label, in the form that DreamerV3 publishes its results.

A JSON list of `{"task", "method", "seed", "xs", "ys"}` in that key order: `xs` in environment frames, `ys` null where
there is no score. The same input gives the same bytes.
"""

import gzip
import io
import json
import math
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import numpy as np

from aggregation.dataset.binning import View, binned
from aggregation.dataset.episodes import Episodes, Runs, open_runs
from sweeps.contracts import check_name, check_task
from sweeps.errors import DreamsweepError, LogError

_LEVEL = 6  # smaller by a few percent at 9, at three times the time
#: Beyond it is no number of environment frames.
_MOST_FRAMES = 1e18
_MOST_SEEDS = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFile:
    """One file that was written."""

    path: str
    suite: str
    label: str
    runs: int
    points: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ScoreRecord:
    """One run as a score file holds it."""

    task: str
    method: str
    seed: int
    #: Environment frames, ascending; whole numbers in raw files.
    xs: list[int | float]
    #: None where there is no score.
    ys: list[float | None]

    @classmethod
    def from_json(cls, record: Any) -> Self:
        """Check one entry of a score file.

        Raises:
            LogError: it is no run, or its values are no numbers.
        """
        try:
            xs, ys = record["xs"], record["ys"]
            seed = record["seed"]
            number = int(seed) if isinstance(seed, int) or str(seed).isdecimal() else -1
            sound = all(_is_number(x) and abs(x) < _MOST_FRAMES for x in xs)
            sound &= all(y is None or _is_number(y) for y in ys)
            task, method = check_task(record["task"]), check_name("method", record["method"])
        except (KeyError, TypeError, DreamsweepError) as error:
            raise LogError(f"an entry is no run of task, method, seed, xs and ys: {error!r}.") from None
        if not 0 <= number < _MOST_SEEDS or not sound or len(xs) != len(ys):
            raise LogError(
                f"the run {task!r}, {method!r}, seed {seed!r} has {len(xs)} xs and {len(ys)} ys; "
                f"expected as many numbers in both, and a whole number below 2^31 as seed."
            )
        return cls(task, method, number, xs, ys)

    def to_text(self) -> str:
        """The entry's JSON, in the published key order."""
        return json.dumps({"task": self.task, "method": self.method, "seed": self.seed, "xs": self.xs, "ys": self.ys})


def export(
    store: Path,
    folder: Path | None = None,
    *,
    view: View | None = None,
    suites: Collection[str] | None = None,
    tasks: Collection[str] | None = None,
    labels: Collection[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[ScoreFile]:
    """Write the score files of a store's dataset. Runs without an episode within the view are left out.

    Args:
        store: A sweep root or a store.
        folder: Where to; None for `score_files` in the store.
        view: Bins, budget and filling; None for raw episodes.
        suites: Only these.
        tasks: Only these.
        labels: Only these.
        progress: Called with the runs written and the runs to write.

    Raises:
        LogError: the store holds no dataset, or the folder cannot be written.
    """
    runs = open_runs(store, suites=suites, tasks=tasks, labels=labels)
    folder = store / "score_files" if folder is None else folder
    view = view or View()
    files: dict[tuple[str, str], _Writer] = {}
    done: list[ScoreFile] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        count = 0
        for label, group in groupby(records(runs, view), key=lambda pair: pair[0].key.label):
            for episodes, record in group:
                place = episodes.key.suite, label
                if place not in files:
                    files[place] = _Writer(folder / f"{place[0]}-{label}.json.gz")
                files[place].add(record)
                count += 1
                if progress is not None:
                    progress(count, len(runs.rows))
            done += [writer.close(*place) for place, writer in sorted(files.items())]
            files.clear()
    except OSError as error:
        raise LogError(
            f"{folder} cannot be written: {error.strerror or error}. Expected a folder for score files; name another."
        ) from None
    finally:
        for writer in files.values():
            writer.abandon()
    return sorted(done, key=lambda each: each.path)


def records(runs: Runs, view: View) -> Iterator[tuple[Episodes, ScoreRecord]]:
    """The runs as score files hold them, by label, task and seed."""
    reached = runs.last_steps()
    by_suite: dict[str, int] = {}
    for (suite, _), step in reached.items():
        by_suite[suite] = max(by_suite.get(suite, 0), step)
    for episodes in runs.episodes():
        suite, task = episodes.key.suite, episodes.key.task
        # As in plot.py: a count of bins divides each task's own length, a size of bins runs to the longest task's end.
        last_step = reached[suite, task] if view.binsize is None else by_suite[suite]
        record = score_record(episodes, view, last_step)
        if record is not None:
            yield episodes, record


def score_record(episodes: Episodes, view: View, last_step: int) -> ScoreRecord | None:
    """One run as `view` shows it; None where it shows nothing of it."""
    steps, scores = episodes.steps, episodes.scores
    if view.budget is not None:
        steps, scores = steps[steps <= view.budget], scores[steps <= view.budget]
    if not len(steps):
        return None
    if view.is_binned:
        edges = view.edges(last_step)
        scores = binned(steps, scores, edges, fill=view.fill)
        xs = [int(x) if x.is_integer() else x for x in edges[1:].tolist()]
    else:
        xs = steps.tolist()
    ys = scores.tolist()
    if np.isnan(scores).any():
        ys = [None if math.isnan(y) else y for y in ys]
    return ScoreRecord(episodes.key.task, episodes.key.label, episodes.key.seed, xs, ys)


def read_score_file(path: Path) -> list[ScoreRecord]:
    """The runs of a score file, ours or a published one: raw or binned, ragged, with nulls, the seed a text or not.

    Raises:
        LogError: it is no score file.
    """
    try:
        data = path.read_bytes()
        entries = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    except (OSError, EOFError, ValueError) as error:
        reason = getattr(error, "strerror", None) or f"expected a JSON list of runs, gzipped or not ({error})"
        raise LogError(f"{path} cannot be read as a score file: {reason}.") from None
    if not isinstance(entries, list):
        raise LogError(f"{path} is no score file: it holds a {type(entries).__name__}; expected a list of runs.")
    if not entries:
        raise LogError(f"{path} holds no run; expected a list of {{task, method, seed, xs, ys}}.")
    try:
        return [ScoreRecord.from_json(entry) for entry in entries]
    except LogError as error:
        raise LogError(f"{path} is no score file: {error}") from None


class _Writer:
    """Writes one score file as its runs come, and puts it in place when it is whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fresh = path.with_name(f".{path.name}.new")
        self._file = self._fresh.open("wb")
        # No name and no time in the header, so that the bytes depend on the runs only.
        self._gzip = gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=self._file, mtime=0)
        self._text = io.TextIOWrapper(self._gzip, encoding="utf-8")
        self._runs = self._points = 0

    def add(self, record: ScoreRecord) -> None:
        self._text.write(("[" if not self._runs else ",\n") + record.to_text())
        self._runs += 1
        self._points += len(record.xs)

    def close(self, suite: str, label: str) -> ScoreFile:
        self._text.write("]\n")
        self._text.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._fresh.replace(self._path)
        return ScoreFile(path=str(self._path), suite=suite, label=label, runs=self._runs, points=self._points)

    def abandon(self) -> None:
        self._file.close()
        self._fresh.unlink(missing_ok=True)


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
