"""What arrives on a root that no worker sees, whatever is lost on the way: a state machine on real files."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes.fake_runs import fake_run
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aggregation.logs.run_files import read_attempts
from aggregation.logs.seams import SegmentTracker, cuts, known_seams, surviving
from orchestrator.attempts.dock import Dock
from orchestrator.attempts.outbox import Outbox
from orchestrator.attempts.shipping import Carried, Chunk, Handover, Parcel, beginning, cut_at_line, news, rescued
from sweeps.contracts import Attempt
from sweeps.layout import RunDir, SweepRoot
from sweeps.settings import StorageSettings

LOG = "scores.jsonl"
STORAGE = StorageSettings(kind="ship", checkpoints="file:///nowhere")


def handover(size: int = 0, **seams: int) -> Handover:
    """A root with so many bytes, and attempts whose own ones begin somewhere."""
    return Handover(
        storage=STORAGE,
        store="",
        folder="s/run",
        sizes={LOG: size} if size else {},
        seams={int(name.removeprefix("attempt")): {LOG: seam} for name, seam in seams.items()},
    )


@pytest.mark.parametrize(
    ("size", "offset", "data", "left"),
    [
        (0, 0, b"abc", b"abc"),
        (10, 10, b"abc", b"abc"),
        (11, 10, b"abc", b"bc"),
        (13, 10, b"abc", b""),
        (99, 10, b"abc", b""),
        (9, 10, b"abc", b""),
    ],
)
def test_a_file_takes_of_a_chunk_what_it_lacks(size: int, offset: int, data: bytes, left: bytes) -> None:
    """Bytes that are there are not appended again, and none are appended where earlier ones are missing."""
    assert news(size, Chunk(LOG, offset, data)) == left


@pytest.mark.parametrize(
    ("data", "is_over", "is_full", "sent"),
    [
        (b"one\ntw", False, False, b"one\n"),
        (b"one\ntw", True, False, b"one\ntw"),
        (b"tw", False, False, b""),
        (b"tw", False, True, b"tw"),  # a line longer than a parcel
        (b"", False, False, b""),
    ],
)
def test_whole_lines_are_sent(data: bytes, is_over: bool, is_full: bool, sent: bytes) -> None:
    """A line that is being written waits, unless nothing more comes."""
    assert cut_at_line(data, is_over=is_over, is_full=is_full) == sent


def test_the_end_that_a_checkpoint_took_along_is_sent_first() -> None:
    """As much of it as the root lacks."""
    carried = Carried(attempt=1, ends={LOG: (10, b"abcdef")})

    assert rescued(handover(12, attempt1=0), carried, LOG) == b"cdef"
    assert rescued(handover(16, attempt1=0), carried, LOG) == b""


def test_nothing_is_put_behind_bytes_of_a_later_attempt() -> None:
    """The root ends with what attempt 2 wrote itself: the end of attempt 1 would come too late."""
    carried = Carried(attempt=1, ends={LOG: (10, b"abcdef")})

    assert rescued(handover(12, attempt1=0, attempt2=11), carried, LOG) == b""
    assert rescued(handover(12, attempt1=0, attempt2=16), carried, LOG) == b"cdef"  # so far, 2 has sent rescued bytes
    assert rescued(handover(9, attempt1=0), carried, LOG) == b""  # bytes before it are lost


@pytest.mark.parametrize(
    ("torn", "end", "first", "seam"),
    [
        (False, b"", b"", 12),
        (True, b"", b"\n", 12),
        (False, b"..whole\n", b"whole\n", 18),
        (True, b"..whole\n", b"whole\n", 18),
        (True, b"..tor", b"tor\n", 15),
    ],
)
def test_a_torn_line_is_closed(torn: bool, end: bytes, first: bytes, seam: int) -> None:
    """The next record must not continue it; the newline counts as the new attempt's own."""
    given = Handover(
        storage=STORAGE,
        store="",
        folder="",
        sizes={LOG: 12},
        torn=frozenset([LOG] if torn else []),
        seams={1: {LOG: 0}},
    )
    carried = Carried(attempt=1, ends={LOG: (10, end)}) if end else None

    assert beginning(given, carried, LOG) == (first, seam)


