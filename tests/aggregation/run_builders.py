"""Builds runs with their episodes in memory, for tests of what is made of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aggregation.dataset.bins import RunBins, bins_of
from aggregation.dataset.episodes import Episodes
from aggregation.dataset.store import Generation
from aggregation.sources.sources import RunInfo, label_order
from sweeps.contracts import RunKey, Schedule


@dataclass(frozen=True)
class OneSchedule:
    """The same schedule for every run; None for none."""

    schedule: Schedule | None

    def of(self, *_place: object) -> Schedule | None:
        return self.schedule


@dataclass(frozen=True)
class BuiltSource:
    """What runs ask of the source that they came from."""

    name: str
    path: Path
    kind: str
    schedules: OneSchedule

    @property
    def generation(self) -> Generation:
        """One without any file."""
        return Generation(self.path / "000001")


@dataclass(frozen=True)
class BuiltRun:
    """A run and its episodes; none for one that is planned."""

    info: RunInfo
    steps: np.ndarray
    scores: np.ndarray
    lengths: np.ndarray | None


def built(
    label: str,
    seed: int,
    steps: Sequence[float] = (),
    scores: Sequence[float] = (),
    *,
    lengths: Sequence[float] | None = None,
    ratio: float | None = None,
    suite: str = "gym",
    task: str = "gym_CartPole-v1",
    state: str = "unknown",
    fps: float | None = None,
    gpu_hours: float | None = None,
    schedule: Schedule | None = None,
) -> BuiltRun:
    """A run; its ratio also follows from a label that ends in `_tr<ratio>`."""
    method, _, ending = label.partition("_tr")
    source = BuiltSource("built", Path("/built"), "root", OneSchedule(schedule))
    info = RunInfo(
        source=source,  # type: ignore[arg-type]
        key=RunKey(suite=suite, task=task, label=label, seed=seed),
        label=label,
        method=method,
        train_ratio=float(ending) if ratio is None and ending else ratio,
        state=state if len(steps) else "planned",
        attempts=1,
        rows=len(steps),
        first_step=int(steps[0]) if len(steps) else None,
        last_step=int(steps[-1]) if len(steps) else None,
        fps=fps,
        gpu_hours=gpu_hours,
    )
    return BuiltRun(
        info,
        np.asarray(steps, np.int64),
        np.asarray(scores, np.float64),
        None if lengths is None else np.asarray(lengths, np.float64),
    )


class BuiltSources:
    """Runs as `open_sources` would give them."""

    def __init__(self, runs: Iterable[BuiltRun]) -> None:
        self._runs = sorted(
            runs, key=lambda run: (run.info.key.suite, run.info.key.task, *label_order(run.info), run.info.key.seed)
        )
        self.runs = tuple(run.info for run in self._runs)
        self.sources = (self.runs[0].source,) if self.runs else ()

    def episodes(
        self, runs: Iterable[RunInfo] | None = None, *, with_lengths: bool = False
    ) -> Iterator[tuple[RunInfo, Episodes]]:
        for run in self._asked(runs):
            key, method, ratio = run.info.key, run.info.method, run.info.train_ratio
            lengths = run.lengths if with_lengths else None
            yield run.info, Episodes(key, method, ratio, run.steps, run.scores, lengths)

    def bins(
        self, runs: Iterable[RunInfo] | None = None, *, with_lengths: bool = False
    ) -> Iterator[tuple[RunInfo, RunBins]]:
        for run in self._asked(runs):
            yield run.info, bins_of(run.steps, run.scores, run.lengths if with_lengths else None)

    def _asked(self, runs: Iterable[RunInfo] | None) -> list[BuiltRun]:
        wanted = self.runs if runs is None else tuple(runs)
        return [run for run in self._runs if len(run.steps) and run.info in wanted]
