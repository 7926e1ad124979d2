"""Turns asked for straight on the queue, as a backend does."""

import asyncio
import json
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import deltas, subjects
from services import ids
from tests.whole.running import MODEL, PROJECT, WAIT_S, Running


def request(text: str, /, *, conversation_id: str | None = None, **fields: Any) -> dict[str, Any]:
    """A turn request with ids of its own; in a conversation, if one is named."""
    hidden = conversation_id or ids.conversation_id()
    body = {"model": MODEL, "input": text}
    if conversation_id is not None:
        body["conversation"] = conversation_id
    return {
        "response_id": ids.response_id(hidden),
        "conversation_id": hidden,
        "body": body,
        **fields,
    }


def told(running: Running, *requests: dict[str, Any]) -> list[Msg]:
    """The last message each request comes to, in their order; all of them are asked at once."""

    async def ask(client: Client) -> list[Msg]:
        return await asyncio.gather(*(last(client, each) for each in requests))

    answers: list[Msg] = running.on_log(ask)
    return answers


async def last(client: Client, asked: dict[str, Any]) -> Msg:
    """The last message a request comes to."""
    subscription = await client.subscribe(subjects.delta(PROJECT, asked["response_id"]))
    await client.jetstream().publish(
        subjects.turn_request(PROJECT, asked["conversation_id"]),
        json.dumps(asked).encode(),
        headers={"Nats-Msg-Id": asked["response_id"]},
    )
    while True:
        message = await subscription.next_msg(timeout=WAIT_S)
        if kind(message) != deltas.EVENTS:
            return message


def kind(message: Msg) -> str:
    """What a message of a turn is."""
    return (message.headers or {})[deltas.KIND_HEADER]
