"""What a cluster makes of what Ray tells it, or does not: with a Ray and a clock that are made up."""

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cluster_contract import Bench
from fakes.fake_ray import HEAD, Actor, FakeRay, fake_ray_cluster
from ray.exceptions import ActorDiedError, ActorUnavailableError, ObjectStoreFullError, RaySystemError, RpcError

from orchestrator.attempts.shipping import Parcel
from orchestrator.attempts.worker import AttemptReport
from orchestrator.events import AttemptEnded, Event, NodeLeft
from orchestrator.on_ray import attempt_actor, connection, head, ray_cluster
from orchestrator.on_ray.attempt_actor import AttemptActor
from orchestrator.on_ray.ray_cluster import RayCluster
from orchestrator.outcomes import Verdict
from sweeps.contracts import RunSpec
from sweeps.errors import ClusterError
from sweeps.layout import SweepRoot
from sweeps.settings import StorageSettings

RUNNING = AttemptReport(host="h", pid=7, has_begun=True)
ENDED = AttemptReport(host="h", pid=7, has_begun=True, verdict=Verdict("succeeded"), exit_code=0)


class Driver:
    """An open cluster on a Ray that is made up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, **options: Any) -> None:
        self.ray: FakeRay
        self.cluster: RayCluster
        self.ray, self.cluster = fake_ray_cluster(monkeypatch, **options)
        self.bench = Bench(self.cluster, SweepRoot(folder))
        self.cluster.open(self.bench.root, "sweep", self.bench.specs)
        self.bench.events += self.cluster.poll(0.0)

    @property
    def registry(self) -> Any:
        """The latest book of leases."""
        return self.ray.registries[-1].methods

    def launched(self, *, is_heard: bool = True) -> tuple[RunSpec, Actor]:
        """An attempt that was launched, and that says that it runs."""
        spec = self.bench.run()
        self.bench.launch(spec)
        actor = self.ray.placed[-1]
        if is_heard:
            self.registry.renew(f"{spec.key}/1")
            actor.asked("begin")[-1].give(RUNNING)
            self.cluster.poll(0.2)
        return spec, actor

    def poll_for(self, seconds: float) -> list[Event]:
        until = self.ray.moment + seconds
        events: list[Event] = []
        while self.ray.moment < until:
            events += self.cluster.poll(1.0)
        return events


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Driver:
    return Driver(monkeypatch, tmp_path)


def ends(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.outcome, event.cause) for event in events if isinstance(event, AttemptEnded)]


# --- the actors of an earlier orchestrator


def test_an_actor_that_is_slow_to_say_what_it_holds_is_waited_for(driver: Driver) -> None:
    """Its node was out of reach when the orchestrator came back: its trainer may be well, and keeps its lease."""
    spec = driver.bench.run()
    actor = driver.ray.named["sweep/1"] = Actor()
    driver.registry.renew(f"{spec.key}/1")
    driver.cluster.adopt([(spec.key, 1)])
    assert ends(driver.poll_for(20.0)) == []
    assert driver.registry.renew(f"{spec.key}/1")
    actor.asked("held")[-1].give(ActorUnavailableError("its link is down", None))
    assert ends(driver.poll_for(20.0)) == []
    actor.asked("held")[-1].give(((spec.key, 1), "head"))
    driver.cluster.poll(0.1)
    actor.asked("wait")[-1].give(ENDED)

    assert ends(driver.poll_for(1.0)) == [("succeeded", "")]


def test_an_actor_that_nobody_needs_is_ended_although_it_is_silent(driver: Driver) -> None:
    """Its orchestrator died before Ray had started it: it would hold its room for ever."""
    spec = driver.bench.run()
    actor = driver.ray.named["sweep/1"] = Actor()
    driver.cluster.adopt([(spec.key, 1)])
    events = driver.poll_for(70.0)

    assert ends(events) == [("worker_lost", "its worker was gone when the orchestrator came back")]
    assert driver.ray.killed == [actor]
    assert not driver.registry.renew(f"{spec.key}/1")


def test_silent_actors_are_asked_all_at_once(driver: Driver) -> None:
    """A node with a hundred of them may be out of reach."""
    specs = [driver.bench.run() for _ in range(100)]
    driver.ray.named |= {f"sweep/{number}": Actor() for number in range(100)}
    began = driver.ray.moment
    driver.cluster.adopt([(spec.key, 1) for spec in specs])

    assert driver.ray.moment - began < 20.0


def test_an_attempt_that_was_never_launched_is_tried_again_at_once(driver: Driver) -> None:
    """No actor has it, none may have it, and it left no trace."""
    spec = driver.bench.run()
    driver.cluster.adopt([(spec.key, 1)])

    assert len(ends(driver.poll_for(1.0))) == 1


def test_attempts_that_could_not_be_looked_for_go_on(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """An orchestrator that ends because the cluster does not answer leaves them their head and their leases."""

    def lost(**_: object) -> None:
        raise RpcError("the control service is gone")

    ended: list[str] = []
    monkeypatch.setattr(driver.cluster, "_disconnect", lambda: ended.append("head"))
    monkeypatch.setattr(driver.ray.util, "list_named_actors", lost)
    with pytest.raises(ClusterError):
        driver.cluster.adopt([(driver.bench.run().key, 1)])
    driver.cluster.close()

    assert (ended, driver.ray.killed) == ([], [])


# --- the registry of leases


def test_a_registry_that_died_is_replaced_before_anybody_misses_it(driver: Driver) -> None:
    """The attempts are well and say so until their leases run out: nothing else would tell."""
    driver.launched()
    driver.ray.registries[0].methods = SimpleNamespace(is_there=lambda: ActorDiedError())
    driver.ray.nodes_seen = [{**HEAD, "Alive": False}, {"NodeID": "other", "Alive": True, "Resources": {"CPU": 4.0}}]
    driver.poll_for(30.0)
    assert len(driver.ray.registries) == 1  # never on another node
    driver.ray.nodes_seen = [HEAD]
    driver.poll_for(12.0)

    assert len(driver.ray.registries) == 2
    driver.poll_for(30.0)
    assert len(driver.ray.registries) == 2


def test_a_cluster_without_a_head_is_told_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After a while: it may be about to come back."""
    fake, cluster = fake_ray_cluster(monkeypatch)
    fake.nodes_seen = [{**HEAD, "Alive": False}]

    with pytest.raises(ClusterError, match="head of the cluster is not alive after 60 s"):
        cluster.open(SweepRoot(tmp_path), "sweep", {})


