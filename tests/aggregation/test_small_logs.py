"""Many logs read as one block, against each read alone."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from log_builders import line, log_text, metrics_text

import aggregation.logs.small_logs as small_logs_module
from aggregation.logs.log_format import LogFormat
from aggregation.logs.run_reader import Reading, ReadTask, read_run
from aggregation.logs.small_logs import read_small
from aggregation.logs.spread import Unread, batches, read_batch

PIECES = st.sampled_from(
    [
        *(line(step, step / 7) for step in (1, 5, 9, 900)),
        line(7)[:-1],
        line(7)[:9],
        b'{"step": 3, "episode/score": 1, "episode/length": 12}\n',
        b'{"step": 3, "episode/score": NaN}\n',
        b"garbage\n",
        b"\n",
        b"\0\0",
        b"\xef\xbb\xbf",
        metrics_text([(2, 3)]),
    ]
)


def shown(reading: object) -> dict[str, object]:
    """A reading's fields; without a length anywhere it is the same to have none or nulls."""
    assert isinstance(reading, Reading)
    fields = {name: getattr(reading, name) for name in reading.__dataclass_fields__}
    lengths = fields.pop("lengths")
    fields["lengths"] = [] if lengths is None else [value for value in lengths.tolist() if np.isfinite(value)]
    return {name: repr(value.tolist() if isinstance(value, np.ndarray) else value) for name, value in fields.items()}


@settings(deadline=None)
@example(
    [([line(1)], 0, False), ([b'{"step": ', b'{"step": 3, "episode/score": 1, "episode/length": 12}\n'], 0, False)] * 2
)
@given(st.lists(st.tuples(st.lists(PIECES, max_size=6), st.integers(0, 3), st.booleans()), min_size=2, max_size=5))
def test_logs_read_together_are_as_each_read_alone(
    tmp_path_factory: pytest.TempPathFactory, logs: list[tuple[list[bytes], int, bool]]
) -> None:
    """Rows, faults, places and fingerprints, from any offset, for scores and for metrics."""
    folder = tmp_path_factory.mktemp("logs")
    tasks = []
    for number, (pieces, skipped, is_over) in enumerate(logs):
        path = folder / f"{number}.jsonl"
        content = b"".join(pieces)
        path.write_bytes(content)
        before = content.split(b"\n")[:skipped]
        offset = min(sum(len(each) + 1 for each in before), content.rfind(b"\n") + 1)
        form = LogFormat() if number % 3 else LogFormat().of_metrics("train/.*")
        lines = content[:offset].count(b"\n")
        tasks.append(ReadTask(path=path, form=form, seams=None, offset=offset, lines=lines, is_over=is_over))
    together = read_small(tasks)

    assert [shown(together[number]) for number in range(len(tasks))] == [shown(read_run(task)) for task in tasks]


def test_log_with_much_new_is_read_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a compressed one; a log that went away is told without harm to the others."""
    monkeypatch.setattr(small_logs_module, "SMALL_BYTES", 60)
    (tmp_path / "long").write_bytes(log_text((step, 1) for step in range(9)))
    (tmp_path / "short").write_bytes(line(1))
    tasks = [ReadTask(path=tmp_path / name, form=LogFormat(), seams=None) for name in ("long", "gone", "short")]
    assert sorted(read_small(tasks)) == [1, 2]

    readings = read_batch(tuple(tasks))
    assert [len(each.steps) if isinstance(each, Reading) else each for each in readings] == [
        9,
        Unread(f"{tmp_path / 'gone'} cannot be read: No such file or directory."),
        1,
    ]


def test_batches_keep_the_order_and_hold_few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large log stands alone."""
    monkeypatch.setattr("aggregation.logs.spread._BATCH_LOGS", 3)
    monkeypatch.setattr("aggregation.logs.spread._BATCH_BYTES", 10)
    tasks = [ReadTask(path=Path(str(number)), form=LogFormat(), seams=None) for number in range(7)]
    found = batches(tasks, [1, 1, 1, 1, 50, 5, 5])

    assert [[task.path.name for task in batch] for batch in found] == [["0", "1", "2"], ["3"], ["4"], ["5", "6"]]
