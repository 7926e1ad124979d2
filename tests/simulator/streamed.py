"""What a streamed answer is, read from the wire and known to keep the contract."""

import json
import typing

from openai.types.responses import Response, ResponseOutputItem, ResponseStreamEvent
from pydantic import TypeAdapter

TERMINAL = {"response.completed", "response.incomplete", "response.failed"}
EXTRA = {"keepalive", "response.future_thing.added"}
"""Types of events the SDK does not know; nor does it know an ``error`` inside one."""

EVENT = TypeAdapter(ResponseStreamEvent)
ITEM = TypeAdapter(ResponseOutputItem)


def known_types() -> set[str]:
    """Every type of event the SDK has."""
    (union, *_) = typing.get_args(ResponseStreamEvent)
    return {
        name
        for kind in typing.get_args(union)
        for name in typing.get_args(kind.model_fields["type"].annotation)
    }


async def text_of(client, **body: object) -> str:
    """The bytes of a stream, as text."""
    body = {"model": "simulator", **body}
    async with client.responses.with_streaming_response.create(stream=True, **body) as raw:
        assert raw.headers["content-type"] == "text/event-stream; charset=utf-8"
        return await raw.text()


async def events_of(client, **body: object) -> list[dict]:
    """The events as sent, once they are known to keep the contract of a stream."""
    text = await text_of(client, **body)
    events = []
    for number, frame in enumerate(text.removesuffix("\n\n").split("\n\n")):
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert event["sequence_number"] == number
        keys = list(event)
        assert keys[0] == "type"
        assert "response" in event or keys[1:] == sorted(keys[1:])
        if event["type"] not in EXTRA and "error" not in event:
            EVENT.validate_python(event, strict=True)
        events.append(event)
    assert [e["type"] in TERMINAL for e in events] == [False] * (len(events) - 1) + [True]
    for item in events[-1]["response"]["output"]:
        ITEM.validate_python(item, strict=True)
    return events


async def output_of(client, **body: object) -> list[dict]:
    """The output items of an answer: the same ones, ids apart, plain and streamed."""
    body = {"model": "simulator", **body}
    raw = await client.responses.with_raw_response.create(**body)
    plain = json.loads(raw.content)
    Response.model_validate(plain, strict=True)
    streamed = (await events_of(client, **body))[-1]["response"]["output"]
    async with client.responses.stream(**body) as stream:
        final = await stream.get_final_response()
    assert [item.type for item in final.output] == [item["type"] for item in streamed]
    assert [without_id(item) for item in plain["output"]] == [without_id(i) for i in streamed]
    return streamed


def without_id(item: dict) -> dict:
    """An item by which two answers to one request are the same."""
    return {name: value for name, value in item.items() if name != "id"}
