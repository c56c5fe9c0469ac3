"""How a sweep stands, told from its root alone; and what `attach` makes of it."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import said, status
from fakes.fake_runs import fake_run

from orchestrator.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    GroupReleased,
    NodeJoined,
    RunCancelled,
    RunPaused,
    RunPlanned,
    StopRequested,
    SweepOpened,
)
from orchestrator.journal import Journal
from orchestrator.lock import RootLock
from orchestrator.outcomes import Outcome
from orchestrator.policy import Limits
from orchestrator.status import FailureGroup, RunStatus, SweepStatus, status_of
from sweeps.contracts import Resources, RunKey
from sweeps.errors import RootError
from sweeps.layout import SweepRoot

GROUP = "dreamerv3 × gym"
LIMITS = Limits(canary=False, hold_after=None, retries={"crashed": 1})


def key(seed: int, suite: str = "gym") -> RunKey:
    return RunKey(suite=suite, task="gym_CartPole-v1", label="dreamerv3", seed=seed)


def name(seed: int, suite: str = "gym") -> str:
    return str(key(seed, suite))


class Sweep:
    """Writes the journal of a sweep, one event a second."""

    def __init__(self, root: SweepRoot) -> None:
        self.root = root
        self._at = 1000.0

    def tell(self, *events: Event) -> None:
        with Journal(self.root.journal) as journal:
            journal.append(events)

    def now(self) -> float:
        self._at += 1.0
        return self._at

    def opened(self, limits: Limits = LIMITS) -> None:
        self.tell(SweepOpened(at=self.now(), sweep_id="s", host="head", pid=1, limits=limits))

    def planned(self, *seeds: int, suite: str = "gym", gpus: float = 0.0) -> None:
        group = GROUP if suite == "gym" else f"dreamerv3 × {suite}"
        resources = Resources(cpus=1.0, gpus=gpus)
        for seed in seeds:
            self.tell(RunPlanned(at=self.now(), key=key(seed, suite), group=group, resources=resources))

    def joined(self, node: str = "a", *, cpus: float = 8.0, gpus: float = 0.0) -> None:
        self.tell(NodeJoined(at=self.now(), node=node, cpus=cpus, gpus=gpus, host=f"host-{node}"))

    def began(self, seed: int, attempt: int = 1) -> None:
        self.tell(AttemptStarted(at=self.now(), key=key(seed), attempt=attempt, host="h", pid=7))

    def ended(self, seed: int, outcome: Outcome, attempt: int = 1, **options: Any) -> None:
        self.tell(AttemptEnded(at=self.now(), key=key(seed), attempt=attempt, outcome=outcome, **options))

    def spec(self, seed: int) -> None:
        """Leave what a run's worker leaves at its first start."""
        spec = replace(fake_run(steps=1000, step_key="frames", score_key="return"), key=key(seed))
        path = self.root.run_dir(key(seed)).spec
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(spec.to_json()))


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(SweepRoot(tmp_path))


def test_every_state_is_told(sweep: Sweep) -> None:
    """Each run with its attempts, and where it is or was; nobody drives the sweep, and nothing is wrong with it."""
    sweep.opened()
    sweep.planned(9)
    sweep.opened()
    sweep.planned(*range(8))
    sweep.joined(cpus=7.0)
    sweep.tell(RunCancelled(at=sweep.now(), key=key(7)))
    for seed in range(1, 7):
        sweep.began(seed)
    sweep.ended(2, "succeeded")
    sweep.ended(3, "crashed", cause="it broke")
    sweep.tell(RunPaused(at=sweep.now(), key=key(4)))
    sweep.ended(4, "cancelled")
    sweep.tell(RunPaused(at=sweep.now(), key=key(5)))
    sweep.planned(10, 11, 12, 13)

    def run(seed: int, state: str, attempts: int = 1, host: str = "h", **changes: Any) -> RunStatus:
        return RunStatus(run=name(seed), group=GROUP, state=state, attempts=attempts, host=host, **changes)

    assert status_of(sweep.root) == SweepStatus(
        root=str(sweep.root.path),
        orchestrator=None,
        counts={
            "idle": 1,
            "launching": 4,
            "running": 2,
            "done": 1,
            "backing_off": 1,
            "paused": 1,
            "stopping": 1,
            "cancelled": 1,
            "waiting": 1,
        },
        runs=(
            run(0, "launching", host=""),
            run(1, "running"),
            run(2, "done"),
            run(3, "backing_off", outcome="crashed", cause="it broke"),
            run(4, "paused"),
            run(5, "stopping"),
            run(6, "running"),
            run(7, "cancelled", 0, ""),
            run(9, "idle", 0, ""),
            run(10, "launching", host=""),
            run(11, "launching", host=""),
            run(12, "launching", host=""),
            run(13, "waiting", 0, ""),
        ),
        failures=(),
        held={},
        set_aside=(),
        halted=None,
        gpu_hours=0.0,
    )


