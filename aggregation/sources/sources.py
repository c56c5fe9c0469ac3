"""One way to open whatever holds scores: sweep roots, stores, folders of logs and published score files, together.

What holds no dataset is collected into one: a sweep root's own, else a temporary store that is removed afterwards.
"""

import contextlib
import shutil
import tempfile
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Self

from aggregation.dataset.bin_cache import BinCache
from aggregation.dataset.bins import RunBins
from aggregation.dataset.collect import Progress
from aggregation.dataset.episodes import Episodes, read_partition
from aggregation.dataset.partition import partition_folder
from aggregation.dataset.store import Generation, HeldGeneration, Store
from aggregation.dataset.tables import read_runs_table
from aggregation.dataset.window_scores import Window, WindowScore, window_scores
from aggregation.logs.planned_runs import PlannedRun, planned_runs
from aggregation.sources.schedules import Schedules
from aggregation.sources.source_names import source_names
from aggregation.sources.store_finder import StoreFinder
from sweeps.contracts import RunKey, Schedule
from sweeps.errors import LogError
from sweeps.layout import SweepRoot
from sweeps.selection import selected


@dataclass(frozen=True, slots=True)
class Source:
    """One dataset among those that were opened."""

    #: Short and unique among them: the path's last part, with as many parts before it as it takes.
    name: str
    #: As it was given.
    path: Path
    #: `root`, `store`, `logs` or `score_file`.
    kind: str
    #: Where its dataset lies.
    store: Path
    schedules: Schedules = field(repr=False)
    #: Later collections leave it alone until it is let go of.
    held: HeldGeneration = field(repr=False)

    @property
    def generation(self) -> Generation:
        return self.held.generation

    @property
    def has_plan(self) -> bool:
        """Whether the source tells which runs there are to be, and not only which there are."""
        return self.kind == "root" and SweepRoot(self.path).journal.exists()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """One run of a source, with what is known of it beside its scores."""

    source: Source = field(repr=False)
    #: With the task as published, where its suite is known and the log names it by the trainer's flag.
    key: RunKey
    #: As it is shown: that of the key, with the source's name where two sources have runs of one suite and label.
    label: str
    method: str
    train_ratio: float | None
    #: As in runs.parquet; `planned` or `cancelled` where no attempt began.
    state: str
    attempts: int = 0
    #: Episodes in the dataset.
    rows: int = 0
    #: Superseded by a later attempt.
    dropped: int = 0
    #: Bad lines.
    faults: int = 0
    #: Environment frames.
    first_step: int | None = None
    last_step: int | None = None
    #: Environment frames per second, over all ended attempts.
    fps: float | None = None
    gpu_hours: float | None = None
    #: The run's log, or the score file that it came from; None where there is none yet.
    path: Path | None = None
    #: The key in the dataset, where that differs.
    logged: RunKey | None = field(default=None, repr=False)

    @property
    def stored(self) -> RunKey:
        """The key as the dataset has it."""
        return self.key if self.logged is None else self.logged

    @property
    def schedule(self) -> Schedule | None:
        """What turns frames into policy steps and updates; None where neither run.json nor the suite tells."""
        return self.source.schedules.of((self.key.suite, self.key.task, self.key.label))

    @property
    def cell(self) -> tuple[str, str, str]:
        """Suite, task and label as it is shown: what the seeds of one cell share."""
        return self.key.suite, self.key.task, self.label


