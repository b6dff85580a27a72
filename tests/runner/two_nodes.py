"""A real Ray cluster of a head and two nodes on this machine, run beside a test: says its address, kills a node when told.

``python two_nodes.py SCRATCH``: node "sharing" sees the runs folder; node "apart" works in SCRATCH and has its runs collected. Each
takes two runs at a time. The line ``kill`` on stdin ends the node "apart" without a goodbye; the end of stdin ends the cluster.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    # A lost node is noticed within seconds instead of half a minute.
    health = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 4}
    small = {"object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": health, **small})
    cluster.add_node(num_cpus=2, **small)
    apart = cluster.add_node(num_cpus=2, env_vars={"HALFWAY_SCRATCH": sys.argv[1]}, **small)
    print(cluster.address, flush=True)
    for _ in sys.stdin:
        cluster.remove_node(apart, allow_graceful=False)
        print("killed", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
