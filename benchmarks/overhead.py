"""What orchestrating costs: seconds of an idle slot between two runs, and CPU and memory while attempts are in flight.

Beside Ray Tune on the same work, on the same machine, one after the other. Runs in flight are real: `sleep` under a
guard in an actor of its own, or under a trial of Tune. A thousand actors need more memory than most machines have: for
the largest numbers the machine, the journal and the loop are real, and the cluster behind them is made up.

    python -m benchmarks overhead --runs 40 --in-flight 10 100 --simulated 10 100 1000
"""

import argparse
import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator.attempts.worker import AttemptReport, Progress
from orchestrator.commands import LaunchAttempt, StopAttempt
from orchestrator.events import AttemptEnded, AttemptStarted, Event, NodeJoined, TrainingBegan
from orchestrator.launch import Launch
from orchestrator.policy import Limits
from sweeps.contracts import Resources, RunKey, RunSpec, Schedule, TrainerSource
from sweeps.layout import SweepRoot

#: Writes when it began and ended to a file of its own.
PROGRAM = """\
import os, pathlib, sys, time
trace, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2])
began = time.time()
time.sleep(seconds)
(trace / str(os.getpid())).write_text(f"{began} {time.time()}")
"""
TUNE = """\
import json, subprocess, sys, tempfile
import ray
from ray import tune
words, runs, cpus, slots = json.loads(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])

def trial(config):
    subprocess.run(words, check=True)
    tune.report({"score": 1.0})

ray.init(num_cpus=slots, include_dashboard=False, log_to_driver=False)
with tempfile.TemporaryDirectory() as storage:
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": cpus}),
        param_space={"seed": tune.grid_search(list(range(runs)))},
        run_config=tune.RunConfig(storage_path=storage, verbose=0),
    )
    results = tuner.fit()
"""
_START_LIMIT_S = 600.0


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40, help="one-second runs for the idle slot")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--in-flight", type=int, nargs="*", default=[10, 50])
    parser.add_argument("--simulated", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--seconds", type=float, default=20.0, help="how long CPU time is measured")
    parser.add_argument("--without-tune", action="store_true", help="needs no tensorboardX and fsspec")
    arguments = parser.parse_args()
    peers = ["dreamsweep"] if arguments.without_tune else ["dreamsweep", "Ray Tune"]
    print(f"idle slot between two runs: {arguments.runs} runs of 1 s on {arguments.slots} slots")
    slots = {peer: _slots(peer, arguments.runs, arguments.slots) for peer in peers}
    ours = slots["dreamsweep"]
    for peer, slot in slots.items():
        print(
            f"  {peer:<12} {slot.idle_s:6.2f} s   {slot.idle_s / ours.idle_s:6.1f} ×   all of it, start and stop of "
            f"Ray included, {slot.total_s:.1f} s, {slot.total_s * arguments.slots / arguments.runs:.2f} × the ideal",
            flush=True,
        )
    print(f"real attempts in flight: the orchestrating process during {arguments.seconds:g} s")
    for count in arguments.in_flight:
        usages = {peer: _usage(peer, count, arguments.seconds) for peer in peers}
        own = usages["dreamsweep"]
        for peer, usage in usages.items():
            print(
                f"  {count:>5} {peer:<12} {100 * usage.cpu_share:6.2f} % of a core   "
                f"{usage.cpu_share / own.cpu_share:6.1f} ×   {usage.megabytes:6.0f} MB   "
                f"{usage.megabytes / own.megabytes:6.1f} ×",
                flush=True,
            )
    print("attempts in flight on a cluster that is made up; each takes 5 to 15 s, and is followed by the next")
    for count in arguments.simulated:
        cpu, per_attempt_ms, megabytes = _simulated(count, arguments.seconds)
        print(
            f"  {count:>5} {'dreamsweep':<12} {100 * cpu:6.2f} % of a core   {per_attempt_ms:6.2f} ms for each attempt"
            f"   {megabytes:6.0f} MB",
            flush=True,
        )


@dataclass(frozen=True, slots=True)
class _Slots:
    #: Mean seconds that a slot stays empty between two runs.
    idle_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class _Usage:
    cpu_share: float
    megabytes: float


def _slots(peer: str, runs: int, slots: int) -> _Slots:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trace = folder / "trace"
        trace.mkdir()
        program = folder / "program.py"
        program.write_text(PROGRAM, encoding="utf-8")
        words = [sys.executable, str(program), str(trace), "1.0"]
        started = time.monotonic()
        with _started(peer, folder, words, runs=runs, cpus=1.0, slots=slots) as process:
            process.wait(timeout=_START_LIMIT_S)
        total_s = time.monotonic() - started
        lives = [tuple(map(float, path.read_text(encoding="utf-8").split())) for path in trace.iterdir()]
    assert len(lives) == runs, f"{peer} made {len(lives)} of {runs} runs"
    span_s = max(end for _, end in lives) - min(begin for begin, _ in lives)
    busy_s = sum(end - begin for begin, end in lives)
    return _Slots((slots * span_s - busy_s) / (runs - slots), total_s)


def _usage(peer: str, count: int, seconds: float) -> _Usage:
    """What the process uses that drives `count` sleeping attempts."""
    mark = f"7{os.getpid()}.{random.randrange(10**6):06d}"
    with tempfile.TemporaryDirectory() as name:
        words = ["sleep", mark]
        with _started(peer, Path(name), words, runs=count, cpus=round(1.9 / count, 4), slots=2) as process:
            _await(lambda: len(_sleepers(mark)) >= count, process)
            time.sleep(3.0)
            before = _cpu_seconds(process.pid)
            time.sleep(seconds)
            cpu = (_cpu_seconds(process.pid) - before) / seconds
            megabytes = _resident_bytes(process.pid) / 1e6
            process.send_signal(signal.SIGINT if peer == "dreamsweep" else signal.SIGKILL)
            process.wait(timeout=120)
            _await(lambda: not _sleepers(mark, ends=True))
    return _Usage(cpu, megabytes)


@contextlib.contextmanager
def _started(
    peer: str, folder: Path, words: Sequence[str], *, runs: int, cpus: float, slots: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Have a peer run a command many times."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    if peer == "dreamsweep":
        command = [sys.executable, "-m", "orchestrator.cli", "run", "trainer=command", "suite=gym"]
        command += [f"trainer.command='{' '.join(words)}'", "task=gym_CartPole-v1", f"seed=range(0,{runs})"]
        command += [f"root={folder / 'root'}", f"cluster.cpus={slots}", f"resources.cpus={cpus}"]
        command += ["collect_every_s=0", "canary=false", "trainer.grace_s=1"]
    else:
        script = folder / "tune.py"
        script.write_text(TUNE, encoding="utf-8")
        command = [sys.executable, str(script), json.dumps(list(words)), str(runs), str(cpus), str(slots)]
        environ |= {"RAY_AUTH_MODE": "disabled", "RAY_AIR_NEW_OUTPUT": "0"}
        environ |= {"TUNE_MAX_PENDING_TRIALS_PG": str(runs)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environ, start_new_session=True)
    try:
        yield process
    except BaseException:
        print((folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:])
        raise
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _await(is_true: Any, process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while not is_true():
        assert process is None or process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline, f"did not come true within {_START_LIMIT_S:g} s"
        time.sleep(0.5)


def _sleepers(mark: str, *, ends: bool = False) -> list[int]:
    """The `sleep` processes of one measurement; with `ends`, each is told to go (Tune leaves its own behind)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "cmdline").read_bytes() == f"sleep\0{mark}\0".encode():
                found.append(int(folder.name))
    if ends:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
    return found


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _simulated(count: int, seconds: float) -> tuple[float, float, float]:
    """Share of a core, CPU milliseconds for each attempt, and megabytes at most, in a process of its own."""
    words = [sys.executable, "-c", f"from benchmarks.overhead import simulate; simulate({count}, {seconds})"]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    cpu, per_attempt_ms, megabytes = map(float, done.stdout.split()[-3:])
    return cpu, per_attempt_ms, megabytes


class MadeUpCluster:
    """Implements the Cluster seam: attempts take their time, tell their progress at every look, and end well."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._random = random.Random(0)
        self._ends: dict[tuple[RunKey, int], float] = {}
        self._pending: list[Event] = []
        self.ended = 0

    def open(self, root: SweepRoot, sweep_id: str, specs: Mapping[RunKey, RunSpec]) -> None:  # noqa: ARG002
        for node in range(-(-self._slots // 8)):
            self._pending.append(NodeJoined(at=time.time(), node=f"n{node}", cpus=8.0, memory_bytes=2**40))

    def adopt(self, attempts: Sequence[tuple[RunKey, int]]) -> None: ...

    def execute(self, command: LaunchAttempt | StopAttempt) -> None:
        name = (command.key, command.attempt)
        if isinstance(command, StopAttempt):
            self._ends.pop(name, None)
            at = time.time()
            self._pending.append(AttemptEnded(at=at, key=command.key, attempt=command.attempt, outcome="cancelled"))
            return
        at = time.time()
        self._ends[name] = time.monotonic() + self._random.uniform(5.0, 15.0)
        self._pending.append(AttemptStarted(at=at, key=command.key, attempt=command.attempt, host="h", pid=1))
        self._pending.append(TrainingBegan(at=at, key=command.key, attempt=command.attempt))

    def poll(self, timeout_s: float) -> list[Event]:
        if not self._pending:
            # As an actor's answer does, the end of an attempt comes when it comes.
            until = min([*self._ends.values(), time.monotonic() + timeout_s])
            time.sleep(max(0.0, until - time.monotonic()))
        moment = time.monotonic()
        for (key, attempt), end in list(self._ends.items()):
            if end <= moment:
                del self._ends[key, attempt]
                self.ended += 1
                self._pending.append(AttemptEnded(at=time.time(), key=key, attempt=attempt, outcome="succeeded"))
        events, self._pending = self._pending, []
        return events

    def reports(self) -> Mapping[RunKey, AttemptReport]:
        progress = Progress(step=int(time.time()), score=1.0)
        return {key: AttemptReport(host="h", pid=1, progress=progress) for key, _ in self._ends}

    def close(self) -> None: ...


def simulate(count: int, seconds: float) -> None:
    """Drive a made-up cluster for a while, and print what that took."""
    trainer = {"adapter": "command", "command": "true", "startup_deadline_s": 0, "heartbeat_s": 0, "grace_s": 1.0}
    specs = [
        RunSpec(
            key=RunKey(suite="gym", task=f"gym_Task{number // 5}-v1", label="m", seed=number % 5),
            method="m",
            train_ratio=None,
            trainer_task="gym_Task-v1",
            schedule=Schedule(steps=1000),
            source=TrainerSource(adapter="command"),
            trainer=trainer,
            flags={},
            environ={},
            resources=Resources(cpus=1.0),
        )
        for number in range(int(count * (2 + seconds / 5)))
    ]
    cluster = MadeUpCluster(count)
    samples: list[tuple[float, float, int]] = []

    def sample() -> None:
        time.sleep(3.0)  # the plan is written, and the first wave is under way
        for _ in range(2):
            samples.append((time.monotonic(), time.process_time(), cluster.ended))
            time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGINT)

    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w", encoding="utf-8") as null:
        launch = Launch(
            SweepRoot(Path(folder) / "root"),
            specs,
            cluster,
            console=Console(file=null),
            collect=lambda: None,
            collect_every_s=0.0,
        )
        threading.Thread(target=sample, daemon=True).start()
        launch.run(config_text="", limits=Limits(canary=False, hold_after=None))
    (began, cpu_before, ended_before), (until, cpu_after, ended_after) = samples
    cpu_s = cpu_after - cpu_before
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(cpu_s / (until - began), 1e3 * cpu_s / max(1, ended_after - ended_before), megabytes)


if __name__ == "__main__":
    main()
