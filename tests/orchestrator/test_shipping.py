"""What arrives on a root that no worker sees, whatever is lost on the way: a state machine on real files."""

import tempfile
from pathlib import Path

import pytest
from fakes.fake_runs import fake_run
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orchestrator.dock import Dock
from orchestrator.outbox import Outbox
from orchestrator.shipping import Carried, Chunk, Handover, Parcel, beginning, cut_at_line, news, rescued
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
    """One run, whose node, answers and orchestrator may be lost at any moment. Lines name their attempt and number."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        top = Path(self._folder.name)
        self.spec = fake_run()
        self.root = SweepRoot(top / "root")
        self.log = self.root.run_dir(self.spec.key).path / LOG
        self.local = top / "local"
        self.dock = self.new_dock()
        self.written: dict[int, bytes] = {}
        #: Saved with the latest checkpoint: the attempt, how much it had written, and the end of its log.
        self.saved: tuple[int, int, Carried] | None = None
        #: What each attempt must have on the root as soon as a later one has bytes of its own there.
        self.owed: dict[int, tuple[int, int]] = {}
        self.attempt = 0
        self.parcels: list[Parcel] = []
        self.is_anew = True
        self.begin(resumes=False)

    def teardown(self) -> None:
        self._folder.cleanup()

    def new_dock(self) -> Dock:
        return Dock(self.root, "s", STORAGE)

    def begin(self, *, resumes: bool) -> None:
        self.attempt += 1
        self.parcels = []
        self.is_anew = True
        carried = None
        if resumes and self.saved is not None:
            saver, size, carried = self.saved
            if all(not self.own_bytes(later) for later in range(saver + 1, self.attempt)):
                self.owed[self.attempt] = (saver, size)
        given = self.dock.hand_over(self.spec, self.attempt, 0)
        folder = RunDir(self.local / str(self.attempt))
        folder.path.mkdir(parents=True)
        self.path = folder.path / LOG
        self.outbox = Outbox(folder, given, self.attempt, ())
        seams = self.outbox.begin([LOG], carried)
        self.outbox.started = Attempt(attempt=self.attempt, host="", pid=1, started_at=0.0, log_bytes=seams)
        self.written[self.attempt] = b""

    @rule(count=st.integers(1, 3), torn=st.sampled_from([0, 7, 11]))
    def grow(self, count: int, torn: int) -> None:
        """Finish a line that is torn, add some, and perhaps begin another."""
        lines = self.lines(self.attempt, 100)
        target = self.written[self.attempt].count(b"\n") + count
        whole = b"".join(lines[:target]) + lines[target][:torn]
        more = whole[len(self.written[self.attempt]) :]
        with self.path.open("ab") as file:
            file.write(more)
        self.written[self.attempt] += more

    @staticmethod
    def lines(attempt: int, count: int) -> list[bytes]:
        return [f"<{attempt}.{number} episode>\n".encode() for number in range(count)]

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
        parcel = data.draw(st.sampled_from(self.parcels))
        self.dock.take(self.spec.key, self.attempt, parcel)
        assert self.log.exists() or not before
        assert not before or self.log.read_bytes().startswith(before)

    @rule()
    def save(self) -> None:
        """A checkpoint comes into the store, with the end of the log."""
        self.saved = (self.attempt, len(self.written[self.attempt]), self.outbox.unconfirmed())

    @rule(saves=st.booleans(), resumes=st.booleans(), torn=st.sampled_from([0, 7, 11]))
    def lose_the_node(self, saves: bool, resumes: bool, torn: int) -> None:
        """Perhaps right behind a checkpoint. The next attempt gets at least as far as its first own line."""
        if saves:
            self.save()
        self.begin(resumes=resumes)
        self.grow(count=1, torn=torn)
        self.pull()

    @rule(resumes=st.booleans())
    def end(self, resumes: bool) -> None:
        """The program ends, and all of it arrives."""
        self.outbox.close()
        while not (parcel := self.parcel()).is_all:
            self.dock.take(self.spec.key, self.attempt, parcel)
        self.dock.take(self.spec.key, self.attempt, parcel)
        assert self.own_bytes(self.attempt) == self.written[self.attempt]
        self.begin(resumes=resumes)

    def own_bytes(self, attempt: int) -> bytes:
        """What the root has of an attempt, without the newlines that close what was torn."""
        content = self.log.read_bytes() if self.log.exists() else b""
        mark = f"<{attempt}.".encode()
        own = b"".join(line for line in content.splitlines(keepends=True) if line.startswith(mark))
        return own if self.written[attempt].startswith(own) else own.removesuffix(b"\n")

    @invariant()
    def each_byte_is_there_once_and_in_order(self) -> None:
        """Of every attempt the root has a beginning, in the order of the attempts."""
        content = self.log.read_bytes() if self.log.exists() else b""
        lines = [line for line in content.splitlines() if line]
        attempts = [int(line[1 : line.index(b".")]) for line in lines]
        assert attempts == sorted(attempts), content
        for attempt in set(attempts):
            assert self.written[attempt].startswith(self.own_bytes(attempt)), (attempt, content)

    @invariant()
    def nothing_is_missing_before_a_checkpoint(self) -> None:
        for attempt, (saver, size) in self.owed.items():
            if self.own_bytes(attempt):
                saved = self.written[saver][:size]
                assert self.own_bytes(saver).startswith(saved[: saved.rfind(b"\n") + 1])


TestShipping = Shipping.TestCase
TestShipping.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
