"""A Ray cluster of several raylets on this machine, in a process of its own, for tests that kill them.

Started as a program: it prints one JSON line `{"address": …, "raylets": [pid, …]}`, and another one with the pid of the
new raylet for every line that it reads. It ends, with all its nodes, at the end of its input.

With a folder as third argument, each node has a disk of its own in it, `<folder>/<number>`, which its workers know as
`$NODE_DISK`. The numbers count from 0, in the order of the pids.
"""

import json
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from ray.cluster_utils import Cluster


def main() -> None:
    cpus, nodes = float(sys.argv[1]), int(sys.argv[2])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    disks = _disks(Path(sys.argv[3]) if len(sys.argv) > 3 else None)
    added = [cluster.add_node(num_cpus=cpus, env_vars=next(disks)) for _ in range(nodes)]
    print(json.dumps({"address": cluster.address, "raylets": [_pid(node) for node in added]}), flush=True)
    for _ in sys.stdin:
        print(
            json.dumps({"raylet": _pid(cluster.add_node(wait=False, num_cpus=cpus, env_vars=next(disks)))}), flush=True
        )
    cluster.shutdown()


def _disks(folder: Path | None) -> Iterator[dict[str, str]]:
    """The environment of one node after the other."""
    for number in count():
        yield {} if folder is None else {"NODE_DISK": str(folder / str(number))}


def _pid(node: object) -> int:
    return int(node.all_processes["raylet"][0].process.pid)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
