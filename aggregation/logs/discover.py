"""Finds the runs below a set of folders: sweep roots, and DreamerV3's own log folders in both layouts."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Self

from aggregation.logs.log_format import METRICS_FILE
from aggregation.logs.run_files import RunCard, foreign_card, launched_card
from sweeps.contracts import RunKey
from sweeps.errors import DreamsweepError, LogError
from sweeps.layout import SweepRoot

#: Folders of a trainer that hold thousands of files and never a log.
_NOT_SEARCHED = frozenset({"ckpt", "checkpoint.pkl", "checkpoint.ckpt", "replay", "eval_replay", "plugins", "code"})
_SUFFIXES = ("", ".gz", ".zst")
_FOREIGN_LOG = "scores.jsonl"


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells that a file changed without opening it."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, entry: "os.DirEntry[str] | None") -> "Stamp | None":
        if entry is None:
            return None
        try:
            stat = entry.stat()
        except OSError:
            return None  # it went away since the folder was listed
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ino)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLog:
    """One run that was found, with the state of its files at that moment."""

    card: RunCard
    folder: str
    #: The log's name in the folder; None where the trainer has not written one yet.
    log: str | None
    #: Of run.json or config.yaml: while it stays, the card does.
    card_stamp: Stamp | None
    log_stamp: Stamp | None
    attempts_stamp: Stamp | None
    is_done: bool
    #: The same of metrics.jsonl, where it was asked for.
    metrics: str | None = None
    metrics_stamp: Stamp | None = None

    def of_metrics(self, pattern: str) -> Self:
        """The log of metrics beside this one."""
        card = replace(self.card, form=self.card.form.of_metrics(pattern))
        return replace(self, card=card, log=self.metrics, log_stamp=self.metrics_stamp)

    @property
    def log_path(self) -> Path:
        return Path(self.folder) / (self.log or self.card.form.file)

    @property
    def attempts_path(self) -> Path:
        return Path(self.folder) / "attempts.jsonl"


@dataclass(frozen=True, slots=True)
class Unusable:
    """A folder with a log that names no run."""

    folder: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """A folder that says the seed of another one, and counts as a further seed."""

    folder: str
    #: What it says itself.
    stated_seed: int
    #: The run that it counts as.
    run: str


@dataclass(slots=True)
class Discovery:
    """What lies below a set of folders."""

    #: In the order of their keys.
    runs: list[RunLog] = field(default_factory=list)
    repeats: list[Repeat] = field(default_factory=list)
    unusable: list[Unusable] = field(default_factory=list)
    #: Folders that could not be listed: what was below is unknown, not gone.
    unreadable: list[Unusable] = field(default_factory=list)


def discover(
    paths: Sequence[Path],
    *,
    suite: str | None = None,
    known: Mapping[str, tuple[Stamp | None, RunCard]] | None = None,
    with_metrics: bool = False,
    numbers_repeats: bool = False,
) -> Discovery:
    """Find every run below `paths`.

    Args:
        paths: Sweep roots, run directories or folders of logs.
        suite: The suite of every folder that dreamsweep did not launch; None to tell it from each.
        known: By folder, cards that stay true while the file they were read from keeps its stamp.
        with_metrics: Look at the logs of metrics too.
        numbers_repeats: Folders that dreamsweep did not launch and that are the same run are further seeds: the first
            by path keeps its seed, the others take the lowest that none has. Goes by what the folders say themselves,
            which is not what `known` cards of an earlier numbering say.

    Raises:
        LogError: a path is missing or is no folder, or two folders are the same run.
    """
    found = Discovery()
    for top in dict.fromkeys(_searched(path) for path in paths):
        for folder, entries in _folders(top, found.unreadable):
            try:
                run = _run(folder, entries, top, suite, known or {})
            except DreamsweepError as error:
                found.unusable.append(Unusable(folder, str(error)))
                continue
            if run is not None:
                found.runs.append(_with_metrics(run, entries) if with_metrics else run)
    if numbers_repeats:
        found.runs, found.repeats = _numbered(found.runs)
    found.runs = _distinct(found.runs)
    found.unusable.sort(key=lambda each: each.folder)
    return found


def check_can_be_searched(path: Path) -> None:
    """See that a path can hold runs.

    Raises:
        LogError: it is missing or is no folder.
    """
    if not path.exists():
        raise LogError(f"{path} does not exist; expected a sweep root or a folder of logs. Check the path.")
    if not path.is_dir():
        raise LogError(f"{path} is a file; expected a sweep root or a folder of logs. Name the folder it lies in.")


def _searched(path: Path) -> Path:
    check_can_be_searched(path)
    root = SweepRoot(path.absolute())
    return root.runs if root.config.exists() and root.runs.is_dir() else root.path


def _folders(top: Path, unreadable: list[Unusable]) -> Iterator[tuple[str, dict[str, "os.DirEntry[str]"]]]:
    """Every folder below, with its entries by name; a folder reached twice through links comes once."""
    pending = [str(top)]
    linked: set[tuple[int, int]] = set()
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as listing:
                entries = {entry.name: entry for entry in listing}
        except FileNotFoundError:
            continue  # it went away since its parent was listed
        except OSError as error:
            unreadable.append(Unusable(folder, f"{folder} cannot be listed: {error.strerror}."))
            continue
        yield folder, entries
        if "run.json" in entries:
            continue
        for name in sorted(entries, reverse=True):
            entry = entries[name]
            if name in _NOT_SEARCHED or name.startswith("."):
                continue
            try:
                if not entry.is_dir():
                    continue
            except OSError as error:  # a link in a circle, or one into what may not be entered
                unreadable.append(Unusable(entry.path, f"{entry.path} cannot be looked at: {error.strerror}."))
                continue
            if entry.is_symlink():
                stat = entry.stat()
                if (stat.st_dev, stat.st_ino) in linked or Path(folder).resolve().is_relative_to(
                    Path(entry.path).resolve()
                ):
                    continue
                linked.add((stat.st_dev, stat.st_ino))
            pending.append(entry.path)


def _run(
    folder: str,
    entries: Mapping[str, "os.DirEntry[str]"],
    top: Path,
    suite: str | None,
    known: Mapping[str, tuple[Stamp | None, RunCard]],
) -> RunLog | None:
    is_launched = "run.json" in entries
    if not is_launched and _log_name(entries, _FOREIGN_LOG) is None:
        return None
    card_stamp = Stamp.of(entries.get("run.json" if is_launched else "config.yaml"))
    stamp, card = known.get(folder, (None, None))
    if card is None or stamp != card_stamp or card.is_launched != is_launched:
        path = Path(folder)
        card = launched_card(path / "run.json", _placed(path, top)) if is_launched else foreign_card(path, suite=suite)
    log = _log_name(entries, card.form.file)
    return RunLog(
        card=card,
        folder=folder,
        log=log,
        card_stamp=card_stamp,
        log_stamp=Stamp.of(entries[log]) if log else None,
        attempts_stamp=Stamp.of(entries.get("attempts.jsonl")) if is_launched else None,
        is_done=is_launched and "done" in entries,
    )


def _with_metrics(run: RunLog, entries: Mapping[str, "os.DirEntry[str]"]) -> RunLog:
    name = _log_name(entries, METRICS_FILE)
    return replace(run, metrics=name, metrics_stamp=Stamp.of(entries[name]) if name else None)


def _placed(folder: Path, top: Path) -> RunKey | None:
    """The key that a folder of a sweep root has by its place; None elsewhere."""
    parts = folder.relative_to(top).parts
    if top.name != "runs" or len(parts) != 4:
        return None
    return RunKey.parse("/".join(parts))


def _log_name(entries: Mapping[str, object], name: str) -> str | None:
    if name in entries:
        return name
    return next((name + suffix for suffix in _SUFFIXES if name + suffix in entries), None)


def _numbered(runs: list[RunLog]) -> tuple[list[RunLog], list[Repeat]]:
    """Give each folder that says the seed of another one a seed of its own; what dreamsweep launched stays as it is."""
    numbered = {run.folder: run for run in runs if run.card.is_launched}
    others = sorted((run for run in runs if run.folder not in numbered), key=lambda run: run.folder)
    taken = {run.card.key for run in numbered.values()}
    waiting = []
    for run in others:
        if run.folder in numbered:
            continue  # it lies below two of the paths
        if run.card.key in taken:
            waiting.append(run)
        else:
            taken.add(run.card.key)
            numbered[run.folder] = run
    repeats = []
    free_seeds: defaultdict[tuple[str, str, str], Iterator[int]] = defaultdict(count)
    for run in waiting:
        if run.folder in numbered:
            continue
        stated = run.card.key
        seeds = free_seeds[stated.suite, stated.task, stated.label]
        key = next(key for key in (replace(stated, seed=seed) for seed in seeds) if key not in taken)
        numbered[run.folder] = replace(run, card=replace(run.card, key=key))
        repeats.append(Repeat(folder=run.folder, stated_seed=stated.seed, run=str(key)))
    return list(numbered.values()), repeats


def _distinct(runs: list[RunLog]) -> list[RunLog]:
    by_key: dict[RunKey, RunLog] = {}
    for run in runs:
        other = by_key.setdefault(run.card.key, run)
        if other.folder != run.folder:
            first, second = sorted([other.folder, run.folder])
            raise LogError(
                f"Two folders are the run {run.card.run!r}: {first} and {second}. Expected one; remove one of them, "
                f"rename it (time-task-method-seed), or collect them into two stores. Where both are whole runs, "
                f"dreamsweep aggregate … --store DIR --number-repeats counts the second as a further seed."
            )
    return sorted(by_key.values(), key=lambda run: run.card.key.order)
