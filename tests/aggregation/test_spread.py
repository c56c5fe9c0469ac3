"""Reading the logs elsewhere: in other processes, as a cluster does it."""

import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from log_builders import METRICS, attempt, line, log_text, metrics_text, write_foreign, write_launched

from aggregation.dataset.collect import collect
from aggregation.logs.spread import Batch, Readings, in_order, read_batch


def files(store: Path) -> dict[str, bytes]:
    """Every file of the published generation, by its place."""
    top = (store / ".collected" / "current").resolve()
    return {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


def grow(root: Path, step: int) -> None:
    for seed in range(6):
        content = log_text((step + each, seed) for each in range(50 * (seed + 1))) + b"garbage\n"
        path = root / "runs" / "dmc_walker_walk" / "theirs" / str(seed) / "scores.jsonl"
        before = path.read_bytes() if path.exists() else b""
        write_foreign(root / "runs", before + content, label="theirs", seed=seed)
        with path.with_name(METRICS).open("ab") as file:
            file.write(metrics_text([(step, seed)], with_lengths=True))


def test_other_processes_give_the_same_store_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks and results travel; the first collection and one of what grew since are as those made here."""
    monkeypatch.setattr("aggregation.logs.spread._BATCH_LOGS", 2)
    root, here, there = tmp_path / "root", tmp_path / "here", tmp_path / "there"
    before = log_text([(10, 1), (20, 2), (30, 3)])
    attempts = [attempt(1, None, 0), attempt(2, 20, len(before))]
    write_launched(root, before + line(25), attempts=attempts)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:

        def elsewhere(function: object, batches: Iterable[Batch]) -> Iterator[Readings]:
            assert function is read_batch
            return in_order(pool, read_batch, batches, ahead=3)

        for step in (0, 1000, 500):
            grow(root, step)
            collect([root], here, metrics="train/.*|episode/length")
            collect([root], there, metrics="train/.*|episode/length", spread=elsewhere)

            assert files(here) == files(there)


def test_every_slice_of_a_long_log_is_read_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log may lie on a worker alone: nothing of it is read here."""
    monkeypatch.setattr("aggregation.logs.run_reader.SLICE_ROWS", 20)
    monkeypatch.setattr("aggregation.logs.reader.BLOCK_BYTES", 64)
    write_foreign(tmp_path / "logs", log_text((step, 1) for step in range(100)))
    seen = []

    def elsewhere(function: object, batches: Iterable[Batch]) -> Iterator[Readings]:
        assert function is read_batch
        for batch in batches:
            seen.append([task.offset for task in batch])
            yield read_batch(batch)

    assert collect([tmp_path / "logs"], tmp_path, spread=elsewhere).rows == 100
    assert len(seen) > 4


def test_results_come_in_the_order_of_the_batches_and_few_are_ahead() -> None:
    """Nothing is begun long before it is wanted, so that memory stays bounded."""
    begun: list[int] = []

    def numbers() -> Iterator[Batch]:
        for number in range(9):
            begun.append(number)
            yield ()

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = in_order(pool, read_batch, numbers(), ahead=3)
        assert next(found) == []
        assert len(begun) <= 4
        assert len(list(found)) == 8
