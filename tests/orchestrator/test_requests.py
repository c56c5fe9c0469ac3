"""What is asked of an orchestrator from elsewhere: which events it means, and what becomes of real runs."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import CHECKPOINTING_TRAINER, ended, logged_steps, run_dir, run_words, said, started, starts, states
from fakes.fake_runs import is_alive, processes_with, wait_until
from sweep_states import SweepUnderTest, key

from orchestrator.cli import main
from orchestrator.events import GroupReleased, RunCancelled, RunPaused, RunPlanned, RunResumed, RunRetried
from orchestrator.machine import apply
from orchestrator.outcomes import Outcome
from orchestrator.requests import Action, Request, pending_requests, write_request
from orchestrator.states import SweepState
from sweeps.contracts import RunKey
from sweeps.files import read_records
from sweeps.layout import SweepRoot

CART = RunKey(suite="gym", task="gym_CartPole-v1", label="dreamerv3", seed=0)
CART_32 = RunKey(suite="gym", task="gym_CartPole-v1", label="dreamerv3_tr32", seed=0)
ACROBOT = RunKey(suite="gym", task="gym_Acrobot-v1", label="size1m", seed=1)
WALKER = RunKey(suite="dmc_proprio", task="dmc_walker_walk", label="dreamerv3", seed=0)
GROUPS = {
    CART: "dreamerv3 × gym",
    CART_32: "dreamerv3 × gym",
    ACROBOT: "size1m × gym",
    WALKER: "dreamerv3 × dmc_proprio",
}
AT = 7.0


@pytest.fixture
def state() -> SweepState:
    """Four planned runs of three groups."""
    state = SweepState()
    for run, group in GROUPS.items():
        apply(state, RunPlanned(at=1.0, key=run, group=group))
    return state


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A sweep root; no process that names it is left at the end of a test."""
    yield tmp_path / "root"
    wait_until(lambda: not processes_with(str(tmp_path)))


# --- what a request means


