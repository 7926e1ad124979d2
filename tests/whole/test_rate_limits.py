"""How often a key may ask, and what it is told of that."""

import pytest
from openai import RateLimitError

from tests.whole.keyed import make
from tests.whole.running import MODEL, Running, until
from tests.whole.wire import wired

LIMITS = [f"x-ratelimit-{name}-requests" for name in ("limit", "remaining", "reset")]


def test_more_than_a_key_may_ask_is_told_so(keyed: Running):
    key, other = make(keyed, requests_per_minute=4), make(keyed)
    with keyed.http(key=key) as http, keyed.http(key=other) as unlimited:
        until(lambda: unlimited.get("/v1/models").status_code == 200)
        answers = [http.get("/v1/models") for _ in range(6)]
        assert [each.status_code for each in answers] == [200, 200, 200, 200, 429, 429]
        remaining = [each.headers["x-ratelimit-remaining-requests"] for each in answers]
        assert remaining == ["3", "2", "1", "0", "0", "0"]
        assert {each.headers["x-ratelimit-limit-requests"] for each in answers} == {"4"}
        assert answers[0].headers["x-ratelimit-reset-requests"] == "15s"
        refused = answers[-1]
        assert 1 <= int(refused.headers["retry-after"]) <= 15
        error = refused.json()["error"]
        assert error.pop("message").startswith("Rate limit reached for requests: 4 per minute. ")
        assert error == {"type": "requests", "param": None, "code": "rate_limit_exceeded"}
        # Refused as well, and told so, whatever it is.
        assert http.get("/nowhere").status_code == 429

        answer = unlimited.get("/v1/models")
        assert answer.status_code == 200
        assert not set(LIMITS) & answer.headers.keys()
    with keyed.client(key=key) as client, pytest.raises(RateLimitError):
        client.responses.create(model=MODEL, input="hello")


def test_each_frame_of_a_websocket_is_a_request(keyed: Running):
    key, other = make(keyed, requests_per_minute=2), make(keyed)
    with keyed.http(key=other) as http:
        until(lambda: http.get("/v1/models").status_code == 200)
    with wired(keyed.url, additional_headers={"Authorization": f"Bearer {key}"}) as wire:
        for _ in range(2):
            assert wire.response("hello")["status"] == "completed"
        wire.ask("once more")
        refused = wire.refusal()
        assert refused["status"] == 429
        assert refused["error"]["code"] == "rate_limit_exceeded"
        assert int(refused["error"]["headers"]["retry-after"]) >= 1
    with keyed.http(key=key) as http:
        assert http.get("/v1/models").status_code == 429


def test_a_stream_says_what_is_left(keyed: Running):
    key = make(keyed, requests_per_minute=100)
    body = {"model": MODEL, "input": "hello", "stream": True}
    with keyed.http(key=key) as http:
        until(lambda: http.get("/v1/models").status_code == 200)
        with http.stream("POST", "/v1/responses", json=body) as answer:
            assert int(answer.headers["x-ratelimit-remaining-requests"]) >= 90
            assert b"response.completed" in answer.read()