class Sources:
    """Runs of one or several datasets. Close it, or use it in `with`, to remove what is temporary."""

    def __init__(
        self,
        sources: Sequence[Source],
        runs: Sequence[RunInfo],
        *,
        temporary: Path | None = None,
    ) -> None:
        #: In the order given.
        self.sources = tuple(sources)
        #: By suite, task, label (ratios as numbers), source and seed; planned ones without any data included.
        self.runs = tuple(runs)
        self._folder = temporary
        self._remove = weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True) if temporary else None
        #: Told the partitions that were binned and those to bin, of one dataset, when bins are asked for.
        self.binning: Progress | None = None
        self._caches: dict[str, BinCache] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the datasets, and remove temporary stores."""
        for source in self.sources:
            source.held.let_go()
        if self._remove is not None:
            self._remove()

    @property
    def suites(self) -> list[str]:
        """In the order of the runs."""
        return list(dict.fromkeys(run.key.suite for run in self.runs))

    def episodes(
        self, runs: Iterable[RunInfo] | None = None, *, with_lengths: bool = False
    ) -> Iterator[tuple[RunInfo, Episodes]]:
        """Every episode of the runs that have any, run by run: one partition in memory, and the next on its way.

        Args:
            runs: Some of `self.runs`; None for all.
            with_lengths: Read the episode lengths too.
        """
        having = [run for run in (self.runs if runs is None else runs) if run.rows]
        groups = [(place, list(group)) for place, group in groupby(having, key=_partition_of)]
        remaining = iter(groups)

        def read(place: tuple[str, Path]) -> dict[str, tuple[Any, ...]]:
            return read_partition(place[1], with_lengths=with_lengths)

        with ThreadPoolExecutor(1) as pool:
            ahead = [pool.submit(read, place) for place, _ in islice(remaining, 1)]
            for _, group in groups:
                held = ahead.pop().result()
                ahead = [pool.submit(read, place) for place, _ in islice(remaining, 1)]
                for run in group:
                    columns = held.pop(str(run.stored), None)
                    if columns is not None:
                        yield run, Episodes(run.key, run.method, run.train_ratio, *columns)

    def bins(
        self, runs: Iterable[RunInfo] | None = None, *, with_lengths: bool = False
    ) -> Iterator[tuple[RunInfo, RunBins]]:
        """The scores of the runs that have any, in fine bins: enough for any picture, and quick for any count of runs.

        They come from a cache beside the dataset, which is first brought up to date.

        Args:
            runs: Some of `self.runs`; None for all.
            with_lengths: The mean episode lengths too.
        """
        having = [run for run in (self.runs if runs is None else runs) if run.rows]
        by_source: dict[str, list[RunInfo]] = {}
        for run in having:
            by_source.setdefault(run.source.name, []).append(run)
        held = {
            name: self._cache(group[0].source).bins([str(run.stored) for run in group], with_lengths=with_lengths)
            for name, group in by_source.items()
        }
        for run in having:
            bins = next(held[run.source.name])
            if bins is not None:
                yield run, bins

    def window_scores(
        self, runs: Sequence[RunInfo], windows: Mapping[tuple[str, str], Window], progress: Progress | None = None
    ) -> list[WindowScore | None]:
        """What each run scored on average in a window, from its episodes; None where it has none there.

        Args:
            runs: Some of `self.runs`.
            windows: By suite and task, the first and the last environment frame.
            progress: Called with the partitions read and to read of one dataset; what was read before is remembered.
        """
        wanted: dict[str, dict[str, set[Window]]] = {source.name: {} for source in self.sources}
        for run in runs:
            partition = partition_folder(run.stored.task, run.stored.label).as_posix()
            wanted[run.source.name].setdefault(partition, set()).add(windows[run.key.suite, run.key.task])
        held = {source.name: window_scores(source.generation, wanted[source.name], progress) for source in self.sources}
        return [held[run.source.name].get((str(run.stored), windows[run.key.suite, run.key.task])) for run in runs]

    def _cache(self, source: Source) -> BinCache:
        """The cache of a source's bins, up to date; in a temporary place where the store cannot be written."""
        if source.name not in self._caches:
            cache = BinCache(source.generation)
            try:
                cache.update(self.binning)
            except OSError:
                cache = BinCache(source.generation, self._temporary() / "bins" / source.name.replace("/", "_"))
                cache.update(self.binning)
            self._caches[source.name] = cache
        return self._caches[source.name]

    def _temporary(self) -> Path:
        if self._remove is None:
            folder = Path(tempfile.mkdtemp(prefix="dreamsweep-"))
            self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            self._folder = folder
        assert self._folder is not None
        return self._folder


def open_sources(
    paths: Sequence[Path | str],
    *,
    suites: Collection[str] | None = None,
    tasks: Collection[str] | None = None,
    labels: Collection[str] | None = None,
    suite: str | None = None,
    store: Path | None = None,
    config_dir: Path | None = None,
    brings_up_to_date: bool = False,
    progress: Progress | None = None,
) -> Sources:
    """Open sweep roots, stores, folders of DreamerV3 logs, score files and folders of score files, in any mix.

    Args:
        paths: What to open.
        suites: Only runs of these.
        tasks: Only runs of these.
        labels: Only runs of these, named as they are shown or as they are in their source.
        suite: The suite of folders that dreamsweep did not launch; None to tell it from each folder.
        store: Where to keep what is collected from logs and score files; None for a temporary place.
        config_dir: A user's own config directory, whose suites count beside ours.
        brings_up_to_date: First collect what the runs of sweep roots have logged since; else their datasets are taken
            as they are.
        progress: Called now and then with the bytes read and the bytes to read of one folder.

    Raises:
        LogError: a path is missing, or holds neither a dataset nor logs nor score files.
        UnknownNameError: a suite, task or label that no run has.
    """
    given = list(dict.fromkeys(Path(path).expanduser().absolute() for path in paths))
    # Two paths may lead to one place, such as a root and a link to it.
    given = list({path.resolve(): path for path in reversed(given)}.values())[::-1]
    if not given:
        raise LogError("Nothing was given to open; expected a sweep root, a store, a folder of logs or a score file.")
    finder = StoreFinder(
        suite=suite,
        store=store,
        brings_up_to_date=brings_up_to_date,
        progress=progress,
        is_one=len(given) == 1,
    )
    with contextlib.ExitStack() as undo:
        undo.callback(finder.abandon)
        sources = []
        for path, name in zip(given, source_names(given), strict=True):
            kind, place = finder.find(path, name)
            sources.append(Source(name, path, kind, place, Schedules(config_dir), held_generation(place)))
        runs = _ordered(_shown([run for source in sources for run in _runs(source)]))
        runs = _selected(runs, {"suite": suites, "task": tasks, "label": labels})
        undo.pop_all()
    return Sources(sources, runs, temporary=finder.temporary)