@pytest.mark.parametrize(
    ("action", "kind"),
    [("cancel", RunCancelled), ("pause", RunPaused), ("resume", RunResumed), ("retry", RunRetried)],
)
@pytest.mark.parametrize(
    ("select", "keys"),
    [
        ({}, [CART, CART_32, ACROBOT, WALKER]),
        ({"run": "gym/gym_CartPole-v1/dreamerv3/0"}, [CART]),
        ({"run": "*/0"}, [CART, CART_32, WALKER]),
        ({"suite": "gym"}, [CART, CART_32, ACROBOT]),
        ({"suite": "g"}, []),
        ({"suite": "GYM"}, []),
        ({"task": "gym_?art*"}, [CART, CART_32]),
        ({"method": "dreamerv3"}, [CART, CART_32, WALKER]),
        ({"method": "size[0-9]m"}, [ACROBOT]),
        ({"label": "dreamerv3"}, [CART, WALKER]),
        ({"label": "*_tr32"}, [CART_32]),
        ({"group": "* × gym"}, [CART, CART_32, ACROBOT]),
        ({"group": "dreamerv3 × *", "suite": "gym", "label": "dreamerv3"}, [CART]),
        ({"method": "size1m", "suite": "dmc_proprio"}, []),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_an_action_is_an_event_for_every_run_that_matches(
    state: SweepState, action: Action, kind: type[RunCancelled], select: dict[str, str], keys: list[RunKey]
) -> None:
    """Every pattern must match, whole names, wild cards allowed; the runs come in the order of the plan."""
    assert Request(action, select).events(state, AT) == [kind(at=AT, key=key) for key in keys]


def test_a_retry_releases_the_groups_of_its_runs_first(state: SweepState) -> None:
    """A run that is tried again in a group that stays held back would wait for ever."""
    state.groups["dreamerv3 × gym"].held = state.groups["size1m × gym"].held = "it broke"

    assert Request("retry", {"method": "dreamerv3"}).events(state, AT) == [
        GroupReleased(at=AT, group="dreamerv3 × gym"),
        *(RunRetried(at=AT, key=key) for key in (CART, CART_32, WALKER)),
    ]


def test_a_retry_may_ask_for_a_fresh_start(state: SweepState, tmp_path: Path) -> None:
    """It says so in the event, and in the file on the way."""
    request = Request("retry", {"run": str(CART)}, fresh=True)
    write_request(SweepRoot(tmp_path), request)

    assert [found for _, found in pending_requests(SweepRoot(tmp_path))] == [request]
    assert request.events(state, AT) == [RunRetried(at=AT, key=CART, fresh=True)]


@pytest.mark.parametrize("action", ["cancel", "pause", "resume", "retry"])
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize(
    "past", ["waiting", "launching", "running", "done", "backing_off", "failed", "stopping to pause", "stopping to end"]
)
def test_who_is_asked_is_told_for_how_many_runs_it_means_something(action: Action, past: str, *, fresh: bool) -> None:
    """A run counts exactly where the machine would do something about it."""
    sweep = SweepUnderTest()
    sweep.opened(retries={"crashed": 1}, retry_delay_s=1000.0)
    sweep.planned(0)
    if past != "waiting":
        sweep.joined("a", cpus=1.0)
    if past not in ("waiting", "launching"):
        sweep.started(0)
    endings: dict[str, Outcome] = {"done": "succeeded", "backing_off": "crashed", "failed": "misconfigured"}
    if past in endings:
        sweep.ended(0, endings[past])
    elif past.startswith("stopping"):
        kind = RunPaused if past == "stopping to pause" else RunCancelled
        sweep.feed(kind(at=sweep.now(), key=key(0)))
    assert sweep.states()[0] == past.split()[0]
    request = Request(action, fresh=fresh and action == "retry")
    run = sweep.state.runs[key(0)]
    before = (run.state, run.after_stop, run.fresh_from)
    told = request.changes(run, sweep.state)
    sweep.feed(*request.events(sweep.state, sweep.now()))

    assert ((run.state, run.after_stop, run.fresh_from) != before) == told


# --- how it gets there


def test_requests_wait_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    """They are files of the root: whoever opens it next finds them, as often as it looks until it removes them."""
    root = SweepRoot(tmp_path)
    made = [Request("pause", {"task": "a*"}), Request("resume", {}), Request("cancel", {"run": "ä/[b]"})]
    for request in made:
        write_request(root, request)

    assert [request for _, request in pending_requests(root)] == made
    assert [request for _, request in pending_requests(root)] == made
    assert sorted(path.suffix for path in root.requests.iterdir()) == [".json"] * 3


def test_a_root_that_nobody_asked_anything_has_no_requests(tmp_path: Path) -> None:
    """Its folder need not be there."""
    assert list(pending_requests(SweepRoot(tmp_path))) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"cancel"',
        b'{"select": {}}',
        b'{"action": "cancel"}',
        b'{"action": "cancel", "select": ["*"]}',
        b'{"action": "cancel", "select": null}',
        b'{"action": "explode", "select": {}}',
        b'{"action": ["cancel"], "select": {}}',
        b'{"action": "cancel", "select": {"tusk": "dmc_*"}}',
        b'{"action": "cancel", "select": {"task": 7}}',
    ],
)
def test_a_file_that_is_no_request_is_put_aside(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named, and kept for people; the others are taken all the same, and it does not come again."""
    root = SweepRoot(tmp_path)
    root.requests.mkdir()
    path = root.requests / "0.json"
    path.write_bytes(content)
    write_request(root, Request("pause"))

    assert [request for _, request in pending_requests(root)] == [Request("pause")]
    assert path.with_suffix(".unreadable").read_bytes() == content
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(f"{path} is no request (")
    assert [request for _, request in pending_requests(root)] == [Request("pause")]
    assert len(caplog.records) == 1


def test_what_cannot_be_read_is_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Such as somebody else's file that nobody else may read; here a folder, since root may read everything."""
    root = SweepRoot(tmp_path)
    (root.requests / "0.json").mkdir(parents=True)
    (root.requests / "1.json").symlink_to("gone")
    write_request(root, Request("pause"))

    assert [request for _, request in pending_requests(root)] == [Request("pause")]
    assert (root.requests / "0.unreadable").is_dir()
    assert len(caplog.records) == 1


def test_what_is_still_being_written_is_no_request_yet(tmp_path: Path) -> None:
    """A reader sees a whole request or none."""
    root = SweepRoot(tmp_path)
    root.requests.mkdir()
    (root.requests / ".1.json.77.tmp").write_text("{")

    assert list(pending_requests(root)) == []
    assert [path.name for path in root.requests.iterdir()] == [".1.json.77.tmp"]


# --- what is refused


def test_no_root_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a sentence, and nothing is written."""
    for command in ("cancel", "pause", "resume", "retry"):
        assert said(capsys, command, str(tmp_path), "--all") == (
            1,
            "",
            f"dreamsweep: {tmp_path} is no sweep root: it holds no journal.jsonl. "
            "Give the root= of a `dreamsweep run`.\n",
        )
    assert list(tmp_path.iterdir()) == []


def test_a_request_says_for_which_runs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is cancelled for want of a word, nor for a name that no run has."""
    assert main(run_words(root)) == 0

    assert said(capsys, "cancel", str(root)) == (
        1,
        "",
        "dreamsweep: Say which runs to cancel: --run, --suite, --task, --method, --label or --group with a name or a "
        "wild card, or --all.\n",
    )
    assert said(capsys, "pause", str(root), "--task", "gym_Cart*", "--method", "size1m") == (
        1,
        "",
        f"dreamsweep: No run of {root} matches {{'task': 'gym_Cart*', 'method': 'size1m'}}; "
        f"`dreamsweep status {root} --all` lists them.\n",
    )
    for words in (["retry", "--all", "--fresh"], ["cancel", "--run", "*/0"]):
        assert said(capsys, *words, str(root)) == (
            0,
            f"1 run of {root} done: nothing to {words[0]}, since what is done stays so.\n",
            "",
        )
    assert not SweepRoot(root).requests.exists()


# --- what becomes of real runs


def test_a_running_run_is_cancelled_and_only_a_retry_brings_it_back(
    root: Path, gate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its trainer is gone while the others go on; `run` leaves it alone; after a `retry`, `run` makes it."""
    words = run_words(root, "seed=0,1", "steps=80", "flags.step_s=0.05")
    with started(*words) as process:
        wait_until(lambda: len(logged_steps(root, 0)) > 2 and len(logged_steps(root, 1)) > 2, limit_s=60)
        code, out, err = said(capsys, "cancel", str(root), "--run", "*/1")

        assert (code, err) == (0, "")
        assert out.startswith(f"cancel 1 run: asked of the orchestrator (process {process.pid} on ")
        (pid,) = starts(root, 1)
        wait_until(lambda: not is_alive(pid))
        assert is_alive(starts(root, 0)[0])
        gate.touch()
        code, out, err = ended(process)
        assert (code, err) == (0, "")
        assert "1 done, 1 cancelled" in out.splitlines()[-1]
    assert states(capsys, root) == {"0": "done", "1": "cancelled"}

    assert main(words) == 0
    assert states(capsys, root) == {"0": "done", "1": "cancelled"}
    assert starts(root, 1) == [pid]

    assert said(capsys, "retry", str(root), "--all") == (
        0,
        "retry 1 run (1 other stays as it is): no orchestrator is there; the next `dreamsweep run` on this root does "
        "it first.\n",
        "",
    )
    assert states(capsys, root) == {"0": "done", "1": "cancelled"}
    assert main(words) == 0
    assert states(capsys, root) == {"0": "done", "1": "done"}
    assert (len(starts(root, 0)), len(starts(root, 1))) == (1, 2)
    assert list(SweepRoot(root).requests.iterdir()) == []


def test_a_paused_run_goes_on_from_its_checkpoint(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of it runs while it is paused, the orchestrator waits, and `resume` takes it up again."""
    trace = tmp_path / "trace"
    trace.mkdir()
    command = (
        f"{sys.executable} {CHECKPOINTING_TRAINER} --dir {{run_dir}} --trace {trace} --seed {{seed}} --task {{task}} "
        "--episodes 40 --seconds 0.1"
    )
    with started(*run_words(root, command=command)) as process:
        wait_until(lambda: len(logged_steps(root)) > 12, limit_s=60)
        assert said(capsys, "pause", str(root), "--all")[0] == 0
        wait_until(lambda: states(capsys, root) == {"0": "paused"})
        before = logged_steps(root)
        saved = json.loads((run_dir(root).path / "checkpoint.json").read_text())["episode"]

        assert processes_with(str(trace)) == [process.pid]  # none but the orchestrator, which was given its name
        assert process.poll() is None
        assert 10 <= saved <= len(before) < 40
        assert said(capsys, "resume", str(root), "--all")[0] == 0
        code, _, err = ended(process)
    assert (code, err) == (0, "")
    assert logged_steps(root) == [*before, *range(100 * (saved + 1), 4001, 100)]
    assert [attempt["outcome"] for attempt in read_records(run_dir(root).attempts)] == ["cancelled", "succeeded"]


def test_a_request_waits_for_the_next_orchestrator(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is done before anything is launched."""
    assert main(run_words(root, "seed=0,1", "flags.mode=fail", "flags.mode_seed=1", "retry.crashed=0")) == 2
    write_request(SweepRoot(root), Request("cancel", {"run": "*/1"}))

    assert main(run_words(root, "seed=0,1", "flags.mode=fail", "flags.mode_seed=1", "retry.crashed=0")) == 0
    assert states(capsys, root) == {"0": "done", "1": "cancelled"}
    assert len(starts(root, 1)) == 1