def test_progress_comes_from_the_log_of_the_run(sweep: Sweep) -> None:
    """The last whole line counts, read by the trainer's own keys; before the first there is only the budget."""
    sweep.opened()
    sweep.planned(0, 1, 2)
    sweep.joined()
    for seed in range(3):
        sweep.began(seed)
        if seed < 2:
            sweep.spec(seed)
    log = sweep.root.run_dir(key(0)).scores
    log.write_text('{"frames": 100, "return": 1.5}\n{"frames": 200, "return": 2.5}\n{"frames": 300, "ret')

    assert [(run.step, run.budget, run.score) for run in status_of(sweep.root).runs] == [
        (200, 1000, 2.5),
        (None, 1000, None),
        (None, None, None),
    ]


def test_the_last_score_of_a_run_at_rest_is_told_in_full_only(sweep: Sweep) -> None:
    """Of thousands that are done nobody waits for the logs, unless every run is asked for."""
    sweep.opened()
    sweep.planned(0)
    sweep.joined()
    sweep.began(0)
    sweep.spec(0)
    sweep.root.run_dir(key(0)).scores.write_text('{"frames": 100, "return": 1.5}\n')
    sweep.ended(0, "succeeded")

    assert [
        [(run.state, run.step, run.score) for run in status_of(sweep.root, in_full=in_full).runs]
        for in_full in (False, True)
    ] == [[("done", None, None)], [("done", 100, 1.5)]]