def held_generation(store: Path) -> HeldGeneration:
    """The published generation of a store that has one.

    Raises:
        LogError: it has none any more.
    """
    held = Store(store).held()
    if held is None:
        raise LogError(f"{store} holds no dataset any more; run `dreamsweep aggregate` on it again.")
    return held


def _runs(source: Source) -> Iterator[RunInfo]:
    """The runs of a dataset, and those that are planned beside them."""
    rows = read_runs_table(source.generation.runs_table)
    held = {RunKey(suite=row["suite"], task=row["task"], label=row["label"], seed=row["seed"]): row for row in rows}
    ratios: dict[tuple[str, str], float] = {}
    for key, row in held.items():
        published = replace(key, task=source.schedules.published_task(key.suite, key.task))
        if row["state"] not in _WITHOUT_SPEC:
            for folder in _folders(source, key, row["path"]):
                source.schedules.look_in((key.suite, key.task, key.label), folder)
        if row["train_ratio"] is not None:
            ratios[key.suite, key.label] = row["train_ratio"]
        yield RunInfo(
            source=source,
            key=key if published in held else published,
            logged=key,
            label=key.label,
            path=Path(row["path"]),
            **{name: row[name] for name in _FROM_ROW},
        )
    planned = planned_runs(SweepRoot(source.path).journal) if source.kind == "root" else []
    for run in planned:
        if run.key not in held:
            yield _planned(source, run, ratios.get((run.key.suite, run.key.label)))


def _folders(source: Source, key: RunKey, log: str) -> list[str]:
    """Where a run's run.json may lie: beside its log, and in the root, which may have moved since."""
    own = [f"{SweepRoot(source.path).runs}/{key}"] if source.kind == "root" else []
    return [*own, log.rpartition("/")[0]]


#: States of runs that dreamsweep did not launch.
_WITHOUT_SPEC = ("unknown", "reference")
_FROM_ROW = (
    "method",
    "train_ratio",
    "state",
    "attempts",
    "rows",
    "dropped",
    "faults",
    "first_step",
    "last_step",
    "fps",
    "gpu_hours",
)


def _planned(source: Source, run: PlannedRun, sibling_ratio: float | None) -> RunInfo:
    ratio = sibling_ratio if run.train_ratio is None else run.train_ratio
    return RunInfo(
        source=source,
        key=run.key,
        label=run.key.label,
        method=run.method,
        train_ratio=ratio,
        state=run.state,
    )


def _shown(runs: Sequence[RunInfo]) -> list[RunInfo]:
    """The runs with labels that tell sources apart where two have the same suite and label."""
    homes: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        homes.setdefault((run.key.suite, run.key.label), set()).add(run.source.name)
    return [
        replace(run, label=f"{run.key.label} ({run.source.name})")
        if len(homes[run.key.suite, run.key.label]) > 1
        else run
        for run in runs
    ]


def _ordered(runs: Iterable[RunInfo]) -> list[RunInfo]:
    return sorted(runs, key=lambda run: (run.key.suite, run.key.task, *label_order(run), run.source.name, run.key.seed))


def label_order(run: RunInfo) -> tuple[str, float, str]:
    """By method, then by ratio as a number, then by name."""
    return run.method, -1.0 if run.train_ratio is None else run.train_ratio, run.label


def _selected(runs: list[RunInfo], wanted: dict[str, Collection[str] | None]) -> list[RunInfo]:
    for kind, names in wanted.items():
        if names:
            chosen = selected(kind, names, {name for run in runs for name in _called(run, kind)})
            runs = [run for run in runs if not _called(run, kind).isdisjoint(chosen)]
    return runs


def _called(run: RunInfo, kind: str) -> set[str]:
    if kind == "label":
        return {run.label, run.key.label}
    return {run.key.suite if kind == "suite" else run.key.task}


def _partition_of(run: RunInfo) -> tuple[str, Path]:
    return run.key.suite, run.source.generation.scores / partition_folder(run.stored.task, run.stored.label)
