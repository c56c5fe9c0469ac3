"""One attempt from start to verdict, with the fake trainer as a real process."""

import contextlib
import errno
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.fake_runs import fake_run, is_alive, processes_with, wait_until

from orchestrator import clock
from orchestrator.attempts.tail import point_of
from orchestrator.attempts.trainer_environ import trainer_environ
from orchestrator.attempts.worker import AttemptReport, AttemptWorker
from orchestrator.outcomes import Verdict
from sweeps.contracts import Attempt, Resources, RunSpec
from sweeps.files import read_records
from sweeps.layout import RunDir

Start = Callable[..., AttemptWorker]


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "runs" / "gym" / "gym_CartPole-v1" / "fake" / "0")


@pytest.fixture
def start(run_dir: RunDir) -> Iterator[Start]:
    """Starts attempts in the run directory; none is left behind."""
    started: list[AttemptWorker] = []

    def start(spec: RunSpec, attempt: int = 1) -> AttemptWorker:
        worker = AttemptWorker(spec, run_dir, attempt)
        started.append(worker)
        worker.start()
        return worker

    yield start
    for worker in started:
        if worker.report().verdict is None:
            worker.stop()
            worker.wait(20.0)
    assert processes_with(str(run_dir.path)) == []


def ended(worker: AttemptWorker) -> AttemptReport:
    report = worker.wait(30.0)
    assert report.verdict is not None, "it did not end"
    return report


def attempts(run_dir: RunDir) -> list[Attempt]:
    return [Attempt.from_json(record) for record in read_records(run_dir.attempts)]


def starts(run_dir: RunDir) -> int:
    path = run_dir.path / "starts"
    return path.read_text().count("\n") if path.exists() else 0


def steps(run_dir: RunDir) -> list[int]:
    return [record["step"] for record in read_records(run_dir.scores)]


# --- endings


def test_a_run_that_succeeds_leaves_everything_in_place(start: Start, run_dir: RunDir) -> None:
    """The spec is frozen, the attempt is on record, and the marker tells which attempt finished the run."""
    spec = fake_run(steps=3)
    report = ended(start(spec))

    (attempt,) = attempts(run_dir)
    assert (report.verdict, report.exit_code) == (Verdict("succeeded"), 0)
    assert RunSpec.from_json(json.loads(run_dir.spec.read_text())) == spec
    assert (attempt.attempt, attempt.outcome, attempt.exit_code) == (1, "succeeded", 0)
    assert attempt.pid == report.pid == int((run_dir.path / "starts").read_text())
    assert attempt.ended_at is not None
    assert attempt.started_at <= attempt.ended_at <= report.ended_at
    assert attempt.log_bytes == {"scores.jsonl": 0, "metrics.jsonl": 0, "stdout.log": 0}
    done = json.loads(run_dir.done.read_text())
    assert done["attempt"] == 1
    assert attempt.ended_at <= done["ended_at"]
    assert steps(run_dir) == [1, 2, 3]
    assert (report.progress.step, report.progress.score) == (3, 3.0)


def test_done_is_the_last_thing_that_is_written(start: Start, run_dir: RunDir) -> None:
    """Whoever sees the marker sees all the rest."""
    ended(start(fake_run()))
    times = {path.name: path.stat().st_mtime_ns for path in run_dir.path.iterdir()}

    assert max(times, key=times.__getitem__) == "done"


def test_a_failure_says_why_and_where(start: Start, run_dir: RunDir) -> None:
    """The cause is the trainer's own last words, and there is no marker."""
    report = ended(start(fake_run("fail")))

    assert report.verdict is not None
    assert (report.verdict.outcome, report.exit_code) == ("crashed", 1)
    assert "the reward is a teapot" in report.verdict.cause
    assert not run_dir.done.exists()
    (attempt,) = attempts(run_dir)
    assert (attempt.outcome, attempt.cause, attempt.exit_code) == ("crashed", report.verdict.cause, 1)
    assert "RuntimeError: the reward is a teapot" in run_dir.stdout.read_text()


def test_a_trainer_that_meets_a_full_disk_is_told_apart(start: Start) -> None:
    """No retry helps against it, and everything else will meet it too."""
    report = ended(start(fake_run("full")))

    assert report.verdict is not None
    assert report.verdict.outcome == "disk_full"


def test_a_trainer_that_aborts_has_crashed(start: Start) -> None:
    """It has a signal for an exit code."""
    report = ended(start(fake_run("abort")))

    assert report.verdict is not None
    assert (report.verdict.outcome, report.exit_code) == ("crashed", None)


