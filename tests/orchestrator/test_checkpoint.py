"""Repair of a run directory, on hand-made ones: every state that kills and full disks were seen to leave."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from orchestrator.trainers.checkpoint import (
    CheckpointBrokenError,
    close_torn_line,
    inspect,
    link,
    newest_name,
    repair,
    whole_chunks,
)
from sweeps.layout import RunDir

OLD, NEW = "20260501T101010F000001", "20260501T111111F000002"


def save(ckpt_dir: Path, name: str, *, step: int = 100, done: bool = True) -> Path:
    """Write a checkpoint as the trainer does, but for `latest`."""
    folder = ckpt_dir / name
    folder.mkdir(parents=True)
    agent = {"params": {"w": np.ones((4, 3), np.float32)}, "counters": {"updates": 3}}
    for part, content in (("step", step), ("agent", agent), ("replay", None)):
        (folder / f"{part}.pkl").write_bytes(pickle.dumps(content))
    if done:
        (folder / "done").write_bytes(b"")
    return folder


def point(ckpt_dir: Path, name: str) -> None:
    (ckpt_dir / "latest").write_text(name)


def log(run_dir: RunDir) -> None:
    run_dir.scores.write_text('{"step": 30, "episode/score": 29.0}\n')


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


@pytest.fixture(params=[0, 1], ids=["ckpt", "checkpoint.pkl"])
def ckpt_dir(request: pytest.FixtureRequest, run_dir: RunDir) -> Path:
    """Both names of the folder."""
    path: Path = run_dir.checkpoints[request.param]
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_new_run_needs_no_repair(run_dir: RunDir) -> None:
    """A folder without checkpoint and logs starts from nothing."""
    assert repair(run_dir) == (None, ())


def test_sound_checkpoint_is_left_alone(run_dir: RunDir, ckpt_dir: Path) -> None:
    """A whole checkpoint is found with its step, and nothing is changed."""
    save(ckpt_dir, NEW, step=3740)
    point(ckpt_dir, NEW)
    log(run_dir)

    assert repair(run_dir) == (3740, ())
    assert names(ckpt_dir) == [NEW, "latest"]


def test_resume_from_step_zero_differs_from_a_start_from_nothing(run_dir: RunDir, ckpt_dir: Path) -> None:
    """The checkpoint that the trainer writes before its first step is one to resume from."""
    save(ckpt_dir, NEW, step=0)
    point(ckpt_dir, NEW)

    assert repair(run_dir) == (0, ())


@pytest.mark.parametrize("latest", ["", "\n", "20260101T000000F000000", "../elsewhere", None])
def test_lost_latest_is_pointed_at_the_newest_whole_folder(run_dir: RunDir, ckpt_dir: Path, latest: str | None) -> None:
    """Whether `latest` is empty, dangling or gone, the newest whole folder is resumed from."""
    save(ckpt_dir, OLD, step=100)
    save(ckpt_dir, NEW, step=200)
    if latest is not None:
        point(ckpt_dir, latest)
    log(run_dir)

    step, repairs = repair(run_dir)

    assert (step, repairs) == (200, (f"pointed {ckpt_dir.name}/latest to {NEW}",))
    assert (ckpt_dir / "latest").read_bytes() == NEW.encode()
    assert names(run_dir.path) == sorted([ckpt_dir.name, "scores.jsonl"])


def test_unfinished_folder_is_passed_over(run_dir: RunDir, ckpt_dir: Path) -> None:
    """A newer folder without `done` is removed: it sorts last, so the trainer would keep it and drop whole ones."""
    save(ckpt_dir, OLD, step=100)
    save(ckpt_dir, NEW, step=200, done=False)
    point(ckpt_dir, OLD)

    assert repair(run_dir) == (100, (f"removed {ckpt_dir.name}/{NEW}, which is not a whole checkpoint",))
    assert names(ckpt_dir) == [OLD, "latest"]


def test_latest_that_names_an_unfinished_folder_falls_back(run_dir: RunDir, ckpt_dir: Path) -> None:
    """Where `latest` names a folder without `done`, the whole one before it is resumed from."""
    save(ckpt_dir, OLD, step=100)
    save(ckpt_dir, NEW, step=200, done=False)
    point(ckpt_dir, NEW)

    step, repairs = repair(run_dir)

    assert step == 100
    assert len(repairs) == 2
    assert (ckpt_dir / "latest").read_text() == OLD


def test_newer_whole_folder_is_preferred(run_dir: RunDir, ckpt_dir: Path) -> None:
    """A kill between `done` and `latest` leaves a newer whole folder, which is resumed from."""
    save(ckpt_dir, OLD, step=100)
    save(ckpt_dir, NEW, step=200)
    point(ckpt_dir, OLD)

    step, _ = repair(run_dir)

    assert step == 200
    assert (ckpt_dir / "latest").read_text() == NEW


@pytest.mark.parametrize("part", ["agent.pkl", "step.pkl", "replay.pkl"])
def test_truncated_pickle_makes_a_folder_unusable(run_dir: RunDir, ckpt_dir: Path, part: str) -> None:
    """A pickle cut at any byte is noticed, although `done` is there."""
    save(ckpt_dir, OLD, step=100)
    path = save(ckpt_dir, NEW, step=200) / part
    point(ckpt_dir, NEW)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])

        assert inspect(ckpt_dir).whole == (ckpt_dir / OLD,), size

    assert repair(run_dir)[0] == 100


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("missing_bytes", [0, 1, 1_000_000])
def test_arrays_are_stepped_over(tmp_path: Path, protocol: int, missing_bytes: int) -> None:
    """A checkpoint with large arrays is judged without reading them, in every pickle protocol."""
    folder = save(tmp_path, NEW)
    content = pickle.dumps({"w": np.zeros(1_000_000, np.float32)}, protocol=protocol)
    (folder / "agent.pkl").write_bytes(content[: len(content) - missing_bytes])

    assert bool(inspect(tmp_path).whole) == (missing_bytes == 0)


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    """Looking at a checkpoint never executes what a pickle asks for; its step is then unknown."""
    folder = save(tmp_path, NEW)
    (folder / "step.pkl").write_bytes(b"cos\nmkdir\n(S'" + str(tmp_path / "hit").encode() + b"'\ntR.")
    point(tmp_path, NEW)

    state = inspect(tmp_path)

    assert (state.latest, state.step) == (folder, None)
    assert not (tmp_path / "hit").exists()


def test_stray_entries_are_removed(run_dir: RunDir, ckpt_dir: Path) -> None:
    """Files and empty folders beside the checkpoints go, since the trainer keeps only the last name."""
    save(ckpt_dir, OLD, step=100)
    point(ckpt_dir, OLD)
    (ckpt_dir / "latest.tmp").write_text("x")
    (ckpt_dir / "zzz").mkdir()

    step, repairs = repair(run_dir)

    assert (step, len(repairs)) == (100, 2)
    assert names(ckpt_dir) == [OLD, "latest"]


def test_run_killed_in_its_first_save_starts_from_nothing(run_dir: RunDir, ckpt_dir: Path) -> None:
    """Without logs nothing is lost: an unfinished first checkpoint is cleared away."""
    save(ckpt_dir, NEW, done=False)
    point(ckpt_dir, "")

    step, repairs = repair(run_dir)

    assert (step, len(repairs)) == (None, 2)
    assert names(ckpt_dir) == []


def test_logs_without_whole_checkpoint_are_refused_untouched(run_dir: RunDir, ckpt_dir: Path) -> None:
    """The trainer would start again at step 0 in the same files; that is refused, and all is left as it is."""
    save(ckpt_dir, NEW, done=False)
    point(ckpt_dir, NEW)
    log(run_dir)

    with pytest.raises(CheckpointBrokenError, match=f"{NEW} was not finished"):
        repair(run_dir)

    assert names(ckpt_dir) == [NEW, "latest"]


def test_logs_without_any_checkpoint_are_refused(run_dir: RunDir) -> None:
    """A checkpoint that was deleted by hand is missed."""
    log(run_dir)

    with pytest.raises(CheckpointBrokenError, match="none at all"):
        repair(run_dir)


def test_repair_is_idempotent(run_dir: RunDir, ckpt_dir: Path) -> None:
    """A repaired run directory needs no further repair."""
    save(ckpt_dir, OLD, step=100)
    save(ckpt_dir, NEW, done=False)
    point(ckpt_dir, "")
    run_dir.scores.write_text('{"step": ')

    step, repairs = repair(run_dir)

    assert (step, len(repairs)) == (100, 3)
    assert repair(run_dir) == (100, ())


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", b""), (b'{"step": 1}\n', b'{"step": 1}\n'), (b'{"step": 1}\n{"st', b'{"step": 1}\n{"st\n')],
)
def test_torn_line_gets_its_newline(tmp_path: Path, before: bytes, after: bytes) -> None:
    """Only a log that ends within a line is changed, and only by a newline."""
    path = tmp_path / "scores.jsonl"
    path.write_bytes(before)

    mended = close_torn_line(path)

    assert (path.read_bytes(), mended is not None) == (after, after != before)


def test_missing_log_has_no_torn_line(tmp_path: Path) -> None:
    """A log that was never written is not created."""
    assert close_torn_line(tmp_path / "scores.jsonl") is None
    assert names(tmp_path) == []


# --- what is taken to the store


def test_the_newest_finished_checkpoint_is_named(run_dir: RunDir, ckpt_dir: Path) -> None:
    """Where none is finished, none is."""
    assert newest_name(run_dir) is None
    save(ckpt_dir, OLD, done=False)
    assert newest_name(run_dir) is None
    save(ckpt_dir, NEW)
    save(ckpt_dir, "20260501T999999F000009", done=False)
    assert newest_name(run_dir) == f"{ckpt_dir.name}/{NEW}"


def test_a_linked_checkpoint_is_fit_to_resume_from(run_dir: RunDir, ckpt_dir: Path, tmp_path: Path) -> None:
    """With its pointer, and untouched by the trainer, which removes it when it has the next one."""
    folder = save(ckpt_dir, NEW, step=70)
    link(run_dir, f"{ckpt_dir.name}/{NEW}", tmp_path / "spool")
    shutil.rmtree(folder)

    elsewhere = RunDir(tmp_path / "spool")
    assert repair(elsewhere) == (70, ())
    assert inspect(tmp_path / "spool" / ckpt_dir.name).step == 70


def test_a_checkpoint_that_the_trainer_removes_meanwhile_is_no_checkpoint(
    run_dir: RunDir, ckpt_dir: Path, tmp_path: Path
) -> None:
    """It removes one file after the other; what was linked by then is not whole."""
    (save(ckpt_dir, NEW) / "done").unlink()

    with pytest.raises(FileNotFoundError):
        link(run_dir, f"{ckpt_dir.name}/{NEW}", tmp_path / "spool")


def test_a_checkpoint_that_goes_while_it_is_looked_at_is_passed_over(ckpt_dir: Path) -> None:
    """The trainer removes the one before its newest at any moment; a link to nowhere is listed and not found, too."""
    save(ckpt_dir, OLD, step=70)
    gone = save(ckpt_dir, NEW) / "agent.pkl"
    gone.unlink()
    gone.symlink_to("nowhere")

    state = inspect(ckpt_dir)

    assert (state.step, [path.name for path in state.whole]) == (70, [OLD])
    assert state.faults == (f"{NEW} was removed while it was read", "latest is missing")


def test_replay_chunks_that_are_being_written_wait(tmp_path: Path) -> None:
    """They are zip archives, which end with their table of contents."""
    np.savez(tmp_path / "whole.npz", image=np.zeros(100))
    content = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "torn.npz").write_bytes(content[:-10])
    (tmp_path / "empty.npz").write_bytes(b"")

    assert [path.name for path in whole_chunks(tmp_path)] == ["whole.npz"]