class Shipping(RuleBasedStateMachine):
    """One run, whose node, answers and orchestrator may be lost at any moment.

    It logs a line for each step, and resumes from the newest checkpoint in the store that is whole.
    """

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        top = Path(self._folder.name)
        self.spec = fake_run()
        self.root = SweepRoot(top / "root")
        self.log = self.root.run_dir(self.spec.key).scores
        self.local = top / "local"
        self.dock = self.new_dock()
        #: What each attempt has logged itself.
        self.written: dict[int, bytes] = {}
        #: Checkpoints: the step, and the end of the log.
        self.saved: list[tuple[int, Carried]] = []
        self.attempt = 0
        self.begin()

    def teardown(self) -> None:
        try:
            self.end()
        finally:
            self._folder.cleanup()

    def new_dock(self) -> Dock:
        return Dock(self.root, "s", STORAGE)

    def begin(self) -> None:
        self.attempt += 1
        self.parcels: list[Parcel] = []
        self.is_anew = True
        step, carried = self.saved[-1] if self.saved else (None, None)
        self.step = step or 0
        given = self.dock.hand_over(self.spec, self.attempt, 0)
        folder = RunDir(self.local / str(self.attempt))
        folder.path.mkdir(parents=True)
        self.path = folder.path / LOG
        self.outbox = Outbox(folder, given, self.attempt, ())
        seams = self.outbox.begin([LOG], carried)
        self.record = Attempt(attempt=self.attempt, host="", pid=1, started_at=0.0, log_bytes=seams, resumed_step=step)
        self.written[self.attempt] = b""

    def line(self, step: int) -> bytes:
        return f'{{"attempt": {self.attempt}, "step": {step}}}\n'.encode()

    @rule(count=st.integers(1, 3), torn=st.sampled_from([0, 20, 25]))
    def grow(self, count: int, torn: int) -> None:
        """Finish a line that is torn, add some, and perhaps begin another."""
        self.outbox.started = self.record
        torn_before = self.written[self.attempt].rpartition(b"\n")[2]
        lines = [self.line(self.step + number) for number in range(1, count + 2)]
        more = (b"".join(lines[:count]) + lines[count][:torn])[len(torn_before) :]
        with self.path.open("ab") as file:
            file.write(more)
        self.step += count
        self.written[self.attempt] += more

    def parcel(self) -> Parcel:
        parcel = self.outbox.parcel(self.dock.have(self.spec), is_anew=self.is_anew)
        self.parcels.append(parcel)
        return parcel

    @rule()
    def pull(self) -> None:
        """Everything up to the last whole line is there afterwards: later losses cost what came after this."""
        self.dock.take(self.spec.key, self.attempt, self.parcel())
        self.is_anew = False
        whole = self.written[self.attempt]
        assert self.own_bytes(self.attempt).startswith(whole[: whole.rfind(b"\n") + 1])

    @rule(restarts=st.booleans())
    def lose_an_answer(self, restarts: bool) -> None:
        """On its way, or with the orchestrator that asked for it."""
        self.parcel()
        self.is_anew = True
        if restarts:
            self.dock = self.new_dock()

    @precondition(lambda self: self.parcels)
    @rule(data=st.data())
    def take_again(self, data: st.DataObject) -> None:
        """An old parcel of this attempt changes nothing that is there."""
        before = self.log.read_bytes() if self.log.exists() else b""
        self.dock.take(self.spec.key, self.attempt, data.draw(st.sampled_from(self.parcels)))
        assert not before or self.log.read_bytes().startswith(before)

    @precondition(lambda self: self.outbox.started is not None)
    @rule()
    def save(self) -> None:
        """A checkpoint comes into the store, with the end of the log. The store keeps two."""
        self.saved = [*self.saved[-1:], (self.step, self.outbox.unconfirmed())]

    @precondition(lambda self: len(self.saved) > 1)
    @rule()
    def damage_the_newest_checkpoint(self) -> None:
        self.saved.pop()

    @rule(saves=st.booleans(), torn=st.sampled_from([0, 20, 25]), pulls=st.booleans())
    def lose_the_node(self, saves: bool, torn: int, pulls: bool) -> None:
        """Perhaps right behind a checkpoint. The next attempt gets at least as far as its first own line."""
        if saves and self.outbox.started is not None:
            self.save()
        self.begin()
        self.grow(count=1, torn=torn)
        if pulls:
            self.pull()

    @rule()
    def end(self) -> None:
        """The program fails, all of it arrives, and it is tried again."""
        self.outbox.started = self.record
        self.outbox.close()
        while not (parcel := self.parcel()).is_all:
            self.dock.take(self.spec.key, self.attempt, parcel)
        self.dock.take(self.spec.key, self.attempt, parcel)
        assert self.own_bytes(self.attempt) == self.written[self.attempt]
        self.begin()

    def own_bytes(self, attempt: int) -> bytes:
        """What the root has of an attempt, without the newlines that close what was torn."""
        written = self.written[attempt]
        content = self.log.read_bytes() if self.log.exists() else b""
        lines = content.splitlines(keepends=True)
        own = b"".join(line for line in lines if line in written or line.rstrip(b"\n") == written.rpartition(b"\n")[2])
        return own if written.startswith(own) else own.removesuffix(b"\n")

    @invariant()
    def the_rows_that_count_are_each_step_once(self) -> None:
        """From the first step on, without a gap, in whatever state the root is at the moment."""
        folder = self.root.run_dir(self.spec.key)
        if not self.log.exists():
            return
        starts, steps, offset = [], [], 0
        for line in self.log.read_bytes().splitlines(keepends=True):
            if line.endswith(b"}\n"):
                starts.append(offset)
                steps.append(json.loads(line)["step"])
            offset += len(line)
        seams = known_seams(read_attempts(folder.attempts), file=LOG, action_repeat=1)
        tracker = SegmentTracker(seams)
        numbers = tracker.add(np.array(starts, np.int64), np.array(steps, np.int64))
        good = surviving(numbers, np.array(steps, np.int64), cuts(tracker.finish()))
        kept = [step for step, counts in zip(steps, good.tolist(), strict=True) if counts]
        assert kept == list(range(1, len(kept) + 1)), (steps, seams)