def test_a_score_that_is_no_number_is_null_in_json(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON knows no NaN; people see it."""
    sweep.opened()
    sweep.planned(0)
    sweep.joined()
    sweep.began(0)
    sweep.spec(0)
    sweep.root.run_dir(key(0)).scores.write_text('{"frames": 100, "return": NaN}\n')

    (run,) = status(capsys, sweep.root.path)["runs"]
    assert (run["step"], run["score"]) == (100, None)
    assert " nan " in said(capsys, "status", str(sweep.root.path))[1]


def test_failures_of_one_cause_stand_together(sweep: Sweep) -> None:
    """The most frequent first, each with one example and the end of its log."""
    sweep.opened(Limits(canary=False, hold_after=None, retries={}))
    sweep.planned(0, 1, 2)
    sweep.joined()
    sweep.ended(0, "diverged", cause="the losses are NaN")
    sweep.ended(1, "crashed", cause="it broke")
    sweep.ended(2, "crashed", cause="it broke")
    log = sweep.root.run_dir(key(1)).stdout
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {number}\n\n" for number in range(9)))

    found = status_of(sweep.root)

    assert found.failures == (
        FailureGroup(
            outcome="crashed",
            cause="it broke",
            runs=2,
            example=name(1),
            log=str(log),
            last_lines=tuple(f"line {number}" for number in range(4, 9)),
        ),
        FailureGroup(
            outcome="diverged",
            cause="the losses are NaN",
            runs=1,
            example=name(0),
            log=str(sweep.root.run_dir(key(0)).stdout),
            last_lines=(),
        ),
    )
    assert [(run.state, run.outcome, run.cause) for run in found.runs] == [
        ("failed", "diverged", "the losses are NaN"),
        ("failed", "crashed", "it broke"),
        ("failed", "crashed", "it broke"),
    ]


def test_groups_that_are_held_back_are_told_until_they_are_released(sweep: Sweep) -> None:
    """With the reason; other groups are none of its business."""
    sweep.opened()
    sweep.planned(0, 1)
    sweep.planned(0, suite="dmc")
    sweep.joined()
    sweep.ended(0, "misconfigured", cause="no such task")

    assert status_of(sweep.root).held == {GROUP: "misconfigured: no such task"}

    sweep.tell(GroupReleased(at=sweep.now(), group=GROUP))
    assert status_of(sweep.root).held == {}


def test_nodes_that_are_set_aside_are_told(sweep: Sweep) -> None:
    """And when no other can hold what is left, that nothing starts any more."""
    sweep.opened(Limits(canary=False, hold_after=None, retries={}))
    sweep.planned(0, 1, 2, 3)
    sweep.joined(cpus=1.0)
    for seed in range(3):
        sweep.ended(seed, "crashed", cause="the GPU fell off the bus", is_node_suspect=True)
    reason = "3 runs in a row failed on host-a: the GPU fell off the bus"

    found = status_of(sweep.root)

    assert (found.set_aside, found.halted) == (
        (reason,),
        f"every node that can hold what is left is set aside: {reason}",
    )


def test_a_full_disk_is_told(sweep: Sweep) -> None:
    """The run waits for the next launch."""
    sweep.opened()
    sweep.planned(0)
    sweep.joined()
    sweep.ended(0, "disk_full", cause="no space is left")

    found = status_of(sweep.root)

    assert (found.halted, found.counts) == ("no space is left", {"waiting": 1})


def test_gpu_hours_are_added_up(sweep: Sweep) -> None:
    """From the launch of every attempt to its end."""
    sweep.opened()
    sweep.planned(0, gpus=0.5)
    sweep.joined(gpus=1.0)
    sweep._at += 7199.0
    sweep.ended(0, "succeeded")

    assert status_of(sweep.root).gpu_hours == 1.0


def test_a_live_orchestrator_is_named(sweep: Sweep) -> None:
    """Its lock tells who drives the sweep; a dead one's does not count."""
    sweep.opened()
    with RootLock(sweep.root.lock):
        holder = status_of(sweep.root).orchestrator
        assert holder is not None
        assert holder.startswith(f"process {os.getpid()} on ")
        record = json.loads(sweep.root.lock.read_text())
        sweep.root.lock.write_text(json.dumps({**record, "started": "tick 1"}))
        assert status_of(sweep.root).orchestrator is None
        sweep.root.lock.write_text(json.dumps(record))


def test_a_torn_journal_is_read_to_its_last_whole_line(sweep: Sweep) -> None:
    """The orchestrator may be writing at this very moment."""
    sweep.opened()
    sweep.planned(0)
    with sweep.root.journal.open("a") as journal:
        journal.write('{"event": "RunCan')

    assert status_of(sweep.root).counts == {"waiting": 1}


def test_a_look_changes_nothing(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever may read a root may look at it."""
    sweep.opened()
    sweep.planned(0)
    before = {path: path.read_bytes() for path in sweep.root.path.rglob("*")}

    assert said(capsys, "status", str(sweep.root.path))[0] == 0
    assert {path: path.read_bytes() for path in sweep.root.path.rglob("*")} == before


def test_the_json_holds_everything(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, equal to the status that it was made of."""
    sweep.opened()
    sweep.planned(0, 1)
    sweep.joined()
    sweep.began(0)
    sweep.ended(1, "misconfigured", cause='no "task" [here]')
    found = status(capsys, sweep.root.path)

    assert found.pop("early_warnings") == []
    expected = status_of(sweep.root)
    runs = tuple(RunStatus(**run) for run in found.pop("runs"))
    failures = tuple(FailureGroup(**{**group, "last_lines": tuple(group["last_lines"])}) for group in found["failures"])
    rest = {**found, "failures": failures, "set_aside": tuple(found["set_aside"])}
    assert SweepStatus(runs=runs, **rest) == expected
    assert (len(expected.runs), len(expected.failures), len(expected.held)) == (2, 1, 1)


def test_people_see_what_goes_on_and_what_is_wrong(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs that wait or are done are counted; text of a cause is never read as markup."""
    sweep.opened(Limits(canary=False, hold_after=None, retries={}))
    sweep.planned(0, 1, 2)
    sweep.joined(cpus=2.0)
    sweep.began(0)
    sweep.spec(0)
    sweep.root.run_dir(key(0)).scores.write_text('{"frames": 250, "return": 2.5}\n')
    sweep.ended(1, "misconfigured", cause="no [bold]task")
    code, out, err = said(capsys, "status", str(sweep.root.path))

    assert (code, err) == (0, "")
    head, *rows = [line.split() for line in out.splitlines()[:3]]
    assert head == ["run", "state", "attempts", "step", "of", "budget", "%", "last", "score", "host"]
    assert rows == [
        [name(0), "running", "1", "250", "of", "1,000", "25", "2.5", "h"],
        [name(1), "failed", "1"],
    ]
    assert out.splitlines()[3:] == [
        "1 waiting, 1 running, 1 failed; no orchestrator drives it",
        f"held back {GROUP}: misconfigured: no [bold]task",
        "1 failed (misconfigured): no [bold]task",
        f"  for example {name(1)}: {sweep.root.run_dir(key(1)).stdout}",
    ]
    assert name(2) in said(capsys, "status", str(sweep.root.path), "--all")[1]


def test_what_is_no_root_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a sentence that says what to give."""
    with pytest.raises(RootError, match=r"is no sweep root: it holds no journal\.jsonl"):
        status_of(SweepRoot(tmp_path))
    for command in ("status", "attach"):
        code, out, err = said(capsys, command, str(tmp_path / "none"))
        assert (code, out) == (1, "")
        assert err == (
            f"dreamsweep: {tmp_path / 'none'} is no sweep root: it holds no journal.jsonl. "
            "Give the root= of a `dreamsweep run`.\n"
        )


# --- attach


def test_attach_tells_that_all_is_well(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0: what is done, was cancelled, or belongs to an earlier launch needs nobody."""
    sweep.opened()
    sweep.planned(2)
    sweep.opened()
    sweep.planned(0, 1)
    sweep.joined(cpus=1.0)
    sweep.ended(0, "succeeded")
    sweep.tell(RunCancelled(at=sweep.now(), key=key(1)))
    sweep.ended(1, "cancelled")

    code, out, err = said(capsys, "attach", str(sweep.root.path))
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "1 idle, 1 done, 1 cancelled; no orchestrator drives it"


def test_attach_tells_that_runs_failed(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, also where others are not finished."""
    sweep.opened()
    sweep.planned(0, 1)
    sweep.joined(cpus=1.0)
    sweep.ended(0, "diverged", cause="NaN")

    assert said(capsys, "attach", str(sweep.root.path))[0] == 2


def test_what_held_a_group_back_is_told_with_its_log(sweep: Sweep) -> None:
    """Its runs are not given up, so they count as waiting; who is to mend the cause must find it all the same."""
    sweep.opened(Limits(canary=False, hold_after=1))
    sweep.planned(0, 1)
    sweep.joined(cpus=1.0)
    sweep.began(0)
    sweep.ended(0, "crashed", cause="boom")
    found = status_of(sweep.root)

    assert (list(found.held), found.counts) == ([GROUP], {"waiting": 1, "backing_off": 1})
    assert [(each.outcome, each.cause, each.runs, each.log) for each in found.failures] == [
        ("crashed", "boom", 1, str(sweep.root.run_dir(key(0)).stdout))
    ]


def test_attach_tells_that_a_group_is_held_back(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 as well: somebody has to mend it."""
    sweep.opened(Limits(canary=False, hold_after=1, retries={"crashed": 5}))
    sweep.planned(0)
    sweep.joined()
    sweep.ended(0, "crashed", cause="it broke")

    assert said(capsys, "attach", str(sweep.root.path))[0] == 2


def test_attach_tells_that_a_sweep_was_interrupted(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3: the same `run` continues it."""
    sweep.opened()
    sweep.planned(0)
    sweep.joined()
    sweep.tell(StopRequested(at=sweep.now()))
    sweep.ended(0, "cancelled")

    assert said(capsys, "attach", str(sweep.root.path))[0] == 3


def test_attach_as_json(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    """The status at the end, as `status --json` prints it."""
    sweep.opened()
    sweep.planned(0)
    code, out, err = said(capsys, "attach", str(sweep.root.path), "--json")

    assert (code, err) == (3, "")
    assert json.loads(out) == status(capsys, sweep.root.path)


def test_a_run_whose_spec_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    """Its progress is not known; its state is."""
    root = SweepRoot(tmp_path)
    with Journal(root.journal) as journal:
        key = RunKey(suite="gym", task="pole", label="plain", seed=0)
        journal.append(
            [
                SweepOpened(at=0.0, sweep_id="s", host="h", pid=1),
                RunPlanned(at=0.0, key=key, group="plain × gym"),
                NodeJoined(at=0.0, node="n", cpus=1.0),
                AttemptStarted(at=1.0, key=key, attempt=1, host="h", pid=2),
            ]
        )
    root.run_dir(key).path.mkdir(parents=True)
    root.run_dir(key).spec.write_text("{", encoding="utf-8")

    (run,) = status_of(root).runs

    assert (run.state, run.step, run.budget) == ("running", None, None)
