"""Turns nobody waits for: polled, streamed, resumed and cancelled from any connection."""

import json
import random

import pytest
from openai import BadRequestError, NotFoundError

from schemas import subjects
from tests.whole.running import MODEL, Running, another_gateway, message, until

SLOW = "[[delay 0.01]] [[words 100]]"
SLOWER = "[[delay 0.03]] [[words 300]]"
ENDED = {"completed", "incomplete", "failed", "cancelled"}


def ended(client, response_id):
    return until(
        lambda: (found := client.responses.retrieve(response_id)).status in ENDED and found
    )


def frames(answer):
    """Events of a stream, comments left out."""
    return [part for part in answer.content.split(b"\n\n") if part.startswith(b"event:")]


def numbers(events):
    return [json.loads(each.partition(b"data: ")[2])["sequence_number"] for each in events]


def begun(client, text, **given: object):
    return client.responses.create(model=MODEL, input=text, background=True, **given)


def stream_begun(client, text, **given: object):
    """Id of a stream in the background whose client has left after a few events."""
    with begun(client, text, stream=True, **given) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                break
            if event.type == "response.created":
                response_id = event.response.id
    return response_id


def test_a_turn_in_the_background_is_queued_then_polled_to_its_end(shared):
    with shared.client() as client:
        conversation = client.conversations.create()
        raw = client.responses.with_raw_response.create(
            model=MODEL, input="Hi [[gate polled]]", background=True, conversation=conversation.id
        )
        queued = raw.parse()
        assert (queued.status, queued.background, queued.output, queued.usage) == (
            "queued",
            True,
            [],
            None,
        )
        assert int(raw.headers["turnlog-sequence"]) > 0
        polled = client.responses.retrieve(queued.id)
        assert polled.status == "in_progress"
        assert (polled.conversation.id, polled.background) == (conversation.id, True)
        shared.open_gate("polled")
        done = ended(client, queued.id)
        assert (done.status, done.background) == ("completed", True)
        assert done.output_text
        listed = client.conversations.items.list(conversation.id, order="asc").data
        assert [item.id for item in listed][1:] == [item.id for item in done.output]


def test_nothing_of_a_turn_in_the_background_shows_before_its_end(shared):
    with shared.client() as client:
        conversation = client.conversations.create()
        response = begun(client, "Hi [[hang 3]]", conversation=conversation.id, stream=True)
        with response as stream:
            opening = [next(stream) for _ in range(4)]
            assert [event.type for event in opening] == [
                "response.created",
                "response.queued",
                "response.in_progress",
                "response.output_item.added",
            ]
            assert [opening[n].response.status for n in range(3)] == [
                "queued",
                "queued",
                "in_progress",
            ]
            assert client.conversations.items.list(conversation.id).data == []
            with pytest.raises(BadRequestError, match="Another process") as locked:
                client.responses.create(model=MODEL, input="x", conversation=conversation.id)
            assert (locked.value.code, locked.value.param) == (
                "conversation_locked",
                "conversation",
            )
            with pytest.raises(BadRequestError, match="Cannot delete an in-flight response"):
                client.responses.delete(opening[0].response.id)
            with pytest.raises(BadRequestError, match="is still in progress"):
                client.responses.create(
                    model=MODEL, input="x", previous_response_id=opening[0].response.id
                )
            client.responses.cancel(opening[0].response.id)


def test_a_refusal_is_told_before_a_turn_in_the_background_is_queued(shared):
    with shared.client() as client:
        with pytest.raises(NotFoundError):
            begun(client, "Hi", conversation="conv_00000000")
        with pytest.raises(BadRequestError) as unstored:
            begun(client, "Hi", store=False)
        assert (unstored.value.param, unstored.value.code) == (
            "background",
            "unsupported_parameter",
        )


def test_what_the_model_refuses_in_the_background_is_a_failed_response(shared):
    with shared.client() as client:
        conversation = client.conversations.create()
        response = begun(client, "Hi [[error 400]]", conversation=conversation.id)
        done = ended(client, response.id)
        assert (done.status, done.error.code) == ("failed", "invalid_prompt")
        assert client.conversations.items.list(conversation.id).data == []
        again = client.responses.create(model=MODEL, input="x", conversation=conversation.id)
        assert again.status == "completed"