def test_a_registry_that_does_not_answer_keeps_nobody_waiting(driver: Driver) -> None:
    """With many attempts in doubt, each question of its own would take so long that all others seemed silent."""
    actors = [driver.launched()[1] for _ in range(20)]
    driver.ray.registries[0].methods = None
    for actor in actors:
        actor.asked("wait")[-1].give(ActorUnavailableError("its link is down", None))
    driver.cluster.poll(0.1)
    began = driver.ray.moment
    driver.cluster.poll(1.0)

    assert driver.ray.moment - began < 10.0


def test_a_failed_renewal_is_tried_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that is back before the lease runs out must hear of it in time."""
    fake, _ = fake_ray_cluster(monkeypatch)
    monkeypatch.setattr(attempt_actor.threading, "Thread", lambda **_: SimpleNamespace(start=lambda: None))
    renewed: list[float] = []
    actor: Any = AttemptActor("test", "sweep.leases", 60.0)
    actor._worker = SimpleNamespace(report=lambda: RUNNING, renew_lease=renewed.append, is_apart=False)
    actor._held = ("run", 1)
    began = fake.moment

    def sleep(seconds: float) -> None:
        fake.moment += seconds
        if fake.moment > began + 45.0:  # the head is back, a quarter of the lease before its end
            fake.named["sweep.leases"] = Actor(SimpleNamespace(renew=lambda _: True))
        if renewed:
            raise InterruptedError

    monkeypatch.setattr(fake, "sleep", sleep)
    with pytest.raises(InterruptedError):
        actor._keep_renewing()

    assert renewed[0] - 60.0 < began + 50.0


def unable() -> ActorDiedError:
    """What Ray tells of an actor whose class cannot be imported where it is to live."""
    error = ActorDiedError()
    error._actor_init_failed = True
    error.error_msg = "The actor died …\nModuleNotFoundError: No module named 'orchestrator'\n"
    return error


def test_a_head_that_cannot_keep_a_registry_is_told(driver: Driver) -> None:
    """Else every attempt would end without a lease, and be tried again, for ever."""
    driver.ray.registries[0].methods = SimpleNamespace(is_there=unable)

    with pytest.raises(
        ClusterError, match=r"registry of leases: ModuleNotFoundError: .* 'orchestrator'\. Is dreamsweep"
    ):
        driver.poll_for(30.0)


def test_a_node_that_cannot_start_a_worker_is_at_fault(driver: Driver) -> None:
    """It is tried again with a limit, and a node where several runs end so is set aside."""
    spec = driver.bench.run()
    driver.bench.launch(spec)
    driver.ray.placed[-1].asked("begin")[-1].give(unable())
    (end,) = [event for event in driver.poll_for(70.0) if isinstance(event, AttemptEnded)]

    assert (end.outcome, end.is_node_suspect) == ("crashed", True)
    assert end.cause.endswith("ModuleNotFoundError: No module named 'orchestrator'")


# --- silence


def test_who_does_not_listen_hears_no_silence(driver: Driver) -> None:
    """The orchestrator was stopped, or collected for minutes: its nodes are none the worse."""
    _, actor = driver.launched()
    driver.ray.moment += 300.0
    events = driver.cluster.poll(1.0)
    actor.asked("wait")[-1].give(RUNNING)
    events += driver.cluster.poll(1.0)

    assert [event for event in events if isinstance(event, NodeLeft)] == []


def test_an_actor_that_falls_silent_is_in_doubt(driver: Driver) -> None:
    """And its node gets nothing more until it answers."""
    driver.launched()

    assert [type(event) for event in driver.poll_for(40.0) if isinstance(event, NodeLeft)] == [NodeLeft]


# --- actors that do not come, and actors that do not go


def test_many_actors_on_one_node_may_take_their_time(driver: Driver) -> None:
    """Ray starts them one after another: as long as they appear, the others are on their way."""
    waiting = [driver.launched(is_heard=False)[1] for _ in range(5)]
    events: list[Event] = []
    for actor in waiting[:4]:
        events += driver.poll_for(90.0)
        actor.methods = SimpleNamespace(wait=lambda *_: RUNNING)
        actor.asked("begin")[-1].give(RUNNING)
    events += driver.poll_for(110.0)
    assert ends(events) == []

    assert ends(driver.poll_for(30.0)) == [("worker_lost", "the cluster did not place it within 120 s")]


def test_an_actor_that_could_not_clear_up_is_given_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It lives, and holds the CPUs and GPUs of its attempt."""
    monkeypatch.setattr(ray_cluster, "probe_storage", lambda *_: None)
    driver = Driver(monkeypatch, tmp_path, storage=StorageSettings(kind="ship", interval_s=1.0))
    _, actor = driver.launched()
    actor.asked("wait")[-1].give(ENDED)
    events = driver.poll_for(1.0)
    actor.asked("parcel")[-1].give(Parcel(is_all=True))
    events += driver.poll_for(1.0)
    actor.asked("discard")[-1].give(RaySystemError("it failed"))
    events += driver.poll_for(1.0)

    assert ends(events) == [("succeeded", "")]
    assert driver.ray.killed == [actor]


