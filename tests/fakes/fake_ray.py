"""Stands in for `ray` and the clock in orchestrator/on_ray: a test says what actors answer, and when."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import GetTimeoutError

from orchestrator.on_ray import (
    attempt_actor,
    connection,
    flights,
    head,
    kept_registry,
    lease_registry,
    nodes,
    ray_cluster,
)
from orchestrator.on_ray.lease_registry import LeaseRegistry
from orchestrator.on_ray.ray_cluster import RayCluster

HEAD = {"NodeID": "head", "Alive": True, "Resources": {"CPU": 4.0, "node:__internal_head__": 1.0}}


class Call:
    """A question to an actor, answered as soon as `answer` is set: with a value, or an error to be raised."""

    def __init__(self, answer: object = None, *, is_pending: bool = False) -> None:
        self.answer = answer
        self.is_pending = is_pending

    def give(self, answer: object) -> None:
        self.answer, self.is_pending = answer, False


@dataclass
class Actor:
    """Methods answer at once where `methods` has them, and never before the test says so where it has not."""

    methods: Any = None
    calls: list[tuple[str, Call]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        def remote(*arguments: object) -> Call:
            method: Callable[..., object] | None = getattr(self.methods, name, None)
            call = Call(is_pending=True) if method is None else Call(method(*arguments))
            self.calls.append((name, call))
            return call

        return SimpleNamespace(remote=remote)

    def asked(self, name: str) -> list[Call]:
        """The questions of one kind so far."""
        return [call for kind, call in self.calls if kind == name]


class FakeRay:
    """The functions of Ray that the cluster uses, its clock, and what became of its actors."""

    def __init__(self) -> None:
        self.moment = 1000.0
        self.nodes_seen = [HEAD]
        self.named: dict[str, Actor] = {}
        self.killed: list[Actor] = []
        self.placed: list[Actor] = []
        self.registries: list[Actor] = []
        self.util = SimpleNamespace(
            list_named_actors=lambda all_namespaces: [  # noqa: ARG005 - as Ray calls it
                {"name": name, "namespace": "test"} for name in self.named
            ]
        )

    def monotonic(self) -> float:
        return self.moment

    now = boottime = monotonic

    def sleep(self, seconds: float) -> None:
        self.moment += seconds

    def nodes(self) -> list[dict[str, Any]]:
        return self.nodes_seen

    def get(self, call: Call, timeout: float | None = None) -> Any:
        if call.is_pending:
            self.moment += timeout or 0.0
            raise GetTimeoutError("no answer")
        if isinstance(call.answer, Exception):
            raise call.answer
        return call.answer

    def wait(
        self,
        calls: Sequence[Call],
        *,
        num_returns: int = 1,
        timeout: float = 0.0,
        fetch_local: bool = True,  # noqa: ARG002 - as Ray has it
    ) -> tuple[list[Call], list[Call]]:
        ready = [call for call in calls if not call.is_pending]
        if len(ready) < num_returns:
            self.moment += timeout
        return ready, [call for call in calls if call.is_pending]

    def get_actor(self, name: str, namespace: str) -> Actor:  # noqa: ARG002 - as Ray has it
        return self.named[name]

    def kill(self, actor: Actor, *, no_restart: bool = True) -> None:  # noqa: ARG002 - as Ray has it
        self.killed.append(actor)

    def shutdown(self) -> None: ...


def fake_ray_cluster(monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[FakeRay, RayCluster]:
    """A cluster that is driven as always, on a Ray that is made up."""
    fake = FakeRay()

    def factory(made: Callable[[], Actor]) -> Any:
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *_: made()))

    def placed() -> Actor:
        fake.placed.append(Actor())
        return fake.placed[-1]

    def opened() -> Actor:
        fake.registries.append(Actor(LeaseRegistry()))
        return fake.registries[-1]

    stand_ins = {"ray": fake, "clock": fake, "NodeAffinitySchedulingStrategy": lambda **words: words}
    for module in (attempt_actor, connection, flights, head, kept_registry, lease_registry, nodes, ray_cluster):
        for name in stand_ins.keys() & vars(module).keys():
            monkeypatch.setattr(module, name, stand_ins[name])
    monkeypatch.setattr(ray_cluster, "draining_nodes", set)
    monkeypatch.setattr(ray_cluster, "ATTEMPT_ACTOR", factory(placed))
    monkeypatch.setattr(kept_registry, "REGISTRY", factory(opened))
    monkeypatch.setattr(nodes, "_ANSWER", factory(Actor))
    cluster = RayCluster(lambda _: lambda: None, namespace="test", poll_every_s=1.0, lease_s=60.0, **options)
    return fake, cluster
