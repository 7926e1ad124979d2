"""The same request with the same key is one request, whoever sends it how often."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import openai
import pytest
from nats.aio.client import Client
from openai import OpenAI

from schemas import claims, deltas, subjects
from schemas.claims import Claim
from services import ids
from services.conversation.budget import Policy
from services.gateway.listener import Kept, Listener, Told
from services.journal.claims import Claims
from services.journal.conversations import Conversations
from services.journal.deltas import Deltas
from services.journal.jetstream import JetStreamJournal
from tests.whole.asking import kind, request, told
from tests.whole.running import (
    MODEL,
    PROJECT,
    Running,
    another_gateway,
    listed,
    message,
    together,
    until,
)

TIMES = 10


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def posted(
    urls: tuple[str, ...], path: str, body: dict[str, Any], key: str, *, times: int = TIMES
) -> list[httpx2.Response]:
    """Answers to the same request, sent at once to all the gateways in turn."""

    def post(number: int) -> httpx2.Response:
        with httpx2.Client(base_url=urls[number % len(urls)], timeout=60) as http:
            return http.post(path, json=body, headers=keyed(key))

    return together(post, range(times), workers=times)


def one(answers: list[httpx2.Response], *, status: int = 200) -> bytes:
    """The body of answers that are all the same."""
    assert [each.status_code for each in answers] == [status] * len(answers), answers[0].text
    assert len({each.content for each in answers}) == 1
    return answers[0].content


@pytest.fixture
def urls(shared: Running, second_gateway: str) -> tuple[str, ...]:
    return shared.url, second_gateway


def turn(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "input": text, **fields}


def ends(running: Running, conversation_id: str) -> list[str]:
    """How often turns of a conversation began, and how they ended."""
    return [name for name in running.events(conversation_id) if name.startswith("turn_")]


ONCE = ["turn_requested", "turn_completed"]


def test_of_ten_plain_turns_at_once_one_is_run(shared: Running, urls: tuple[str, ...]):
    body = turn("[[delay 0.3]] ten plain")
    response = json.loads(one(posted(urls, "/v1/responses", body, "ten-plain")))
    assert response["status"] == "completed"
    assert len(shared.received_with("ten plain")) == 1
    with shared.client() as client:
        assert client.responses.retrieve(response["id"]).id == response["id"]


def test_of_ten_turns_of_a_conversation_at_once_one_is_run(shared: Running, urls: tuple[str, ...]):
    with shared.client() as client, shared.http() as http:
        conversation = client.conversations.create(items=[message("before")]).id
        body = turn("[[delay 0.3]] ten in one", conversation=conversation)
        one(posted(urls, "/v1/responses", body, "ten-in-one"))
        assert len(listed(http, conversation)) == 3
    assert ends(shared, conversation) == ONCE
    assert len(shared.received_with("ten in one")) == 1


@pytest.mark.parametrize("background", [False, True])
def test_ten_streams_at_once_tell_the_same(
    shared: Running, urls: tuple[str, ...], *, background: bool
):
    with shared.client() as client:
        parent = client.responses.create(**turn("before the ten streams"))
    text = f"[[delay 0.05]] ten streams {background}"
    body = turn(text, stream=True, background=background, previous_response_id=parent.id)
    stream = one(posted(urls, "/v1/responses", body, f"ten-streams-{background}"))
    assert stream.startswith(b"event: response.created\n")
    assert stream.rstrip().rpartition(b"\n\n")[2].startswith(b"event: response.completed\n")
    assert len(shared.received_with(text)) == 1


def test_ten_turns_at_once_in_the_background_are_one(shared: Running, urls: tuple[str, ...]):
    body = turn("[[delay 0.3]] ten background", background=True)
    begun = json.loads(one(posted(urls, "/v1/responses", body, "ten-background")))
    assert begun["status"] == "queued"
    with shared.client() as client:
        until(lambda: client.responses.retrieve(begun["id"]).status == "completed")
    # Long after its end it is told as it began: that was the answer.
    assert one(posted(urls, "/v1/responses", body, "ten-background", times=2))
    assert len(shared.received_with("ten background")) == 1


def test_ten_who_wait_for_a_turn_are_answered_when_its_responder_is_killed(wounded: Running):
    with wounded.client() as client:
        conversation = client.conversations.create().id
    body = turn("[[hang once]] ten killed", conversation=conversation)
    with another_gateway(wounded) as other, ThreadPoolExecutor(1) as pool:
        answers = pool.submit(posted, (wounded.url, other), "/v1/responses", body, "ten-killed")
        until(lambda: wounded.received_with("ten killed"))
        wounded.kill("responder")
        response = json.loads(one(answers.result(60)))
    assert response["status"] == "completed"
    assert ends(wounded, conversation) == ["turn_requested", "turn_started", "turn_completed"]
    assert len(wounded.received_with("ten killed")) == 2


def test_the_sdk_is_answered_alike_by_a_gateway_that_was_started_later(shared: Running):
    answers = []
    for _ in range(2):
        with another_gateway(shared) as url, shared.client(url) as client:
            created = client.responses.create(
                **turn("started later"), extra_headers=keyed("started-later")
            )
            with client.responses.create(
                **turn("streamed later"), stream=True, extra_headers=keyed("streamed-later")
            ) as stream:
                answers.append((created.to_dict(), [event.to_dict() for event in stream]))
    assert answers[0] == answers[1]
    assert len(shared.received_with("started later")) == 1
    assert len(shared.received_with("streamed later")) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_turn_of_which_no_words_are_kept_is_told_by_the_log(shared: Running, *, stream: bool):
    body, key = turn(f"forgotten words {stream}", stream=stream), f"forgotten-words-{stream}"
    first = posted((shared.url,), "/v1/responses", body, key, times=1)[0]
    response_id = ids_in(first.text)

    async def forget(client: Client) -> None:
        subject = subjects.delta(PROJECT, response_id)
        await client.jetstream().purge_stream(subjects.DELTAS, subject=subject)

    shared.on_log(forget)
    again = posted((shared.url,), "/v1/responses", body, key, times=1)[0]
    assert ids_in(again.text) == response_id
    if stream:
        assert last_frame(again).partition("\n")[0] == "event: response.completed"
    else:
        assert again.content == first.content
    assert len(shared.received_with(f"forgotten words {stream}")) == 1


def ids_in(text: str) -> str:
    """The first response id in an answer."""
    return text.partition('"id":"')[2].partition('"')[0]


def last_frame(answer: httpx2.Response) -> str:
    return answer.text.rstrip().rpartition("\n\n")[2]


def test_equal_json_is_the_same_request(shared: Running):
    body = turn("written anew", metadata={"a": "é"})
    with shared.http() as http:
        answers = [
            http.post("/v1/responses", content=written, headers=keyed("written-anew"))
            for written in (
                json.dumps(body).encode(),
                json.dumps(dict(reversed(body.items())), indent=1, ensure_ascii=False).encode(),
            )
        ]
    one(answers)
    assert len(shared.received_with("written anew")) == 1


def test_a_key_is_refused_with_another_body_or_path_and_not_retried(shared: Running):
    sent: list[httpx2.Request] = []
    transport = httpx2.Client(event_hooks={"request": [sent.append]}, timeout=30)
    with OpenAI(base_url=f"{shared.url}/v1", api_key="any", http_client=transport) as client:
        headers = keyed("only-for-one")
        client.responses.create(**turn("only for one"), extra_headers=headers)
        sent.clear()
        conversation = client.conversations.create().id
        for ask in (
            lambda: client.responses.create(**turn("another"), extra_headers=headers),
            lambda: client.conversations.create(extra_headers=headers),
            lambda: client.conversations.items.create(
                conversation, items=[message("x")], extra_headers=headers
            ),
        ):
            with pytest.raises(openai.ConflictError) as refused:
                ask()
            assert refused.value.code == "idempotency_key_reused"
            assert refused.value.response.headers["x-should-retry"] == "false"
            assert list(refused.value.response.json()["error"]) == [
                *("message", "type", "param", "code")
            ]
    assert len(sent) == 4
    assert shared.received_with('"another"') == []


def test_a_request_that_was_refused_leaves_nothing_to_repeat(
    shared: Running, urls: tuple[str, ...]
):
    with shared.client() as client:
        conversation = client.conversations.create().id
        busy = client.responses.create(
            **turn("[[hang 1]] in the way", conversation=conversation, background=True)
        )
        body = turn("refused at first", conversation=conversation)
        for _ in range(2):
            refused = json.loads(
                one(posted(urls, "/v1/responses", body, "refused-at-first", times=2), status=400)
            )
            assert refused["error"]["code"] == "conversation_locked"
        client.responses.cancel(busy.id)
    one(posted(urls, "/v1/responses", body, "refused-at-first"))
    assert len(shared.received_with("refused at first")) == 1
    assert ends(shared, conversation) == ["turn_requested", "turn_cancelled", *ONCE]


@pytest.mark.parametrize(
    ("text", "status"), [("[[error 400]] no model", 400), ("[[fail]] no answer", 200)]
)
def test_a_turn_that_failed_is_a_result(
    shared: Running, urls: tuple[str, ...], text: str, status: int
):
    with shared.client() as client:
        conversation = client.conversations.create().id
    body, key = turn(text, conversation=conversation), f"failed-{status}"
    told_first = one(posted(urls, "/v1/responses", body, key), status=status)
    told_later = one(posted(urls, "/v1/responses", body, key, times=2), status=status)
    assert told_first == told_later
    assert len(shared.received_with(text)) == 1
    assert ends(shared, conversation) == ["turn_requested", "turn_failed"]


def test_what_a_model_refused_is_told_as_that_to_who_missed_it(shared: Running):
    with shared.client() as client:
        conversation = client.conversations.create().id
    body = turn("[[error 400]] missed", conversation=conversation)
    refused = one(posted((shared.url,), "/v1/responses", body, "missed", times=1), status=400)
    (ended,) = shared.fold(conversation).state.turns.downwards(1)

    async def listen(client: Client) -> Told | None:
        conversations = Conversations(JetStreamJournal(client), actor="test", policy=Policy())
        kept = Kept(Deltas(client), conversations)
        listener = Listener(PROJECT, ended.id, kept, number=0, bytes_max=1_000_000)
        return await listener.told(wait_s=0.1)

    told_later = shared.on_log(listen)
    assert told_later.refusal == 400
    assert told_later.payload == refused


def test_a_response_that_was_deleted_is_neither_told_nor_made_again(shared: Running):
    headers = keyed("deleted-meanwhile")
    with shared.client() as client:
        asked: Any = turn("deleted meanwhile")
        response = client.responses.create(**asked, extra_headers=headers)
        client.responses.delete(response.id)
        with pytest.raises(openai.NotFoundError, match=response.id):
            client.responses.create(**asked, extra_headers=headers)
    assert len(shared.received_with("deleted meanwhile")) == 1


def test_a_key_means_nothing_to_a_turn_of_which_nothing_is_kept(shared: Running):
    with shared.client() as client:
        answers = [
            client.responses.create(
                **turn("kept nowhere"), store=False, extra_headers=keyed("kept-nowhere")
            ).id
            for _ in range(2)
        ]
    assert len(set(answers)) == 2


def test_a_turn_whose_gateway_died_before_asking_is_asked_for(shared: Running):
    body = turn("claimed and gone")
    conversation_id = ids.conversation_id()
    claim = Claim(
        id=ids.response_id(conversation_id),
        conversation_id=conversation_id,
        fingerprint=claims.fingerprint_of_turn(json.dumps(body).encode()),
    )

    async def leave(client: Client) -> None:
        await Claims(client).claim(PROJECT, "claimed-and-gone", claim)

    shared.on_log(leave)
    response = json.loads(one(posted((shared.url,), "/v1/responses", body, "claimed-and-gone")))
    assert response["id"] == claim.id
    assert ends(shared, conversation_id) == ONCE


def test_items_sent_ten_times_at_once_are_added_once(shared: Running, urls: tuple[str, ...]):
    with shared.client() as client, shared.http() as http:
        conversation = client.conversations.create().id
        path, body = f"/v1/conversations/{conversation}/items", {"items": [message("once")]}
        added = one(posted(urls, path, body, "items-once"))
        client.conversations.items.create(conversation, items=[message("behind")])
        assert one(posted(urls, path, body, "items-once", times=2)) == added
        assert [json.loads(each)["content"][0]["text"] for each in listed(http, conversation)] == [
            *("once", "behind")
        ]
        assert json.loads(added)["first_id"] == json.loads(listed(http, conversation)[0])["id"]


def test_items_are_added_once_by_the_sdk_with_a_key(shared: Running):
    with shared.client() as client:
        conversation = client.conversations.create().id
        answers = [
            client.conversations.items.create(
                conversation, items=[message("sdk")], extra_headers=keyed("items-by-sdk")
            ).to_dict()
            for _ in range(2)
        ]
        assert answers[0] == answers[1]
        assert len(client.conversations.items.list(conversation).data) == 1


def test_a_conversation_created_ten_times_at_once_is_one(shared: Running, urls: tuple[str, ...]):
    body = {"metadata": {"of": "ten"}, "items": [message("first")]}
    created = json.loads(one(posted(urls, "/v1/conversations", body, "one-conversation")))
    with shared.client() as client:
        assert len(client.conversations.items.list(created["id"]).data) == 1
        client.conversations.update(created["id"], metadata={"of": "later"})
        again = one(posted(urls, "/v1/conversations", body, "one-conversation", times=2))
        assert json.loads(again) == created
        client.conversations.delete(created["id"])
    one(posted(urls, "/v1/conversations", body, "one-conversation", times=2), status=404)


def test_items_that_were_refused_are_added_when_they_can_be(shared: Running):
    """Under the same key: nothing was done before."""
    with shared.client() as client, shared.http() as http:
        source = client.conversations.create().id
        item = client.conversations.items.create(source, items=[message("named")]).data[0]
        target = client.conversations.create().id
        twice = {"items": [{"type": "item_reference", "id": item.id}]}
        path, headers = f"/v1/conversations/{target}/items", keyed("refused-items")
        wrong = {"items": [{"type": "item_reference", "id": "msg_" + "0" * 48}]}
        refused = [http.post(path, json=wrong, headers=headers) for _ in range(2)]
        assert {each.status_code for each in refused} <= {400, 404}
        assert http.post(path, json=twice, headers=keyed("named-items")).status_code == 200
        assert len(client.conversations.items.list(target).data) == 1


# Straight onto the queue


def test_requests_with_one_request_id_are_one_turn(shared: Running):
    asked = [request("[[delay 0.3]] queue once", request_id="queue-once") for _ in range(5)]
    answers = told(shared, *asked)
    kinds = sorted(map(kind, answers))
    assert kinds == [deltas.END, *[deltas.REPEAT] * 4]
    (ran,) = [
        each["response_id"]
        for each, answer in zip(asked, answers, strict=True)
        if kind(answer) == deltas.END
    ]
    for answer in answers:
        if kind(answer) == deltas.REPEAT:
            assert json.loads(answer.data) == {"response_id": ran}
    assert len(shared.received_with("queue once")) == 1
    until(lambda: shared.turns_waiting() == 0)
    with shared.client() as client:
        assert client.responses.retrieve(ran).status == "completed"


def test_a_repeat_is_told_so_while_the_turn_runs_it_would_wait_for(shared: Running):
    with shared.client() as client:
        conversation = client.conversations.create().id
        asked = {"conversation_id": conversation, "request_id": "told-at-once"}
        first = request("[[hang 1]] told at once", **asked)
        first["body"]["background"] = True
        second = {**request("", conversation_id=conversation), **asked, "body": first["body"]}

        async def begin(client: Client) -> None:
            subject = subjects.turn_request(PROJECT, conversation)
            await client.jetstream().publish(subject, json.dumps(first).encode())

        shared.on_log(begin)
        until(lambda: shared.received_with("told at once"))
        (answer,) = told(shared, second)
        assert json.loads(answer.data) == {"response_id": first["response_id"]}
        assert client.responses.cancel(first["response_id"]).status == "cancelled"
    until(lambda: shared.turns_waiting() == 0)
    assert len(shared.received_with("told at once")) == 1


def test_a_request_id_is_refused_with_another_body(shared: Running):
    (ended,) = told(shared, request("one body", request_id="two-bodies"))
    (refused,) = told(shared, request("another body", request_id="two-bodies"))
    assert (kind(ended), kind(refused)) == (deltas.END, deltas.REFUSAL)
    assert (refused.headers or {})[deltas.STATUS_HEADER] == "409"
    assert json.loads(refused.data)["error"]["code"] == "idempotency_key_reused"
    assert shared.received_with("another body") == []


def test_a_request_id_that_is_no_key_is_refused(shared: Running):
    (refused,) = told(shared, request("no key", request_id="no key"))
    assert json.loads(refused.data)["error"]["param"] == "request_id"
    assert shared.received_with("no key") == []


def of_http(shared: Running, text: str, key: str) -> str:
    return str(
        json.loads(one(posted((shared.url,), "/v1/responses", turn(text), key, times=2)))["id"]
    )


def of_queue(shared: Running, text: str, key: str) -> str:
    asked = request(text, request_id=key)
    (answer,) = told(shared, asked)
    if kind(answer) == deltas.REPEAT:
        return str(json.loads(answer.data)["response_id"])
    assert kind(answer) == deltas.END
    return str(asked["response_id"])


Door = Callable[[Running, str, str], str]


@pytest.mark.parametrize("doors", [(of_http, of_queue), (of_queue, of_http)])
def test_both_doors_have_the_same_keys(shared: Running, doors: tuple[Door, Door]):
    text = f"two doors {doors[0].__name__}"
    assert len({door(shared, text, text.replace(" ", "-")) for door in doors}) == 1
    assert len(shared.received_with(text)) == 1


def test_a_request_id_whose_request_was_refused_can_be_asked_again(shared: Running):
    with shared.client() as client:
        conversation = client.conversations.create().id
        busy = client.responses.create(
            **turn("[[hang 1]] queue busy", conversation=conversation, background=True)
        )
        asked = {"conversation_id": conversation, "request_id": "queue-refused"}
        (refused,) = told(shared, request("queue refused", **asked, overlap="reject"))
        assert kind(refused) == deltas.REFUSAL
        client.responses.cancel(busy.id)
        (ended,) = told(shared, request("queue refused", **asked))
    assert kind(ended) == deltas.END
    assert len(shared.received_with("queue refused")) == 1


def test_a_request_of_the_queue_that_was_claimed_and_never_asked_is_run(shared: Running):
    asked = request("claimed for the queue", request_id="claimed-for-queue")
    conversation_id = ids.conversation_id()
    claim = Claim(
        id=ids.response_id(conversation_id),
        conversation_id=conversation_id,
        fingerprint=claims.fingerprint_of_turn(json.dumps(asked["body"]).encode()),
    )

    async def leave(client: Client) -> None:
        await Claims(client).claim(PROJECT, "claimed-for-queue", claim)

    shared.on_log(leave)
    (answer,) = told(shared, asked)
    assert json.loads(answer.data) == {"response_id": claim.id}
    until(lambda: ends(shared, conversation_id) == ONCE)
    assert len(shared.received_with("claimed for the queue")) == 1