def test_a_missing_program_is_misconfigured_or_crashed_but_told(start: Start) -> None:
    """The name of the program stands in the cause."""
    report = ended(start(fake_run(command="no-such-program --logdir {run_dir}")))

    assert report.verdict is not None
    assert report.verdict.outcome in ("misconfigured", "crashed")
    assert "no-such-program" in " ".join([report.verdict.cause, *report.verdict.evidence])


def test_options_that_cannot_be_are_misconfigured(start: Start) -> None:
    """What the orchestrator would have refused is refused here too, where a run.json was edited."""
    report = ended(start(fake_run(adapter="telepathy")))

    assert report.verdict is not None
    assert report.verdict.outcome == "misconfigured"
    assert "'telepathy'" in report.verdict.cause


def test_an_error_of_ours_ends_the_trainer_before_it_is_told(
    start: Start, run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that cannot be read for a moment: the next attempt must not meet the trainer of this one."""

    def progress(_: object) -> None:
        if (run_dir.path / "starts").exists():
            raise OSError(errno.ESTALE, "Stale file handle", "scores.jsonl")

    monkeypatch.setattr("orchestrator.attempts.watch.Watch.progress", progress)
    report = ended(start(fake_run("deaf", grace_s=0.5)))

    assert report.verdict is not None
    assert (report.verdict.outcome, "Stale file handle" in report.verdict.cause) == ("crashed", True)
    assert not is_alive(report.pid)


# --- once, and again


def test_a_done_run_is_never_started_again(start: Start, run_dir: RunDir) -> None:
    """The official trainer would train on, as if it had all the time in the world."""
    ended(start(fake_run()))
    report = ended(start(fake_run(), attempt=2))

    assert report.verdict == Verdict("succeeded", "it was done before")
    assert (starts(run_dir), len(attempts(run_dir))) == (1, 1)


def test_starting_twice_starts_once(start: Start, run_dir: RunDir) -> None:
    """Commands are repeated after a crash of the orchestrator."""
    worker = start(fake_run())
    worker.start()
    ended(worker)
    worker.start()

    assert starts(run_dir) == 1


def test_a_resumed_attempt_knows_what_lay_before(start: Start, run_dir: RunDir) -> None:
    """The size of each log at the start of an attempt is the seam that the aggregation needs."""
    ended(start(fake_run("fail")))
    run_dir.scores.write_bytes(b'{"step": 1, "episode/score": 1.0}\n{"step": 2, "epi')
    (run_dir.path / "saved_step").write_text("1")
    sizes = {"scores.jsonl": 0, "metrics.jsonl": 0, "stdout.log": run_dir.stdout.stat().st_size}

    ended(start(fake_run(), attempt=2))

    first, second = attempts(run_dir)
    assert (first.outcome, second.outcome) == ("crashed", "succeeded")
    assert second.log_bytes == {**sizes, "scores.jsonl": second.log_bytes["scores.jsonl"]}
    assert steps(run_dir) == [1, 2, 3, 4, 5]
    assert len(second.repairs) == 1
    seam = run_dir.scores.read_bytes()[: second.log_bytes["scores.jsonl"]]
    assert seam.endswith(b"\n")
    assert json.loads(run_dir.done.read_text())["attempt"] == 2
    assert run_dir.stdout.read_text().count("=== attempt ") == 2


def test_the_first_spec_stays(start: Start, run_dir: RunDir) -> None:
    """A later attempt does not rewrite how the run was made."""
    ended(start(fake_run("fail", steps=5)))
    written = run_dir.spec.read_bytes()
    ended(start(fake_run(steps=5), attempt=2))

    assert run_dir.spec.read_bytes() == written


# --- no sign of life


def test_a_silent_trainer_is_stalled(start: Start) -> None:
    """It may hang for ever, holding its GPU; the heartbeat ends it."""
    report = ended(start(fake_run("hang", heartbeat_s=0.5)))

    assert report.verdict is not None
    assert (report.verdict.outcome, report.verdict.cause) == (
        "stalled",
        "none of its logs grew for trainer.heartbeat_s",
    )
    assert not is_alive(report.pid)


def test_a_trainer_that_logs_is_not_stalled(start: Start) -> None:
    """Each new line counts as a sign of life."""
    report = ended(start(fake_run(steps=8, step_s=0.4, heartbeat_s=2.5)))

    assert report.verdict == Verdict("succeeded")


def test_a_trainer_that_draws_a_progress_bar_is_not_stalled(start: Start) -> None:
    """It gives signs of life for hours without ever ending its line."""
    command = r"sh -c 'for part in 1 2 3 4 5 6 7 8; do printf \"$part of 8\\r\"; sleep 0.3; done'"
    report = ended(start(fake_run(command=command, heartbeat_s=1.5)))

    assert report.verdict == Verdict("succeeded")


def test_a_clock_that_is_set_stalls_nobody(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is when a machine wakes up: the trainer slept as well."""
    now = clock.now()
    moments = itertools.count(now, 5000.0)
    monkeypatch.setattr(clock, "now", lambda: next(moments))
    report = ended(start(fake_run(steps=5, step_s=0.2, heartbeat_s=3600.0)))

    assert report.verdict == Verdict("succeeded")


def test_a_trainer_that_does_not_begin_is_stalled(start: Start, tmp_path: Path) -> None:
    """Where the adapter knows what a start looks like, there is a deadline for it."""
    repo = tmp_path / "repo" / "dreamerv3"
    repo.mkdir(parents=True)
    (repo / "main.py").write_text("import time\nprint('compiling', flush=True)\ntime.sleep(600)\n")
    (repo / "configs.yaml").write_text("defaults: {}\n")
    spec = fake_run()
    options = {"adapter": "dreamerv3", "repo": str(repo.parent), "startup_deadline_s": 0.5}
    options |= {"heartbeat_s": 0, "grace_s": 1}
    trainer_spec: dict[str, Any] = {**spec.to_json(), "trainer": options, "flags": {}}

    report = ended(start(RunSpec.from_json(trainer_spec)))

    assert report.verdict is not None
    assert (report.verdict.outcome, report.verdict.cause) == (
        "stalled",
        "it did not begin to train within trainer.startup_deadline_s",
    )


# --- stopping


def test_a_stopped_attempt_is_cancelled(start: Start, run_dir: RunDir) -> None:
    """It ends within its grace period, keeps what it has saved, and may be continued."""
    worker = start(fake_run(steps=1000, step_s=0.05))
    wait_until(lambda: len(steps(run_dir)) > 2)
    worker.stop()
    report = ended(worker)

    assert report.verdict is not None
    assert (report.verdict.outcome, report.verdict.cause) == ("cancelled", "stopped on request")
    assert not run_dir.done.exists()
    assert attempts(run_dir)[0].outcome == "cancelled"
    saved = int((run_dir.path / "saved_step").read_text())
    ended(start(fake_run(steps=saved + 2), attempt=2))
    assert steps(run_dir)[-2:] == [saved + 1, saved + 2]


def test_a_deaf_trainer_is_killed_after_its_grace(start: Start, run_dir: RunDir) -> None:
    """SIGKILL comes when the grace period is over, for strays too."""
    worker = start(fake_run("deaf", grace_s=0.3))
    wait_until(lambda: run_dir.stdout.exists() and "here I stay" in run_dir.stdout.read_text())
    worker.stop()
    report = ended(worker)

    assert report.verdict is not None
    assert report.verdict.outcome == "cancelled"
    assert not is_alive(report.pid)


def test_a_trainer_that_finished_while_it_was_stopped_is_done(start: Start, run_dir: RunDir) -> None:
    """Exit code 0 counts, whoever asked for an end."""
    script = run_dir.path.parent / "polite.py"
    script.parent.mkdir(parents=True)
    script.write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "print('listening', flush=True)\n"
        "time.sleep(600)\n"
    )
    worker = start(fake_run(command=f"{sys.executable} {script}"))
    wait_until(lambda: run_dir.stdout.exists() and "listening\n" in run_dir.stdout.read_text())
    worker.stop()

    assert ended(worker).verdict == Verdict("succeeded")
    assert run_dir.done.exists()