def test_a_stream_is_replayed_whole_or_from_any_event(shared, second_gateway):
    with shared.client() as client:
        response_id = stream_begun(client, f"Hi {SLOW}")
    path = f"/v1/responses/{response_id}"
    with shared.http(second_gateway) as http:
        whole = frames(http.get(path, params={"stream": "true"}))
        assert numbers(whole) == list(range(len(whole)))
        assert whole[-1].startswith(b"event: response.completed\n")
        for after in (0, 1, 7, len(whole) // 2, len(whole) - 2):
            rest = frames(http.get(path, params={"stream": "true", "starting_after": after}))
            assert rest == whole[after + 1 :]
        for after in (len(whole) - 1, len(whole) + 100):
            nothing = http.get(path, params={"stream": "true", "starting_after": after})
            assert (nothing.status_code, nothing.content) == (200, b"")
            assert nothing.headers["content-type"] == "text/event-stream; charset=utf-8"


def test_the_sdk_resumes_a_stream_with_and_without_a_cursor(shared):
    with shared.client() as client:
        response_id = stream_begun(client, f"Hi {SLOW}")
        with client.responses.retrieve(response_id, stream=True, starting_after=5) as resumed:
            first = next(iter(resumed))
        assert first.sequence_number == 6
        with client.responses.stream(response_id=response_id, starting_after=5) as stream:
            told = [event.sequence_number for event in stream]
            final = stream.get_final_response()
        assert told == list(range(6, told[-1] + 1))
        assert final.output_text == client.responses.retrieve(response_id).output_text


def test_a_stream_is_told_from_the_log_when_its_deltas_are_gone(shared):
    with shared.client() as client, shared.http() as http:
        response_id = stream_begun(client, "Hi there [[words 30]]")
        done = ended(client, response_id)

        async def purge(nats_client):
            await nats_client.jetstream().purge_stream(
                subjects.DELTAS, subject=subjects.delta(subjects.DEFAULT_PROJECT, response_id)
            )

        path = f"/v1/responses/{response_id}"
        shared.on_log(purge)
        whole = frames(http.get(path, params={"stream": "true"}))
        assert [each.split(b"\n")[0].removeprefix(b"event: response.") for each in whole] == [
            b"created",
            b"queued",
            b"in_progress",
            b"output_item.added",
            b"content_part.added",
            b"output_text.done",
            b"content_part.done",
            b"output_item.done",
            b"completed",
        ]
        assert numbers(whole) == list(range(len(whole)))
        with client.responses.stream(response_id=response_id) as stream:
            assert stream.get_final_response().output_text == done.output_text
        for after in (1, 25):
            late = frames(http.get(path, params={"stream": "true", "starting_after": after}))
            assert numbers(late) == [after + 1]
            assert late[0].startswith(b"event: response.completed\n")


def test_what_was_not_a_stream_in_the_background_is_not_replayed(shared):
    with shared.client() as client:
        plain = client.responses.create(model=MODEL, input="Hi")
        silent = begun(client, "Hi")
        ended(client, silent.id)
        for response_id, flag in ((plain.id, "background"), (silent.id, "stream")):
            with pytest.raises(BadRequestError) as refused:
                client.responses.retrieve(response_id, stream=True)
            assert refused.value.body == {
                "message": "This response cannot be streamed because it was not created with "
                f"{flag}=true.",
                "type": "invalid_request_error",
                "param": "stream",
                "code": None,
            }


def test_a_cancel_from_another_connection_ends_a_stream(shared, second_gateway):
    with shared.client() as client, shared.client(second_gateway) as other:
        conversation = client.conversations.create()
        stream = begun(client, "Hi [[hang 12]]", stream=True, conversation=conversation.id)
        told = []
        with stream:
            for event in stream:
                told.append(event)
                if len(told) == 12:
                    cancelled = other.responses.cancel(told[0].response.id)
        assert (told[-1].type, told[-1].response.status) == ("response.failed", "cancelled")
        assert [event.sequence_number for event in told] == list(range(len(told)))
        assert cancelled.status == "cancelled"
        assert cancelled.model_dump() == told[-1].response.model_dump()
        assert cancelled.model_dump() == client.responses.retrieve(cancelled.id).model_dump()
        assert other.responses.cancel(cancelled.id).status == "cancelled"
        assert client.conversations.items.list(conversation.id).data == []
        again = client.responses.create(model=MODEL, input="x", conversation=conversation.id)
        assert again.status == "completed"
        assert shared.events(conversation.id)[:3] == [
            "conversation_created",
            "turn_requested",
            "turn_cancelled",
        ]


def test_only_what_runs_in_the_background_can_be_cancelled(shared):
    with shared.client() as client:
        plain = client.responses.create(model=MODEL, input="Hi")
        done = ended(client, begun(client, "Hi").id)
        failed = ended(client, begun(client, "Hi [[fail]]").id)
        cut = ended(client, begun(client, "Hi [[incomplete]]").id)
        for response, words in (
            (plain, "a synchronous"),
            (done, "a completed"),
            (failed, "a failed"),
            (cut, "an incomplete"),
        ):
            with pytest.raises(BadRequestError) as refused:
                client.responses.cancel(response.id)
            assert refused.value.body == {
                "message": f"Cannot cancel {words} response.",
                "type": "invalid_request_error",
                "param": None,
                "code": None,
            }
        with pytest.raises(NotFoundError):
            client.responses.cancel("resp_00000000")


def test_a_turn_whose_responder_is_gone_is_cancelled_all_the_same(wounded):
    with wounded.client() as client:
        response = begun(client, "Hi [[hang]]")
        wounded.kill("responder")
        assert client.responses.cancel(response.id).status == "cancelled"
        assert client.responses.retrieve(response.id).status == "cancelled"
        until(lambda: wounded.turns_waiting() == 0)
        assert client.responses.retrieve(response.id).status == "cancelled"


def test_a_turn_in_the_background_outlives_its_responder(wounded):
    with wounded.client() as client:
        response = begun(client, "Hi, outlive it [[hang once]]")
        until(lambda: wounded.received_with("outlive it"))
        wounded.kill("responder")
        done = ended(client, response.id)
        assert done.status == "completed"
        conversation_id = f"conv_{response.id[5:-18]}"
        assert wounded.events(conversation_id)[-2:] == ["turn_started", "turn_completed"]


def resumed_to_the_end(running: Running, path: str, dice: random.Random, most: int) -> list[bytes]:
    """The events of a stream as clients see them who lose their connection now and then."""
    told: list[bytes] = []
    for resumption in range(most + 1):
        params = {"stream": "true"} | ({"starting_after": len(told) - 1} if told else {})
        leave = len(told) + dice.randint(1, 12) if resumption < most else None
        if dice.random() < 0.3:
            running.kill("gateway")
            until(running.healthy)
        with running.http() as http, http.stream("GET", path, params=params) as answer:
            assert answer.status_code == 200
            rest = b""
            for part in answer.iter_raw():
                *whole, rest = (rest + part).split(b"\n\n")
                told += [each for each in whole if each.startswith(b"event:")]
                if leave is not None and len(told) >= leave:
                    break
    return told


def test_a_stream_resumed_twenty_times_across_dying_gateways_is_the_same_bytes(wounded):
    dice = random.Random(20)
    with wounded.client() as client:
        response_id = stream_begun(client, f"Hi {SLOWER}")
    path = f"/v1/responses/{response_id}"
    told = resumed_to_the_end(wounded, path, dice, most=20)
    with wounded.http() as http:
        assert told == frames(http.get(path, params={"stream": "true"}))
    assert told[-1].startswith(b"event: response.completed\n")
    assert numbers(told) == list(range(len(told)))


def test_another_gateway_and_a_restart_know_a_stream_as_well(wounded):
    with wounded.client() as client:
        response_id = stream_begun(client, "Hi [[words 50]]")
        ended(client, response_id)
    path = f"/v1/responses/{response_id}"
    with wounded.http() as http:
        before = frames(http.get(path, params={"stream": "true"}))
    with another_gateway(wounded) as url, wounded.http(url) as http:
        assert frames(http.get(path, params={"stream": "true"})) == before
    wounded.stop()
    wounded.start()
    with wounded.http() as http:
        assert frames(http.get(path, params={"stream": "true"})) == before


def test_the_input_of_a_response_is_listed_with_its_history(shared):
    with shared.client() as client:
        conversation = client.conversations.create(items=[message("One"), message("Two")])
        first = client.responses.create(model=MODEL, input="Three", conversation=conversation.id)
        client.conversations.items.create(conversation.id, items=[message("Later")])
        child = client.responses.create(
            model=MODEL, input=[message("Four"), message("Five")], previous_response_id=first.id
        )
        ours = client.conversations.items.list(conversation.id, order="asc").data
        listed = client.responses.input_items.list(first.id, order="asc").data
        assert [item.id for item in listed] == [item.id for item in ours[:3]]
        everything = list(client.responses.input_items.list(child.id, order="asc", limit=2))
        assert [item.id for item in everything[:4]] == [item.id for item in ours[:4]]
        assert [item.content[0].text for item in everything[4:]] == ["Four", "Five"]
        newest = client.responses.input_items.list(child.id).data
        assert [item.id for item in newest] == [item.id for item in everything[::-1]]
        with pytest.raises(NotFoundError, match="not found in conversation"):
            client.responses.input_items.list(child.id, after="msg_0")
