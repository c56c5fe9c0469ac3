"""A Ray cluster of several nodes, as a test sees it (see several_nodes.py)."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from doomed_sweep import REPOSITORY, doomed_environ, processes
from several_nodes import entering, living_in, network_of

from orchestrator.attempts.guard import descendants

_STOP_LIMIT_S = 60.0


class NodeCluster:
    """Some nodes, and what can be done to them."""

    def __init__(
        self,
        folder: Path,
        *,
        cpus: int,
        nodes: int,
        has_networks: bool = False,
        has_disks: bool = False,
        hidden: Path | None = None,
        **environ: str,
    ) -> None:
        """Start it.

        Args:
            folder: where its log goes, and a token of its own.
            has_networks: whether every node shall have a network of its own.
            has_disks: whether every node shall have a disk of its own.
            hidden: a folder that no node sees: something empty lies in its place.
            environ: what Ray is told by its environment, beside the token.
        """
        mode = "own-networks" if has_networks else "one-network"
        command = [sys.executable, str(Path(__file__).with_name("several_nodes.py")), mode, str(cpus), str(nodes)]
        command.append(str(folder / "disks") if has_disks else "")
        self._hidden = hidden
        if hidden is not None:
            script = f"mount -t tmpfs none '{hidden}' && exec \"$@\""
            command = ["unshare", "--mount", "sh", "-c", script, "sh", *command]
        with (folder / "nodes.log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=REPOSITORY,
                env=doomed_environ(folder, **environ),
                start_new_session=True,
            )
        hello = self._answer()
        self.address: str = hello["address"]
        self.head: int = hello["head"]
        self._keepers: list[int] = hello["nodes"]
        #: Words that make a program run where it reaches the cluster.
        self.entering: list[str] = entering(self.head) if has_networks else []
        every = [*self._keepers, self.head, self._process.pid]
        self._networks = [network_of(pid) for pid in every] if has_networks else []

    def on_node(self, node: int, pids: list[int]) -> list[int]:
        """Those of some processes that run on a node."""
        return sorted(set(pids) & set(descendants(self._keepers[node])))

    def raylet(self, node: int) -> int | None:
        """The raylet of a node; None while it is on its way back."""
        return self._process_of(self._keepers[node], "/raylet/raylet ")

    def starter(self, node: int) -> int | None:
        """The `ray start --block` of a node; None while it is on its way back."""
        return self._process_of(self._keepers[node], "ray.scripts.scripts start ")

    def disk(self, node: int) -> Path:
        """The folder on which a node keeps its files, as long as it is there."""
        environ = Path(f"/proc/{self.raylet(node)}/environ").read_bytes().split(b"\0")
        (value,) = [line.partition(b"=")[2] for line in environ if line.startswith(b"NODE_DISK=")]
        return Path(os.fsdecode(value))

    def in_hidden(self) -> list[Path]:
        """What the nodes wrote where the hidden folder is."""
        return [] if self._hidden is None else sorted(Path(f"/proc/{self._process.pid}/root{self._hidden}").rglob("*"))

    def cut(self, node: int) -> None:
        """Take the link of a node down."""
        self._tell(f"cut {node}")

    def heal(self, node: int) -> None:
        """Bring the link of a node up again."""
        self._tell(f"heal {node}")

    def close(self) -> None:
        """End every node and all that runs on them."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def left_over(self) -> list[int]:
        """The processes that still live in one of its networks, which therefore are still there; for after `close`."""
        return [pid for network in self._networks for pid in living_in(network)]

    def _process_of(self, keeper: int, words: str) -> int | None:
        below = set(descendants(keeper))
        return next((pid for pid, line in processes() if pid in below and words in line), None)

    def _tell(self, line: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextlib.contextmanager
def node_cluster(folder: Path, **options: Any) -> Iterator[NodeCluster]:
    """Have one for the length of a block."""
    cluster = NodeCluster(folder, **options)
    try:
        yield cluster
    finally:
        cluster.close()