def test_stopping_before_the_start_is_over_is_heard(start: Start) -> None:
    """A stop in the first moment is not lost."""
    worker = start(fake_run("hang"))
    worker.stop()
    report = ended(worker)

    assert report.verdict is not None
    assert report.verdict.outcome == "cancelled"


# --- folders that cannot be used


def test_a_folder_that_cannot_be_made_is_told(start: Start, run_dir: RunDir) -> None:
    """A file in the way of the run directory."""
    run_dir.path.parent.mkdir(parents=True)
    run_dir.path.write_text("in the way")
    report = ended(start(fake_run()))

    assert report.verdict is not None
    assert report.verdict.outcome == "crashed"
    assert str(run_dir.path) in report.verdict.cause


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"this machine does not let tests mount a small disk: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.skipif(not Path("/bin/mount").exists() and not Path("/usr/bin/mount").exists(), reason="there is no mount")
@pytest.mark.parametrize("pages", [0, 6])
def test_a_full_disk_is_told(small_disk: Path, pages: int) -> None:
    """Whether the disk is full before the trainer starts or fills up under it."""
    run_dir = RunDir(small_disk / "run")
    run_dir.path.mkdir()
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    os.truncate(filler, filler.stat().st_size - 4096 * pages)
    worker = AttemptWorker(fake_run(steps=2000), run_dir, 1)
    worker.start()
    report = ended(worker)

    assert report.verdict is not None
    assert report.verdict.outcome == "disk_full", report
    assert not run_dir.done.exists()


