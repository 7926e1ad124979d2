"""``Turnlog-After-Sequence``: an answer that stands at a sequence, or behind it."""

import threading
import time

import pytest

from schemas.deltas import SEQUENCE_HEADER
from schemas.http.beside import AFTER_HEADER
from tests.whole.running import MODEL, Running, message, until

BEYOND = "999999999"


def reads(shared: Running) -> list[str]:
    """A path of every read of what is stored."""
    with shared.client() as client:
        named = client.conversations.create(items=[message("Hi")]).id
        answer = client.responses.create(model=MODEL, input="Hi", conversation=named)
        item = client.conversations.items.list(named).data[0].id
    one, response = f"/v1/conversations/{named}", f"/v1/responses/{answer.id}"
    return [one, f"{one}/items", f"{one}/items/{item}", response, f"{response}/input_items"]


def test_every_read_answers_once_the_log_is_there(shared: Running):
    paths = reads(shared)
    with shared.http() as http:
        last = str(shared.last_sequence())
        for path in paths:
            answer = http.get(path, headers={AFTER_HEADER: last})
            assert (answer.status_code, path) == (200, path)
            assert 0 < int(answer.headers[SEQUENCE_HEADER]) <= int(last)


def test_a_read_waits_for_what_is_about_to_be_written(shared: Running):
    path = reads(shared)[1]
    answers = []

    def read(after: int) -> None:
        with shared.http() as http:
            answers.append(http.get(path, headers={AFTER_HEADER: str(after)}))

    until(lambda: shared.turns_waiting() == 0)
    with shared.http() as http:
        last = shared.last_sequence()
        reading = threading.Thread(target=read, args=(last + 1,))
        reading.start()
        reading.join(0.3)
        assert answers == []
        written = http.post(path, json={"items": [message("just now")]})
        reading.join(30)
    (answer,) = answers
    assert answer.status_code == 200
    assert answer.headers[SEQUENCE_HEADER] == written.headers[SEQUENCE_HEADER]
    assert answer.json()["data"][0] == written.json()["data"][0]


def test_a_sequence_that_does_not_come_is_told_in_time(shared: Running):
    path = reads(shared)[0]
    with shared.http() as http:
        begun = time.monotonic()
        answer = http.get(path, headers={AFTER_HEADER: BEYOND})
        took_s = time.monotonic() - begun
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    error = answer.json()["error"]
    assert f"did not reach {BEYOND} in 5 s" in error["message"]
    assert took_s < 30


@pytest.mark.parametrize("value", ["", "-1", "x", "1.5", "1" * 19, "\u00b2".encode()])
def test_what_is_no_sequence_is_refused(shared: Running, value):
    with shared.http() as http:
        answer = http.get("/v1/conversations/conv_none", headers={AFTER_HEADER: value})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == AFTER_HEADER
    assert error["message"] == "Invalid 'Turnlog-After-Sequence': expected a sequence of the log."


def test_the_lag_of_the_views_is_part_of_their_health(shared: Running):
    reads(shared)

    def caught_up() -> bool:
        views = shared.health()[1]["services"]["projector"]
        assert views["lag_commits"] >= 0
        assert views["lag_ms"] >= 0
        return bool(views["lag_commits"] == 0 and views["sequence"] == views["log_sequence"])

    until(caught_up)
    views = shared.health()[1]["services"]["projector"]
    assert (views["lag_ms"], views["parked"], views["detail"]) == (0.0, 0, "")
