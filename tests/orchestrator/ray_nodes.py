"""A Ray cluster of several raylets on this machine, in a process of its own, for tests that kill them.

Started as a program: it prints one JSON line `{"address": …, "raylets": [pid, …]}`, and another one with the pid of the
new raylet for every line that it reads. It ends, with all its nodes, at the end of its input.
"""

import json
import sys

from ray.cluster_utils import Cluster


def main() -> None:
    cpus, nodes = float(sys.argv[1]), int(sys.argv[2])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    added = [cluster.add_node(num_cpus=cpus) for _ in range(nodes)]
    print(json.dumps({"address": cluster.address, "raylets": [_pid(node) for node in added]}), flush=True)
    for _ in sys.stdin:
        print(json.dumps({"raylet": _pid(cluster.add_node(wait=False, num_cpus=cpus))}), flush=True)
    cluster.shutdown()


def _pid(node: object) -> int:
    return int(node.all_processes["raylet"][0].process.pid)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