@pytest.mark.skipif(not Path("/bin/mount").exists() and not Path("/usr/bin/mount").exists(), reason="there is no mount")
def test_a_disk_that_is_read_only_is_told(small_disk: Path) -> None:
    """As a file system makes itself after an error: no retry helps, and somebody must mend it, as with a full one."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    worker = AttemptWorker(fake_run(), RunDir(small_disk / "run"), 1)
    worker.start()
    report = ended(worker)

    assert report.verdict is not None
    assert report.verdict.outcome == "disk_full"
    assert "the file system is read-only" in report.verdict.cause


@pytest.mark.parametrize(
    "line",
    [
        '{"step": Infinity, "episode/score": 1.0}',
        '{"step": 1, "episode/score": 1' + "0" * 400 + "}",
        "[" * 100_000,
    ],
    ids=["infinite", "huge", "nested"],
)
def test_an_odd_line_at_the_end_of_a_log_harms_nobody(line: str) -> None:
    """It tells of no episode; whether it is a bad line is for the aggregation to say."""
    assert point_of(line, "step", "episode/score") is None


def test_a_limit_on_file_sizes_is_told(start: Start, run_dir: RunDir) -> None:
    """A quota that bites while the attempt is put on record ends the attempt, not the worker."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, before[1]))
    try:
        report = ended(start(fake_run()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)

    assert report.verdict is not None
    assert report.verdict.outcome == "crashed"
    assert "File too large" in report.verdict.cause
    assert starts(run_dir) == 0


# --- the environment


def test_what_others_set_for_themselves_is_scrubbed() -> None:
    """Ray's and Kubernetes' variables would be taken for the trainer's own; Ray's token is none of its business."""
    own = {
        "PATH": "/bin",
        "HOME": "/home/me",
        "RAY_AUTH_TOKEN_PATH": "/secret",
        "RAY_JOB_ID": "1",
        "JOB_COMPLETION_INDEX": "3",
        "PYTHONBREAKPOINT": "ray.util.rpdb.set_trace",
        "OMP_NUM_THREADS": "1",
    }

    assert trainer_environ(own, {"EXTRA": "1"}, fake_run(resources=Resources(cpus=2.5))) == {
        "PATH": "/bin",
        "HOME": "/home/me",
        "OMP_NUM_THREADS": "2",
        "CUDA_VISIBLE_DEVICES": "",
        "EXTRA": "1",
    }


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        (0.0, {"CUDA_VISIBLE_DEVICES": ""}),
        (0.5, {"CUDA_VISIBLE_DEVICES": "3", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.450"}),
        (0.25, {"CUDA_VISIBLE_DEVICES": "3", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.225"}),
        (1.0, {"CUDA_VISIBLE_DEVICES": "3"}),
        (2.0, {"CUDA_VISIBLE_DEVICES": "3"}),
    ],
)
def test_a_trainer_sees_its_share_of_the_gpus(gpus: float, expected: dict[str, str]) -> None:
    """None without a GPU, whatever the node has; a share of the memory with a fraction."""
    spec = fake_run(resources=Resources(cpus=0.5, gpus=gpus))

    assert trainer_environ({"CUDA_VISIBLE_DEVICES": "3"}, {}, spec) == {"OMP_NUM_THREADS": "1", **expected}
    told = trainer_environ({"CUDA_VISIBLE_DEVICES": "3,4,5"}, {}, spec, "4")
    assert told["CUDA_VISIBLE_DEVICES"] == ("4" if gpus else "")


def test_what_the_run_asks_for_wins() -> None:
    """`trainer.environ` is the user's word."""
    environ = trainer_environ({"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "7", "RAY_X": "kept"}, fake_run())

    assert environ == {"OMP_NUM_THREADS": "7", "CUDA_VISIBLE_DEVICES": "", "RAY_X": "kept"}


def test_the_trainer_really_gets_it(start: Start, run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the worker's process to the trainer's."""
    monkeypatch.setenv("RAY_JOB_ID", "1")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    ended(start(fake_run("environ", environ={"WANTED": "yes"})))

    environ = json.loads((run_dir.path / "environ.json").read_text())

    assert {name for name in environ if name.startswith(("RAY_", "JOB_"))} == set()
    assert (environ["WANTED"], environ["OMP_NUM_THREADS"], environ["CUDA_VISIBLE_DEVICES"]) == ("yes", "1", "")
    assert environ["PATH"] == os.environ["PATH"]
