"""A Ray cluster of several nodes on this machine, for tests that kill nodes or cut them off.

    one-network     every Ray at 127.0.0.1
    own-networks    this program, in a network namespace that is nothing but the switch
                      ├── head   10.x.y.1   the orchestrator is started in here as well
                      ├── node 0 10.x.y.2
                      └── node 1 10.x.y.3   …

The head has no CPUs. A node is a `ray start --block`, started again when it has ended, as a service of a host would.

Started as a program, it prints one JSON line `{"address": …, "head": pid, "nodes": [pid, …]}` with the keepers of those
nodes: all that runs on a node descends from its keeper, and lives in the keeper's network. It prints `{}` for every
line `cut N` or `heal N` that it reads, once the link of node N is down or up. At the end of its input it ends it all.

With a folder as last argument, each node has a disk of its own in it, which its workers know as `$NODE_DISK`: another
one whenever the node has come back.
"""

import contextlib
import ctypes
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).parents[2]))

from orchestrator.attempts.guard import descendants

_READY_LIMIT_S = 60.0
_STOP_LIMIT_S = 10.0
_UNSHARE = ("unshare", "--net")
_UNSHARE_AS_USER = ("unshare", "--user", "--map-root-user", "--net")
_PROBE = "ip link add probe0 type veth peer name probe1 && ip link add probe2 type bridge && unshare --net true"
_PR_SET_CHILD_SUBREAPER = 36


def why_no_networks() -> str | None:
    """Why this machine lets nobody give nodes networks of their own; None where it does."""
    return None if _way_in() else "this machine allows no network namespaces (unshare --net, ip link add … type veth)"


def can_hide_folders() -> bool:
    """Whether this machine lets us have a mount namespace."""
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", tempfile.gettempdir()]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def entering(pid: int) -> list[str]:
    """The words that make a program run in the network of a process."""
    words = ["nsenter", f"--net=/proc/{pid}/ns/net"]
    if Path(f"/proc/{pid}/ns/user").readlink() != Path("/proc/self/ns/user").readlink():
        words += [f"--user=/proc/{pid}/ns/user", "--preserve-credentials"]
    return words


def network_of(pid: int) -> str:
    """The name of a process's network namespace; empty where the process is gone."""
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""


def living_in(network: str) -> list[int]:
    """The processes in a network namespace. It exists as long as there are any."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if network_of(int(path.name)) == network]


def _way_in() -> tuple[str, ...] | None:
    for words in (_UNSHARE, _UNSHARE_AS_USER):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            command = [*words, "sh", "-c", _PROBE]
            if subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0:
                return words
    return None


def _serve(cpus: str, count: int, disks: str, *, has_networks: bool) -> None:
    """Start the nodes, and wait for orders."""
    # `ray start` looks for its own address on the host: two such clusters shall not have the same.
    subnet = f"10.{os.getpid() // 250 % 250}.{os.getpid() % 250}" if has_networks else None
    port = 6379 if has_networks else _free_port()
    head = f"{subnet}.1:{port}" if has_networks else f"127.0.0.1:{port}"
    folder = tempfile.mkdtemp(prefix="dn")  # short: the paths of sockets are bounded
    if has_networks:
        _ip("link add switch type bridge")
        _ip("link set switch up")
    nodes: list[_Node] = []
    try:
        for number in range(count + 1):
            address = f"{subnet}.{number + 1}" if has_networks else "127.0.0.1"
            role = "head" if number == 0 else cpus
            disk = f"{disks}/{number}" if disks else ""
            nodes.append(_Node(number, [role, address, head, f"{folder}/{number}", disk], has_networks=has_networks))
            if number == 0:
                nodes[0].wait()
        for node in nodes[1:]:
            node.wait()
        named = {"head": nodes[0].pid, "nodes": [node.pid for node in nodes[1:]]}
        print(json.dumps({"address": head, **named}), flush=True)
        for line in sys.stdin:
            word, number_read = line.split()
            _ip(f"link set port{int(number_read) + 1} {'down' if word == 'cut' else 'up'}")
            print("{}", flush=True)
    finally:
        for node in reversed(nodes):
            node.stop()
        shutil.rmtree(folder, ignore_errors=True)


class _Node:
    """A keeper, and the cable to the switch where there is one."""

    def __init__(self, number: int, words: list[str], *, has_networks: bool) -> None:
        self._keeper = subprocess.Popen(
            [*(_UNSHARE if has_networks else ()), sys.executable, __file__, "keep", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._keeper.pid
        assert _pipe(self._keeper.stdout).readline() == "made\n"
        if has_networks:
            _ip(f"link add port{number} type veth peer name eth0 netns {self.pid}")
            _ip(f"link set port{number} master switch up")
        _pipe(self._keeper.stdin).write("wired\n")
        _pipe(self._keeper.stdin).flush()

    def wait(self) -> None:
        """Return when its Ray serves."""
        assert _pipe(self._keeper.stdout).readline() == "serves\n", "a node did not start"

    def stop(self) -> None:
        _pipe(self._keeper.stdin).close()
        self._keeper.wait()
        _pipe(self._keeper.stdout).close()


def _keep(role: str, address: str, head: str, folder: str, disk: str) -> None:
    """Keep a Ray running here until the input ends; then leave nobody behind."""
    # Guards of trainers have left their parents behind: they become children of this process.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    print("made", flush=True)
    assert sys.stdin.readline() == "wired\n"
    if address != "127.0.0.1":
        _ip("link set lo up")
        _ip(f"addr add {address}/24 dev eth0")
        _ip("link set eth0 up")
    words = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--node-ip-address={address}"]
    words += [f"--temp-dir={folder}", "--disable-usage-stats", "--object-store-memory=134217728"]
    words += ["--dashboard-agent-listen-port=0"]
    if role == "head":
        words += ["--head", f"--port={head.rpartition(':')[2]}", "--num-cpus=0", "--include-dashboard=false"]
    else:
        words += [f"--address={head}", f"--num-cpus={role}"]
    Path(folder).mkdir()
    with (Path(folder) / "ray.log").open("ab") as log:
        disks = ({**os.environ, "NODE_DISK": f"{disk}.{number}"} if disk else None for number in itertools.count())
        ray = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=next(disks))
        _await_serving(Path(folder) / "ray.log")
        os.write(1, b"serves\n")
        os.set_blocking(0, False)
        while not _has_ended(0):
            if ray.poll() is not None:
                ray = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=next(disks))
            time.sleep(0.2)
    ray.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        ray.wait(_STOP_LIMIT_S)
    while left := descendants(os.getpid()):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        time.sleep(0.05)


def _has_ended(descriptor: int) -> bool:
    try:
        return os.read(descriptor, 64) == b""
    except BlockingIOError:
        return False


def _await_serving(log: Path) -> None:
    deadline = time.monotonic() + _READY_LIMIT_S
    while "Ray runtime started" not in (said := log.read_text(encoding="utf-8", errors="replace")):
        assert time.monotonic() < deadline, said
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _pipe(end: IO[str] | None) -> IO[str]:
    assert end is not None
    return end


def main() -> None:
    words = sys.argv[1:]
    if words[0] == "keep":
        _keep(*words[1:])
    elif words[0] == "own-networks":
        way_in = _way_in()
        assert way_in is not None, why_no_networks()
        os.execvp(way_in[0], [*way_in, sys.executable, __file__, "inside", *words[1:]])
    else:
        _serve(words[1], int(words[2]), words[3], has_networks=words[0] == "inside")


if __name__ == "__main__":
    main()