TestShipping = Shipping.TestCase
TestShipping.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


@pytest.fixture
def run() -> Iterator[Shipping]:
    """One run, for a fixed course of events."""
    run = Shipping()
    yield run
    run.the_rows_that_count_are_each_step_once()
    run.teardown()


def test_rows_that_no_orchestrator_saw_come_with_the_checkpoint(run: Shipping) -> None:
    """The node vanished before anything was asked of it."""
    run.grow(count=3, torn=20)
    run.lose_the_node(saves=True, torn=0, pulls=True)

    assert run.own_bytes(1) == run.written[1]


def test_rows_of_an_attempt_that_nobody_heard_of_are_its_own(run: Shipping) -> None:
    """Its line in attempts.jsonl comes with its bytes: without it they would count as the attempt's before it."""
    run.grow(count=6, torn=0)
    run.save()
    run.grow(count=3, torn=0)
    run.pull()
    run.lose_the_node(saves=False, torn=0, pulls=False)
    run.grow(count=4, torn=25)
    run.lose_the_node(saves=True, torn=0, pulls=True)

    attempts = read_attempts(run.root.run_dir(run.spec.key).attempts)
    assert [each.attempt for each in attempts] == [1, 2, 3]
    assert [each.outcome for each in attempts] == ["worker_lost", "worker_lost", None]


def test_rows_are_handed_on_from_attempt_to_attempt(run: Shipping) -> None:
    """Three in a row of which the root hears nothing, each going on from the last one's checkpoint."""
    for _ in range(3):
        run.grow(count=2, torn=20)
        run.lose_the_node(saves=True, torn=0, pulls=False)
    run.pull()

    assert [run.own_bytes(attempt) for attempt in (1, 2, 3)] == [run.written[attempt] for attempt in (1, 2, 3)]


def test_nothing_is_put_behind_what_a_later_attempt_sent(run: Shipping) -> None:
    """It had gone on from an older checkpoint; the newer one's end of the log would stand in the wrong place."""
    run.grow(count=2, torn=0)
    run.save()
    older = run.saved[-1]
    run.grow(count=2, torn=0)
    run.save()
    newer = run.saved.pop()
    run.lose_the_node(saves=False, torn=0, pulls=True)
    size = run.log.stat().st_size
    given = run.dock.hand_over(run.spec, 9, 0)

    assert run.saved == [older]
    assert rescued(given, newer[1], LOG) == b""
    assert run.log.stat().st_size == size


def test_no_byte_goes_before_the_line_that_explains_it(run: Shipping) -> None:
    """An attempt that has not started yet may hold what it has to send first."""
    run.grow(count=2, torn=0)
    run.save()
    run.begin()
    parcel = run.parcel()

    assert (parcel.record, parcel.chunks) == (None, ())
