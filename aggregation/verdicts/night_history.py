"""What nights have scored: a Parquet file with one row per night and run, and the history that a night is judged by."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aggregation.dataset.episodes import open_runs
from aggregation.dataset.tables import read_table
from aggregation.verdicts.regression import Cell
from sweeps.contracts import RunKey
from sweeps.errors import LogError
from sweeps.files import write_atomically

#: Of a night that may be compared with, and of one that may not.
ACCEPTED, REGRESSION = "accepted", "regression"

SCHEMA = pa.schema(
    [
        ("night", pa.int32()),
        ("name", pa.string()),
        ("at", pa.timestamp("s", tz="UTC")),
        ("revision", pa.string()),
        ("suite", pa.string()),
        ("task", pa.string()),
        ("label", pa.string()),
        ("cell", pa.string()),
        ("seed", pa.int64()),
        ("role", pa.string()),
        ("score", pa.float64()),
        ("verdict", pa.string()),
        ("baseline", pa.int32()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NightRun:
    """One run of one night."""

    #: Counted from 1.
    night: int
    #: The night's folder.
    name: str
    #: Seconds since 1970 at which the night was judged.
    at: int
    #: Of the trainer.
    revision: str
    suite: str
    task: str
    label: str
    #: A fingerprint of all that decides the score, but for the seed and the trainer's revision.
    cell: str
    seed: int
    #: `planned`, or `fresh` for a seed that was to confirm a suspicion.
    role: str
    #: None where the run has none, such as one that failed.
    score: float | None
    #: Of the whole night; `accepted` where a regression was taken as the new level.
    verdict: str
    #: The first night that this one is compared with.
    baseline: int

    @property
    def cell_name(self) -> str:
        return f"{self.suite}/{self.task}/{self.label}"


def read_history(path: Path) -> list[NightRun]:
    """The rows of a history, by night; none where there is no file yet.

    Raises:
        LogError: the file is no history.
    """
    if not path.exists():
        return []
    try:
        rows = read_table(path).select(SCHEMA.names).to_pylist()
    except (pa.ArrowInvalid, KeyError, OSError) as error:
        raise LogError(
            f"{path} is no history of nights: {error}. Restore it, or move it away to begin a new history."
        ) from None
    return [NightRun(**{**row, "at": int(row["at"].timestamp())}) for row in rows]


def write_history(path: Path, runs: Iterable[NightRun]) -> None:
    """Replace a history in one atomic step."""
    ordered = sorted(runs, key=lambda run: (run.night, run.suite, run.task, run.label, run.seed))
    columns = {name: [asdict(run)[name] for run in ordered] for name in SCHEMA.names}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=SCHEMA), sink, compression="zstd")
    write_atomically(path, sink.getvalue().to_pybytes())


def with_night(history: Sequence[NightRun], tonight: Sequence[NightRun]) -> list[NightRun]:
    """A history in which tonight's rows stand in place of earlier ones of the same night."""
    numbers = {run.night for run in tonight}
    return [*(run for run in history if run.night not in numbers), *tonight]


def baseline(history: Sequence[NightRun], number: int) -> int:
    """The first night that night `number` is compared with: where the level was last accepted."""
    before = [run for run in history if run.night < number]
    return max(before, key=lambda run: run.night).baseline if before else 1


def compared_nights(history: Sequence[NightRun], number: int, most: int) -> list[int]:
    """The last nights before night `number` that count: since the baseline, without confirmed regressions."""
    first = baseline(history, number)
    nights = {run.night for run in history if first <= run.night < number and run.verdict != REGRESSION}
    return sorted(nights)[-most:]


def cells_of(
    history: Sequence[NightRun],
    nights: Collection[int],
    tonight: Sequence[NightRun],
    lows: Mapping[tuple[str, str], float] | None = None,
) -> list[Cell]:
    """Tonight's cells, each beside the runs of the same cell in some nights.

    Args:
        history: Earlier nights, and others.
        nights: Those of them that count.
        tonight: The runs of the night that is judged.
        lows: By suite and task, the score that stands for nothing learned; 0 where there is none.
    """
    lows = lows or {}
    low = {run.cell: lows.get((run.suite, run.task), 0.0) for run in tonight}
    scored: dict[str, dict[str, list[float]]] = {}
    names: dict[str, str] = {}
    for run in tonight:
        names[run.cell] = run.cell_name
        scores = scored.setdefault(run.cell, {"history": [], "planned": [], "fresh": []})
        if run.score is not None:
            scores[run.role].append(run.score)
    for run in history:
        if run.night in nights and run.cell in scored and run.score is not None:
            scored[run.cell]["history"].append(run.score)
    return [
        Cell(
            name=names[cell],
            history=np.array(scores["history"], np.float64),
            tonight=np.array(scores["planned"], np.float64),
            fresh=np.array(scores["fresh"], np.float64),
            low=low[cell],
        )
        for cell, scores in scored.items()
    ]


def accepted(history: Sequence[NightRun]) -> tuple[list[NightRun], list[int]]:
    """A history whose latest nights are the new level, and those nights: all regressions at its end, or the last."""
    nights: dict[int, str] = {run.night: run.verdict for run in sorted(history, key=lambda run: run.night)}
    taken: list[int] = []
    for night, verdict in reversed(nights.items()):
        if verdict != REGRESSION and taken:
            break
        taken.append(night)
        if verdict != REGRESSION:
            break
    return [
        replace(run, verdict=ACCEPTED, baseline=min(taken)) if run.night in taken else run for run in history
    ], sorted(taken)


def final_scores(store: Path, frames: Mapping[RunKey, int], last: float) -> dict[RunKey, float]:
    """The mean score of each run's episodes in the last part of its budget; runs without any are left out.

    Args:
        store: Of a dataset.
        frames: The budget of each run, in environment frames.
        last: The part of it that counts.
    """
    scores: dict[RunKey, float] = {}
    for episodes in open_runs(store).episodes():
        if episodes.key in frames:
            inside = episodes.scores[episodes.steps > (1 - last) * frames[episodes.key]]
            inside = inside[np.isfinite(inside)]
            if len(inside):
                scores[episodes.key] = float(inside.mean())
    return scores
