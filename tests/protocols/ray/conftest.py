"""A cluster of two nodes on this machine, started once for each file of tests."""

import warnings

import pytest

from protocols.ray.cluster import load_ray

from .parts import NODE


@pytest.fixture(scope="module")
def cluster():
    ray = load_ray()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own
        from ray.cluster_utils import Cluster

        head = NODE | {"include_dashboard": False, "_system_config": {"health_check_period_ms": 500}}
        made = Cluster(initialize_head=True, head_node_args=head)
        made.add_node(**NODE)
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        yield made
        ray.shutdown()
        made.shutdown()