def test_an_answer_that_is_lost_on_its_way_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The object store was full; the actor is well, and its trainer goes on."""
    monkeypatch.setattr(ray_cluster, "probe_storage", lambda *_: None)
    driver = Driver(monkeypatch, tmp_path, storage=StorageSettings(kind="ship", interval_s=1.0))
    spec, actor = driver.launched()
    driver.poll_for(2.0)
    actor.asked("parcel")[-1].give(ObjectStoreFullError("128 MB"))
    driver.poll_for(3.0)

    assert len(actor.asked("parcel")) == 2
    assert driver.registry.renew(f"{spec.key}/1")


def test_a_finished_attempt_keeps_what_the_root_does_not_take(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A disk may be full for longer than a lease, and an attempt that has ended renews its own no more."""
    monkeypatch.setattr(ray_cluster, "probe_storage", lambda *_: None)
    driver = Driver(monkeypatch, tmp_path, storage=StorageSettings(kind="ship", interval_s=1.0))
    _, actor = driver.launched()
    actor.methods = SimpleNamespace(parcel=lambda *_: Parcel(is_all=True), discard=lambda: None)
    actor.asked("wait")[-1].give(ENDED)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(driver.cluster._dock, "take", full)
        events = driver.poll_for(200.0)
    assert [event for event in events if isinstance(event, (AttemptEnded, NodeLeft))] == []

    assert ends(driver.poll_for(5.0)) == [("succeeded", "")]


