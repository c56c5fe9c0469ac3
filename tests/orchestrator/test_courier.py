"""Checkpoints on their way to the store and back, while stores fail and leases run out."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.fake_runs import fake_run, wait_until

from orchestrator.attempts import courier as courier_module
from orchestrator.attempts.checkpoint_store import CheckpointStore
from orchestrator.attempts.courier import Courier
from orchestrator.attempts.outbox import Outbox
from orchestrator.attempts.shipping import Handover
from orchestrator.trainers.checkpoint import CheckpointBrokenError
from orchestrator.trainers.registry import trainer_of
from sweeps.contracts import Attempt
from sweeps.errors import StorageError
from sweeps.layout import RunDir
from sweeps.settings import StorageSettings


class Bench:
    """One attempt's end of shipping, without its trainer: a test saves checkpoints itself."""

    def __init__(
        self,
        top: Path,
        attempt: int = 1,
        *,
        is_leased: Callable[[], bool] = lambda: True,
        store: str = "",
        checkpoint: str = "",
    ) -> None:
        self.attempt = attempt
        self.run_dir = RunDir(top / "local" / str(attempt))
        self.run_dir.path.mkdir(parents=True)
        storage = StorageSettings(kind="ship", interval_s=0.05)
        handover = Handover(
            storage=storage, store=store or f"file://{top}/store", folder="s/run", checkpoint=checkpoint
        )
        self.outbox = Outbox(self.run_dir, handover, attempt, ())
        trainer = trainer_of(fake_run(checkpoint="saved_step").trainer)
        self.courier = Courier(trainer, self.run_dir, handover, self.outbox, attempt, is_leased=is_leased)

    def begin(self) -> None:
        self.outbox.begin(["scores.jsonl"], None)
        self.outbox.started = Attempt(attempt=self.attempt, host="h", pid=1, started_at=0.0)
        self.courier.start()

    def save(self, step: int) -> None:
        fresh = self.run_dir.path / "saving"
        fresh.write_text(str(step))
        fresh.replace(self.run_dir.path / "saved_step")


def never() -> bool:
    return False


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier_module, "_PATIENCE_S", (0.01, 0.01))


def fetched_step(top: Path, attempt: int) -> str:
    bench = Bench(top, attempt)
    bench.courier.fetch(never)
    return (bench.run_dir.path / "saved_step").read_text()


def test_a_run_is_done_whatever_its_store_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What clears up behind it must not take the orchestrator along."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("an error of the store's own library")

    monkeypatch.setattr(CheckpointStore, "settle", fail)
    Bench(tmp_path).courier.settle()


def test_each_new_checkpoint_is_taken(tmp_path: Path) -> None:
    """While the program runs, and the last one when it has ended."""
    bench = Bench(tmp_path)
    bench.begin()
    bench.save(1)
    wait_until(lambda: bench.outbox.checkpoint == "000001-000001")
    bench.save(2)
    bench.courier.finish()

    assert bench.outbox.checkpoint == "000001-000002"
    assert fetched_step(tmp_path, 2) == "2"


def test_a_store_that_fails_does_not_stop_anything(tmp_path: Path) -> None:
    """The root is told, and once the store is back it gets the newest checkpoint."""
    (tmp_path / "store").write_text("a file where a folder should be")
    bench = Bench(tmp_path)
    bench.begin()
    bench.save(1)
    wait_until(lambda: bench.outbox.trouble)
    assert bench.outbox.parcel({}, is_anew=False).trouble
    (tmp_path / "store").unlink()
    wait_until(lambda: bench.outbox.checkpoint)
    bench.courier.finish()

    assert bench.outbox.trouble == ""
    assert fetched_step(tmp_path, 2) == "1"


def test_an_attempt_that_was_given_up_adds_nothing(tmp_path: Path) -> None:
    """Its lease has run out: another attempt may have gone on from what was there."""
    bench = Bench(tmp_path, is_leased=lambda: False)
    bench.begin()
    bench.save(1)
    bench.courier.finish()

    assert bench.outbox.checkpoint == ""
    assert not (tmp_path / "store").exists()


def test_what_was_fetched_is_not_taken_back(tmp_path: Path) -> None:
    """The next checkpoint is the first that the trainer saves itself."""
    first = Bench(tmp_path)
    first.begin()
    first.save(1)
    first.courier.finish()
    second = Bench(tmp_path, 2)
    second.courier.fetch(never)
    second.begin()
    second.courier.finish()

    assert second.outbox.checkpoint == "000001-000001"


def test_a_store_that_stays_away_ends_the_attempt(tmp_path: Path, impatient: None) -> None:  # noqa: ARG001
    """After minutes, as a failure that is tried again; beginning from nothing would lose what is there."""
    with pytest.raises(StorageError, match=r"fsspec\+nope://x cannot be reached: Protocol not known: nope\."):
        Bench(tmp_path, store="fsspec+nope://x").courier.fetch(never)


def test_waiting_for_a_store_can_be_stopped(tmp_path: Path) -> None:
    """By whoever stops the attempt."""
    with pytest.raises(StorageError):
        Bench(tmp_path, store="fsspec+nope://x").courier.fetch(lambda: True)


def test_a_checkpoint_that_the_root_knows_of_must_be_there(tmp_path: Path, impatient: None) -> None:  # noqa: ARG001
    """Somebody cleared the store: the run must not begin from nothing without a word."""
    with pytest.raises(CheckpointBrokenError, match=r"of the latest, 000001-000007, nothing is left.* --fresh"):
        Bench(tmp_path, checkpoint="000001-000007").courier.fetch(never)


def test_a_disk_that_is_mounted_late_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then its folder is empty, as after a clearance."""
    first = Bench(tmp_path)
    first.begin()
    first.save(1)
    first.courier.finish()
    (tmp_path / "store").rename(tmp_path / "unmounted")
    monkeypatch.setattr(courier_module.clock, "sleep", lambda _: (tmp_path / "unmounted").rename(tmp_path / "store"))
    second = Bench(tmp_path, 2, checkpoint="000001-000001")

    _, (note,) = second.courier.fetch(never)

    assert note == "fetched the checkpoint 000001-000001, 1 bytes"
