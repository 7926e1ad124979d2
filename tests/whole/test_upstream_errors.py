"""Trouble of the upstream is the contract's error or a failed response, and is over afterwards."""

import secrets
from typing import Any

import httpx2
import msgspec
import pytest
from openai import OpenAI

from tests.told_streams import Event, event, items_of, message, response, whole
from tests.upstream import DROP, HANG, Said, ScriptedUpstream, body, error, stream
from tests.whole.running import Running, listed, until
from tests.whole.test_streaming import events_of

SOON = {"retry_after_ms": "1"}
MODEL = "m"


@pytest.fixture
def mark() -> str:
    return f"mark-{secrets.token_hex(8)}"


@pytest.fixture
def running(request: pytest.FixtureRequest) -> Running:
    """An instance with the scripted model; an impatient one if that is not to answer at all."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    hangs = parameters.get("name") == "hang"
    found: Running = request.getfixturevalue("impatient" if hangs else "before_scripted")
    return found


@pytest.fixture
def client(running: Running):
    with running.client() as sdk:
        yield sdk


@pytest.fixture
def http(running: Running):
    with running.http() as opened:
        yield opened


class Trouble(msgspec.Struct, kw_only=True):
    """An answer of the upstream, and what a client is told of it.

    ``status`` is that of an error; none: a failed response. ``requests`` counts what the upstream
    was sent.
    """

    said: Said
    message: str
    code: str | None = None
    status: int | None = None
    type: str = "invalid_request_error"
    param: str | None = None
    requests: int = 1
    output: list[str] = []


def failing(said: Said, why: str, code: str = "server_error", **fields: Any) -> Trouble:
    return Trouble(said=said, message=why, code=code, **fields)


CREDENTIALS = "The model's server refused the credentials of this service."
NOTHING = "The connection to the model failed."
SLOW = "The model did not answer in time."
ODD = "The model's answer could not be read"

BEFORE = {
    "400": Trouble(
        said=error(400, "No.", param="temperature", code="unsupported_value"),
        status=400,
        message="No.",
        param="temperature",
        code="unsupported_value",
    ),
    "401": failing(error(401, "Incorrect API key provided: sk-secret."), CREDENTIALS),
    "403": failing(error(403, "secret"), CREDENTIALS),
    "404_model": Trouble(
        said=error(404, "The model 'm' does not exist.", code="model_not_found"),
        status=400,
        message="The model 'm' does not exist.",
        param="model",
        code="model_not_found",
    ),
    "404_address": failing(
        Said(status=404, chunks=(b"404 page not found",), kind="text/plain"),
        "The model's server does not offer the API it is asked by.",
    ),
    "408": failing(error(408, headers=SOON), "The model answered with status 408.", requests=3),
    "409": failing(error(409, headers=SOON), "The model answered with status 409.", requests=3),
    "413": Trouble(said=error(413, "Too large."), status=413, message="Too large."),
    "422": Trouble(said=error(422, "Odd."), status=422, message="Odd."),
    "429": Trouble(
        said=error(429, "Slow down.", type="tokens", headers=SOON),
        status=429,
        message="Slow down.",
        type="tokens",
        code="rate_limit_exceeded",
        requests=3,
    ),
    "429_quota": Trouble(
        said=error(429, "Pay.", type="insufficient_quota", code="insufficient_quota", headers=SOON),
        status=429,
        message="Pay.",
        type="insufficient_quota",
        code="insufficient_quota",
        requests=3,
    ),
    "500": failing(
        error(500, "secret", headers=SOON), "The model answered with status 500.", requests=3
    ),
    "503": failing(error(503, headers=SOON), "The model answered with status 503.", requests=3),
    "drop": failing(Said(chunks=(DROP,)), NOTHING, requests=3),
    "hang": failing(Said(chunks=(HANG,)), SLOW, requests=3),
    "no_http": failing(Said(chunks=(b"x",), headers={"content-length": "1"}), NOTHING),
    "no_json": failing(body(b"<html>"), "The model's answer"),
}
"""Trouble before the first event: plain and streamed, it is the same."""

HEL = whole(message(0, "Hel", "lo"))[:5]
NOPE: Event = {"message": "Nope.", "code": "context_length_exceeded", "param": "input"}
FAILED = response("failed", [], error={"code": "rate_limit_exceeded", "message": "Too much."})

DURING = {
    "drop": failing(stream([*HEL, DROP]), NOTHING),
    "hang": failing(stream([*HEL, HANG]), SLOW),
    "no_end": failing(stream(HEL), "The model's answer broke off."),
    "no_json": failing(stream([*HEL, b"{"]), ODD),
    "no_object": failing(stream([*HEL, b"[]"]), ODD),
    "no_utf8": failing(stream([*HEL, b"\xff"]), ODD),
    "another_shape": failing(stream([*HEL, {**HEL[-1], "delta": {"a": 1}}]), ODD),
    "an_item_from_nowhere": failing(stream([*HEL, {**HEL[-1], "output_index": 4}]), ODD),
    "end_without_response": failing(stream([*HEL, event("completed")]), ODD),
    "error_flat": failing(
        stream([*HEL, {"type": "error", **NOPE}]), "Nope.", "context_length_exceeded"
    ),
    "error_nested": failing(
        stream([*HEL, {"type": "error", "error": NOPE}]), "Nope.", "context_length_exceeded"
    ),
    "error_without_words": failing(
        stream([*HEL, {"type": "error"}]), "The model reported an error."
    ),
    "failed": failing(
        stream([*HEL, event("failed", response=FAILED)]), "Too much.", "rate_limit_exceeded"
    ),
    "failed_without_words": failing(
        stream([*HEL, event("failed", response={**FAILED, "error": None})]), "The model failed."
    ),
    "cancelled": failing(
        stream([*HEL, event("failed", response={**FAILED, "status": "cancelled"})]),
        "The model's server cancelled its answer.",
    ),
}
"""Trouble after some of the answer was told."""


def told(
    http: httpx2.Client, mark: str, *, streamed: bool, **fields: Any
) -> tuple[httpx2.Response, Event]:
    """The answer to a turn, and the error or the response it ends with."""
    answer = http.post(
        "/v1/responses", json={"model": MODEL, "input": mark, "stream": streamed, **fields}
    )
    if answer.headers["content-type"] == "application/json":
        value = answer.json()
        return answer, value if answer.status_code == 200 else value["error"]
    events = events_of(answer.content)
    assert [each["type"] for each in events if each["type"] == "error"] == []
    return answer, events[-1]["response"]


def check(trouble: Trouble, answer: httpx2.Response, value: Event) -> None:
    """What a client was told is what it should be."""
    assert "secret" not in answer.text
    if trouble.status is None:
        assert answer.status_code == 200
        assert (value["status"], value["error"]["code"]) == ("failed", trouble.code)
        assert value["error"]["message"].startswith(trouble.message)
        return
    assert answer.status_code == trouble.status
    assert list(answer.json()) == ["error"]
    assert value == {
        "message": trouble.message,
        "type": trouble.type,
        "param": trouble.param,
        "code": trouble.code,
    }
    assert (trouble.status == 429) == ("retry-after" in answer.headers)
    assert int(answer.headers.get("retry-after", "1")) >= 1


def check_usable(
    scripted: ScriptedUpstream, client: OpenAI, http: httpx2.Client, conversation_id: str
) -> None:
    """Nothing was appended, and nobody is in the way of the next turn."""
    assert listed(http, conversation_id) == []
    mark = f"well-{secrets.token_hex(8)}"
    scripted.plan(mark, stream(whole(message(0, "Well."))))
    with client.responses.stream(model=MODEL, input=mark, conversation=conversation_id) as again:
        assert again.get_final_response().output_text == "Well."
    assert len(listed(http, conversation_id)) == 2


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("name", BEFORE)
def test_trouble_before_the_first_event_is_an_answer_and_leaves_the_conversation_usable(
    scripted: ScriptedUpstream,
    client: OpenAI,
    http: httpx2.Client,
    mark: str,
    name: str,
    *,
    streamed: bool,
):
    trouble = BEFORE[name]
    scripted.plan(mark, trouble.said)
    conversation = client.conversations.create()

    answer, value = told(http, mark, streamed=streamed, conversation=conversation.id)

    check(trouble, answer, value)
    # What is tried again is tried by the SDK in front of the upstream, and by nobody else.
    assert len(scripted.asked(mark)) == trouble.requests
    check_usable(scripted, client, http, conversation.id)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("store", [False, True], ids=["unstored", "stored"])
@pytest.mark.parametrize("name", ["400", "401", "429", "500", "no_http", "no_json"])
def test_without_a_conversation_it_is_the_same(
    scripted: ScriptedUpstream,
    http: httpx2.Client,
    mark: str,
    name: str,
    *,
    store: bool,
    streamed: bool,
):
    trouble = BEFORE[name]
    scripted.plan(mark, trouble.said)

    answer, value = told(http, mark, streamed=streamed, store=store)

    check(trouble, answer, value)
    assert len(scripted.asked(mark)) == trouble.requests
    if trouble.status is None:
        kept = http.get(f"/v1/responses/{value['id']}")
        assert kept.status_code == (200 if store else 404)
        assert not store or kept.json() == value


@pytest.mark.parametrize("where", ["conversation", "alone", "unstored"])
@pytest.mark.parametrize("name", DURING)
def test_trouble_after_the_first_event_ends_the_stream_as_failed_with_what_was_said(
    scripted: ScriptedUpstream,
    client: OpenAI,
    http: httpx2.Client,
    mark: str,
    name: str,
    where: str,
):
    trouble = DURING[name]
    scripted.plan(mark, trouble.said)
    conversation = client.conversations.create()
    placed = {"conversation": {"conversation": conversation.id}, "unstored": {"store": False}}

    answer, value = told(http, mark, streamed=True, **placed.get(where, {}))

    check(trouble, answer, value)
    assert len(scripted.asked(mark)) == 1
    (item,) = value["output"]
    assert (item["status"], item["content"][0]["text"]) == ("incomplete", "Hel")
    if where != "unstored":
        assert http.get(f"/v1/responses/{value['id']}").json() == value
    if where == "conversation":
        check_usable(scripted, client, http, conversation.id)


def test_the_helper_follows_a_stream_that_fails(
    scripted: ScriptedUpstream, client: OpenAI, mark: str
):
    scripted.plan(mark, DURING["error_nested"].said)

    with client.responses.stream(model=MODEL, input=mark) as failing_stream:
        events = list(failing_stream)

    assert [each.type for each in events][-2:] == ["response.output_text.delta", "response.failed"]
    assert events[-1].response.error.code == "context_length_exceeded"


def test_trouble_that_passes_is_never_seen(scripted: ScriptedUpstream, client: OpenAI, mark: str):
    scripted.plan(
        mark,
        error(503, headers=SOON),
        error(429, headers=SOON),
        stream(whole(message(0, "Well."))),
    )

    with client.responses.stream(model=MODEL, input=mark) as told_stream:
        assert told_stream.get_final_response().output_text == "Well."
    assert scripted.retry_counts(mark) == ["0", "1", "2"]


@pytest.mark.parametrize("name", ["401", "429", "hang"])
def test_in_the_background_all_of_it_is_a_failed_response(
    scripted: ScriptedUpstream, client: OpenAI, mark: str, name: str
):
    trouble = BEFORE[name]
    scripted.plan(mark, trouble.said)

    begun = client.responses.create(model=MODEL, input=mark, background=True)
    ended = until(
        lambda: (found := client.responses.retrieve(begun.id)).status == "failed" and found
    )

    assert ended.error is not None
    assert ended.error.message == trouble.message
    assert ended.error.code == (trouble.code if trouble.status is None else "rate_limit_exceeded")


def test_our_credentials_are_for_us_to_mend(
    scripted: ScriptedUpstream, before_scripted: Running, http: httpx2.Client, mark: str
):
    scripted.plan(mark, BEFORE["401"].said)

    told(http, mark, streamed=False)

    assert before_scripted.up is not None
    lines = until(lambda: before_scripted.up.lines("model.credentials_refused", status=401))
    assert lines[-1]["level"] == "error"


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_no_message_holds_is_not_asked_for_twice(
    before_scripted: Running, scripted: ScriptedUpstream, mark: str, streamed: bool
):
    said = message(0, *["x" * 1_000_000] * 9)
    answer = response("completed", items_of(said))
    scripted.plan(mark, stream(whole(said)) if streamed else body(answer))
    fields = {"model": MODEL, "input": mark, "store": False, "stream": streamed}
    with before_scripted.http() as http:
        told = http.post("/v1/responses", json=fields)
    assert told.status_code == 200
    failed = events_of(told.content)[-1]["response"] if streamed else told.json()
    assert (failed["status"], failed["output"]) == ("failed", [])
    assert failed["error"] == {
        "code": "server_error",
        "message": "The answer is too large to be told.",
    }
    assert len(scripted.asked(mark)) == 1