@pytest.mark.parametrize(
    ("report", "is_apart", "goes"),
    [(None, False, True), (ENDED, False, True), (ENDED, True, False), (RUNNING, False, False)],
)
def test_an_actor_that_nobody_asks_goes(
    monkeypatch: pytest.MonkeyPatch, report: AttemptReport | None, is_apart: bool, goes: bool
) -> None:
    """Its orchestrator never came back, and others wait for its GPU; logs that only it has it keeps."""
    fake, _ = fake_ray_cluster(monkeypatch)
    monkeypatch.setattr(attempt_actor.threading, "Thread", lambda **_: SimpleNamespace(start=lambda: None))
    actor: Any = AttemptActor("test", "sweep.leases", 60.0)
    actor._worker = None if report is None else SimpleNamespace(report=lambda: report, is_apart=is_apart)
    fake.moment += 3000.0
    monkeypatch.setattr(fake, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "n"), raising=False)
    actor.held()
    fake.moment += 3000.0
    assert not actor._is_forgotten()
    fake.moment += 1000.0

    assert actor._is_forgotten() == goes


# --- a cluster that does not answer


def test_joining_takes_no_signal(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray does, and a sweep whose head was replaced could not be stopped in order any more."""
    worker = SimpleNamespace(print_to_stdstream=None)
    monkeypatch.setattr(driver.ray, "_private", SimpleNamespace(worker=worker), raising=False)
    monkeypatch.setattr(driver.ray, "init", lambda **_: signal.signal(signal.SIGTERM, signal.SIG_IGN), raising=False)
    before = signal.getsignal(signal.SIGTERM)
    connection.join("auto")

    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("what", ["adopt", "execute", "poll"])
def test_a_lost_connection_is_told_in_words(driver: Driver, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Whatever is asked of it at the moment."""

    def lost(*_: object, **__: object) -> None:
        raise RpcError("the control service is gone")

    monkeypatch.setattr(driver.ray.util, "list_named_actors", lost)
    monkeypatch.setattr(driver.ray, "nodes", lost)
    spec = driver.bench.run()
    monkeypatch.setattr(driver.cluster, "_new_actor", lost)
    driver.ray.moment += 100.0
    actions = {
        "adopt": lambda: driver.cluster.adopt([]),
        "execute": lambda: driver.bench.launch(spec),
        "poll": lambda: driver.cluster.poll(1.0),
    }

    with pytest.raises(ClusterError, match="The connection to the Ray cluster is lost"):
        actions[what]()


def test_what_a_head_stays_for(driver: Driver) -> None:
    """Attempts, and not the registry that a killed orchestrator left behind."""
    driver.ray.named = {"sweep.leases": Actor()}
    assert not head.has_attempts("test")
    driver.ray.named["sweep/1"] = Actor()
    assert head.has_attempts("test")
    assert not head.has_attempts("others")


def test_a_head_stays_where_it_cannot_know(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its control service is away: everything else goes on, and needs it."""

    def lost(**_: object) -> None:
        raise RpcError("the control service is gone")

    monkeypatch.setattr(driver.ray.util, "list_named_actors", lost)

    assert head.has_attempts("test")
