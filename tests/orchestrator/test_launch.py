"""What no node can ever hold is refused at a launch; what ran before may wait for its nodes to come back."""

import io
import json
from pathlib import Path
from typing import NoReturn

import pytest
from fakes.fake_cluster import FakeCluster
from fakes.fake_runs import fake_run
from rich.console import Console

from orchestrator.events import Event, NodeJoined, RunPlanned, SweepOpened
from orchestrator.journal import Journal
from orchestrator.launch import Launch, LaunchResult
from orchestrator.policy import Limits
from sweeps.contracts import RunSpec
from sweeps.errors import ClusterError, RootLockedError
from sweeps.layout import SweepRoot

LIMITS = Limits(retries={"crashed": 0}, retry_delay_s=0.0)


class WaitingError(Exception):
    """Ends a launch that would wait for ever."""


class WatchedCluster(FakeCluster):
    """Its launch ends as soon as it shows how the runs stand."""

    def reports(self) -> NoReturn:
        raise WaitingError


def launched(root: Path, spec: RunSpec, cluster: FakeCluster, said: io.StringIO) -> LaunchResult:
    console = Console(file=said, width=400)
    launch = Launch(SweepRoot(root), [spec], cluster, console=console, collect=lambda: None, collect_every_s=0)
    return launch.run(config_text="", limits=LIMITS)


def test_what_no_node_can_ever_hold_is_refused(tmp_path: Path) -> None:
    """Ray would leave it pending for ever, without a word."""
    with pytest.raises(ClusterError, match=r"can ever hold a run that asks for 1 CPU,.*The nodes have: 0\.5 CPUs"):
        launched(tmp_path, fake_run(), FakeCluster(cpus=0.5), io.StringIO())


def test_a_sweep_whose_nodes_are_away_waits_for_them(tmp_path: Path) -> None:
    """An orchestrator that comes back while only small nodes live does not give the sweep up.

    Under random kills one did: it was started again in the moment in which no worker node lived, and refused.
    """
    failing, said = fake_run("fail"), io.StringIO()
    assert launched(tmp_path, failing, FakeCluster(cpus=4.0), said).failed

    with pytest.raises(WaitingError):
        launched(tmp_path, failing, WatchedCluster(cpus=0.5), said)

    assert "No node can hold a run that asks for 1 CPU, 0 GPUs now: such runs wait." in said.getvalue()


def test_a_run_in_flight_that_nothing_describes_any_more_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its orchestrator died before it wrote run.json, or somebody removed the folder, and the next launch has others.

    It is as if it had never been planned, and a launch that plans it begins it.
    """
    first, second, said = fake_run(seed=0), fake_run(seed=1), io.StringIO()
    with Journal(SweepRoot(tmp_path).journal) as journal:
        journal.append(
            [
                SweepOpened(at=1.0, sweep_id="s", host="head", pid=1),
                RunPlanned(at=1.0, key=first.key, group="fake × gym", resources=first.resources),
                NodeJoined(at=1.0, node="fake", cpus=4.0, memory_bytes=2**40),
            ]
        )

    assert launched(tmp_path, second, FakeCluster(), said).done == 1
    assert f"{first.key} is not part of this launch, and its run.json is gone" in caplog.text
    assert launched(tmp_path, second, FakeCluster(), said).done == 1
    assert launched(tmp_path, first, FakeCluster(), said).done == 1


def test_who_was_taken_for_dead_ends_what_it_drives(tmp_path: Path) -> None:
    """Without a further event to journal: its attempts would run beside those of the heir for as long as they take."""

    class Overtaken(FakeCluster):
        def poll(self, timeout_s: float) -> list[Event]:
            heir = {"host": "heir", "pid": 77, "started": "tick 1", "since": "2026-01-01"}
            SweepRoot(tmp_path).lock.write_text(json.dumps(heir))
            return super().poll(timeout_s)

    cluster = Overtaken()
    with pytest.raises(RootLockedError, match=r"has taken .* over from this one.* process 77 on heir"):
        launched(tmp_path, fake_run("hang"), cluster, io.StringIO())

    assert not cluster.is_open
