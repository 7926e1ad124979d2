"""Two of three servers are away for longer than anybody waits: clients are told, and ask again."""

import time
from concurrent.futures import ThreadPoolExecutor

from openai import OpenAI

from schemas import subjects
from tests.cluster.servers import SIZE, Cluster
from tests.whole.running import MODEL, Running, message

AWAY_S = 20.0
"""Longer than an append is repeated."""
WRITERS = 8


def test_what_was_asked_for_while_no_quorum_was_there_happens_once(
    clustered: Running, servers: Cluster
):
    leader = servers.leader(subjects.CONVERSATIONS)
    # The leader stays, with what it is told and cannot tell others.
    others = [index for index in range(SIZE) if index != leader]
    # More patience than the SDK has by itself: what matters is that it asks again.
    with (
        OpenAI(base_url=f"{clustered.url}/v1", api_key="any", max_retries=8) as client,
        ThreadPoolExecutor(2 * WRITERS) as pool,
    ):
        places = [client.conversations.create().id for _ in range(2 * WRITERS)]

        def add(place: str) -> None:
            client.conversations.items.create(place, items=[message("Added once")])

        def ask(place: str) -> None:
            client.responses.create(model=MODEL, input="Asked once", conversation=place)

        for index in others:
            servers.kill(index)
        writing = [pool.submit(add, place) for place in places[:WRITERS]]
        writing += [pool.submit(ask, place) for place in places[WRITERS:]]
        time.sleep(AWAY_S)
        assert not any(each.done() for each in writing)
        for index in others:
            servers.start(index)
        for each in writing:
            each.result(120)
        with clustered.client() as once:
            for place in places:
                once.responses.create(model=MODEL, input="Still there?", conversation=place)
    told = [clustered.events(place) for place in places]
    assert [events.count("items_added") for events in told] == [1] * WRITERS + [0] * WRITERS
    assert [events.count("turn_completed") for events in told] == [1] * WRITERS + [2] * WRITERS
