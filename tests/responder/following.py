"""The SDK on the other end of a relay: its stream state, and its types, strictly."""

import itertools
import json
from typing import Any, get_args

import msgspec
import openai
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent

from services.model import Answer, ModelUnavailable, upstream_events
from services.model.upstream_events import End
from services.responder.relay import Relay
from tests.builders import raw
from tests.told_streams import Event

CLASSES = {
    get_args(kind.model_fields["type"].annotation)[0]: kind
    for kind in get_args(ResponseStreamEvent.__origin__)
}
"""The SDK's class of every event type."""
BEGUN = {"id": "resp_1", "object": "response", "status": "in_progress", "output": []}


def relay() -> Relay:
    numbers = itertools.count(1)
    return Relay(lambda prefix: f"{prefix}_{next(numbers)}")


def fields(event: Event) -> dict[str, msgspec.Raw]:
    return {name: raw(value) for name, value in event.items()}


def decoded(frames: bytes) -> list[Event]:
    """Events of frames, checked that each is framed under its own name."""
    events = []
    for part in frames.decode().split("\n\n")[:-1]:
        name, data = part.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        events.append(value)
    return events


class Followed(msgspec.Struct):
    """What became of an upstream's stream: what was told of it, and the output at its end."""

    events: list[Event]
    output: list[Event]
    failed: str | None = None
    partial: list[Event] = []


def follow(upstream: list[Event]) -> Followed:
    """Relay a whole stream of an upstream to the SDK's stream state, which raises if it is lost.

    The upstream's last event is terminal, or the stream breaks off.
    """
    told = relay()
    frames = told.opened(json.dumps(BEGUN).encode())
    answer, failed = None, None
    try:
        for event in upstream:
            read = upstream_events.read(json.dumps(event))
            if isinstance(read, End):
                answer = answered(event["response"])
                frames += told.closed(answer)
            elif isinstance(read, dict):
                frames += told.frame(read)
    except (ModelUnavailable, msgspec.MsgspecError) as error:
        failed = str(error)
    partial = [json.loads(bytes(item)) for item in told.partial()]
    if answer is None:
        failed = failed or "broke off"
    status = "failed" if failed or answer is None else answer.status
    output = partial
    if status != "failed" and answer is not None:
        output = [json.loads(bytes(item)) for item in told.output(answer)]
    response = {**BEGUN, "status": status, "output": output, "model": "m"}
    frames += told.ended(status, json.dumps(response).encode())
    events = decoded(frames)
    listen(events)
    return Followed(events, output, failed, partial)


def answered(response: Event) -> Answer:
    return Answer(
        status=response["status"],
        items=tuple(upstream_events.item(raw(item)) for item in response["output"] or ()),
        usage=raw(response["usage"]),
        model=response["model"],
    )


def listen(events: list[Event]) -> Any:
    """What the SDK makes of a stream; it raises where it cannot follow."""
    state: ResponseStreamState[Any] = ResponseStreamState(
        text_format=openai.omit, input_tools=openai.omit
    )
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        state.handle_event(CLASSES[event["type"]].construct(**event))
    return state._completed_response


def strictly(events: list[Event]) -> None:
    """Validate events between the first and the last as the SDK's types have them."""
    for event in events:
        if "response" not in event:
            CLASSES[event["type"]].model_validate(event)
