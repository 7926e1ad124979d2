"""Turnlog on a cluster."""

from collections.abc import Iterator

import pytest

from tests.cluster.servers import Cluster, cluster
from tests.whole.running import Running


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None) -> Iterator[Cluster]:
    """Three servers; every test leaves them running."""
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture(scope="session")
def clustered(tmp_path_factory: pytest.TempPathFactory, servers: Cluster) -> Iterator[Running]:
    """All processes on the cluster, each message on three servers."""
    directory = tmp_path_factory.mktemp("clustered")
    running = Running(directory, nats_url=servers.url, replicas="3", tokens_budget="0")
    try:
        yield running.start()
    finally:
        running.end()
