"""Brings published score files into a store's dataset, as runs to compare with."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aggregation.dataset.collect import Collection, Summary
from aggregation.dataset.score_files import ScoreRecord, read_score_file
from aggregation.dataset.state import RunState
from aggregation.dataset.store import Store
from aggregation.dataset.update import Plan
from aggregation.logs.log_format import LogFormat
from aggregation.logs.reader import Place
from aggregation.logs.run_files import RunCard, check_fits, method_and_ratio
from aggregation.logs.run_reader import Reading
from aggregation.logs.seams import Segment
from sweeps.contracts import RunKey, check_name
from sweeps.errors import DreamsweepError, LogError


def import_files(files: Sequence[Path], store: Path, *, label: str | None = None, suite: str | None = None) -> Summary:
    """Add the runs of score files to a store's dataset; later collections leave them there.

    A file that was imported before is replaced.

    Args:
        files: `{suite}-{label}.json.gz`, raw or binned.
        store: A sweep root or a store.
        label: The label of all these runs; None for the method that each run names.
        suite: Their suite; None for what stands before the first `-` of each file's name.

    Raises:
        LogError: a file is no score file, does not name its suite, holds a run twice, or a run that the store has from
            a log.
    """
    runs: dict[str, tuple[RunState, Reading]] = {}
    for path in files:
        for record in read_score_file(path):
            state = _state(path, _key(path, suite or suite_of(path), label, record))
            if state.key in runs:
                raise LogError(
                    f"The run {state.key!r} is twice in {runs[state.key][0].path} and {path}; expected it once. "
                    f"Import them under different labels."
                )
            runs[state.key] = state, _reading(record)
    held = Store(store)
    with held.locked():
        collection = Collection(held, spread=lambda _function, _batches: iter([[reading for _, reading in ordered]]))
        ordered = sorted(runs.values(), key=lambda pair: (pair[0].partition, pair[0].key))
        return collection.add([Plan.of_reference(state) for state, _ in ordered])


def suite_of(path: Path) -> str:
    """The suite that the name of a score file tells.

    Raises:
        LogError: it tells none.
    """
    suite, dash, _ = path.name.partition("-")
    if not dash:
        raise LogError(
            f"{path} does not name its suite; expected {{suite}}-{{label}}.json.gz. Rename it, or name the suite with "
            f"--suite (import) or --log-suite."
        )
    return suite


def _key(path: Path, suite: str, label: str | None, record: ScoreRecord) -> RunKey:
    try:
        name = check_name("label", label or record.method)
        key = RunKey(suite=check_name("suite", suite), task=record.task, label=name, seed=record.seed)
        check_fits(key)
        return key
    except DreamsweepError as error:
        raise LogError(f"{path} cannot be imported: {error}") from None


def _state(path: Path, key: RunKey) -> RunState:
    method, ratio = method_and_ratio(key.label)
    card = RunCard(key=key, method=method, train_ratio=ratio, form=LogFormat(), is_launched=False)
    return RunState(card=card, folder=str(path.absolute().parent), log=path.name, is_reference=True, state="reference")


def _reading(record: ScoreRecord) -> Reading:
    # Steps are whole environment frames; the edges of bins need not be.
    steps = np.rint(np.array(record.xs, np.float64)).astype(np.int64)
    scores = np.array([np.nan if y is None else y for y in record.ys], np.float64)
    return Reading(
        attempts=np.ones(len(steps), np.int32),
        steps=steps,
        values=scores,
        lengths=None,
        segments=[Segment(attempt=1, rows=len(steps))],
        place=Place(),
        non_finite=int(np.count_nonzero(np.isnan(scores))),
    )
