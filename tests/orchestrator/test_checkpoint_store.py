"""The store of checkpoints, on a file system of Arrow and on one of fsspec."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.attempts.checkpoint_store import CheckpointStore, probe
from orchestrator.attempts.shipping import Carried
from sweeps.contracts import Attempt
from sweeps.errors import StorageError

ENDS = {"scores.jsonl": (100, b'{"step": 7}\n')}
RECORDS = (Attempt(attempt=1, host="h", pid=7, started_at=1.5, log_bytes={"scores.jsonl": 40}, repairs=("mended",)),)


@pytest.fixture(params=["file://{}", "fsspec+local://{}"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CheckpointStore:
    """The store of one run."""
    return CheckpointStore(request.param.format(tmp_path / "store"), "s/run")


@pytest.fixture
def save(store: CheckpointStore, tmp_path: Path) -> Callable[..., str | None]:
    """Publishes a checkpoint with a step, and any pieces."""

    def save(step: int, attempt: int = 1, **pieces: str) -> str | None:
        files = tmp_path / f"spool{step}"
        (files / "ckpt" / "a").mkdir(parents=True)
        (files / "ckpt" / "a" / "step.pkl").write_text(str(step))
        (files / "ckpt" / "latest").write_text("a")
        paths = {}
        for name, content in pieces.items():
            paths[f"replay/{name}"] = tmp_path / name
            (tmp_path / name).write_text(content)
        return store.publish(
            files, Carried(attempt=attempt, ends=ENDS, records=RECORDS), pieces=lambda: paths, label=str(step)
        )

    return save


Save = Callable[..., str | None]


def fetched_step(store: CheckpointStore, into: Path, since: int = 0) -> tuple[int | None, tuple[str, ...]]:
    """The step of the checkpoint that is fetched, and the faults of newer ones."""
    fetched, faults = store.fetch(into, since)
    return (int((into / "ckpt/a/step.pkl").read_text()) if fetched else None), faults


def stored(tmp_path: Path, pattern: str) -> list[str]:
    """The files in the store whose paths match."""
    top = tmp_path / "store" / "s" / "run"
    paths = [path.relative_to(top).as_posix() for path in sorted(top.rglob("*")) if path.is_file()]
    return [path for path in paths if re.search(pattern, path)]


def test_what_was_saved_comes_back(store: CheckpointStore, save: Save, tmp_path: Path) -> None:
    """The newest checkpoint, with its pieces and the end of the logs that it took along."""
    save(1, one="replayed once")
    save(2, one="replayed once", two="replayed twice")

    fetched, faults = store.fetch(tmp_path / "run")

    assert fetched is not None
    assert (fetched.name, fetched.carried, faults) == (
        "000001-000002",
        Carried(attempt=1, ends=ENDS, records=RECORDS),
        (),
    )
    assert {
        path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run").rglob("*") if path.is_file()
    } == {
        "ckpt/a/step.pkl",
        "ckpt/latest",
        "replay/one",
        "replay/two",
    }
    assert (tmp_path / "run/ckpt/a/step.pkl").read_text() == "2"
    assert fetched.bytes == len("2" + "a" + "replayed once" + "replayed twice")


def test_a_piece_is_uploaded_once(store: CheckpointStore, save: Save, tmp_path: Path) -> None:
    """It never changes; another store object, as after a retry, knows it from the checkpoint that it fetched."""
    save(1, one="replayed")
    piece = tmp_path / "store/s/run/pieces/replay/one"
    piece.chmod(0o600)
    stamp = piece.stat().st_mtime_ns
    save(2, one="replayed")
    again = CheckpointStore(store.url, store.folder)
    again.fetch(tmp_path / "run")
    files = tmp_path / "spool3"
    files.mkdir()
    again.publish(files, Carried(attempt=2), pieces=lambda: {"replay/one": tmp_path / "run/replay/one"}, label="3")

    assert piece.stat().st_mtime_ns == stamp


def test_an_empty_store_has_nothing(store: CheckpointStore, tmp_path: Path) -> None:
    """No checkpoint, and nothing wrong with it."""
    assert store.fetch(tmp_path / "run") == (None, ())


def test_a_torn_upload_is_never_fetched(store: CheckpointStore, save: Save, tmp_path: Path) -> None:
    """Without its manifest a checkpoint is not there; with a torn one it is passed over, and that is told."""
    save(1)
    save(2)
    manifest = tmp_path / "store/s/run/manifests/000001-000002.json"
    whole = manifest.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 1, 0):
        manifest.write_bytes(whole[:size])
        assert fetched_step(store, tmp_path / "run") == (1, ("the manifest of checkpoint 000001-000002 is torn",))
    manifest.unlink()

    assert fetched_step(store, tmp_path / "run") == (1, ())


@pytest.mark.parametrize("damage", [lambda path: path.write_text("9"), lambda path: path.write_text(""), Path.unlink])
def test_a_damaged_checkpoint_is_passed_over(
    store: CheckpointStore, save: Save, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    """Sizes and digests are checked, and the one before is taken."""
    save(1)
    save(2)
    damage(tmp_path / "store/s/run/checkpoints/000001-000002/files/ckpt/a/step.pkl")

    step, (fault,) = fetched_step(store, tmp_path / "run")

    assert step == 1
    assert fault.startswith("checkpoint 000001-000002 is damaged: ")


def test_an_edited_manifest_counts_as_torn(store: CheckpointStore, save: Save, tmp_path: Path) -> None:
    """It holds a digest of itself."""
    save(1)
    manifest = tmp_path / "store/s/run/manifests/000001-000001.json"
    record = json.loads(manifest.read_bytes())
    record["body"]["attempt"] = 9
    manifest.write_text(json.dumps(record))

    assert fetched_step(store, tmp_path / "run") == (None, ("the manifest of checkpoint 000001-000001 is torn",))


def test_a_damaged_piece_is_left_out(store: CheckpointStore, save: Save, tmp_path: Path) -> None:
    """The trainer does without parts of its replay buffer, so the checkpoint is still good."""
    save(1, one="replayed", two="replayed")
    (tmp_path / "store/s/run/pieces/replay/one").write_text("damaged!")

    step, faults = fetched_step(store, tmp_path / "run")

    assert step == 1
    assert faults == ("1 of 2 pieces of checkpoint 000001-000001 are damaged or missing",)
    assert not (tmp_path / "run/replay/one").exists()
    assert (tmp_path / "run/replay/two").exists()


def test_the_newest_ones_are_kept(store: CheckpointStore, save: Save, tmp_path: Path) -> None:
    """Older ones go, and what an earlier attempt had not finished uploading; not what was put aside."""
    for step, attempt in ((1, 1), (2, 3), (3, 4), (4, 4), (5, 4)):
        save(step, attempt)
    unfinished = tmp_path / "store/s/run/checkpoints/000003-000009/files/agent.pkl"
    unfinished.parent.mkdir(parents=True)
    unfinished.write_text("half of i")

    store.prune(2, since=2, attempt=5)

    assert stored(tmp_path, "manifests") == [
        f"manifests/{name}.json" for name in ("000001-000001", "000004-000002", "000004-000003")
    ]
    assert {path.split("/")[1] for path in stored(tmp_path, "checkpoints")} == {
        "000001-000001",
        "000004-000002",
        "000004-000003",
    }
    assert fetched_step(store, tmp_path / "run", since=2) == (5, ())


def test_checkpoints_from_before_a_fresh_start_do_not_count(store: CheckpointStore, save: Save, tmp_path: Path) -> None:
    """They stay in the store for whoever wants them back."""
    save(1, attempt=1)

    assert fetched_step(store, tmp_path / "run", since=2) == (None, ())
    assert fetched_step(store, tmp_path / "run") == (1, ())


def test_an_attempt_that_was_given_up_publishes_nothing(store: CheckpointStore, tmp_path: Path) -> None:
    """It is asked last of all: what was uploaded until then is never seen."""
    files = tmp_path / "spool"
    files.mkdir()
    (files / "agent.pkl").write_text("x")

    name = store.publish(files, Carried(attempt=1), pieces=dict, label="1", may_publish=lambda: False)

    assert name is None
    assert store.names() == []


def test_a_run_that_is_done_keeps_its_checkpoint_alone(store: CheckpointStore, save: Save, tmp_path: Path) -> None:
    """The replay buffer, many times the rest, is never needed again."""
    save(1, one="replayed")
    save(2, one="replayed", two="replayed")

    store.settle(since=0, attempt=1)

    assert stored(tmp_path, "pieces") == []
    assert stored(tmp_path, "manifests") == ["manifests/000001-000002.json"]
    assert fetched_step(store, tmp_path / "run") == (2, ())


# --- the probe at a launch


@pytest.mark.parametrize("scheme", ["file://", "fsspec+local://", "local://"])
def test_a_store_that_works_is_left_as_it_was(scheme: str, tmp_path: Path) -> None:
    """What was written to try it is gone."""
    probe(f"{scheme}{tmp_path}/store")

    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nope://bucket/path", "Protocol not known: nope"),
        ("/just/a/path", "it is no URL"),
        ("file:///proc/no/such/place", "create"),
    ],
)
def test_a_store_that_does_not_work_is_told_in_words(url: str, reason: str) -> None:
    """The URL, the reason, and what was expected."""
    with pytest.raises(StorageError, match=f"storage.checkpoints='{url}' cannot be used: .*{reason}.*Expected a URL"):
        probe(url)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    """Before anything is started."""
    tmp_path.chmod(0o500)

    with pytest.raises(StorageError, match="Permission denied"):
        probe(f"file://{tmp_path}")
