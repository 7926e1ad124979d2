"""Calls to a scripted upstream, and what they come to."""

from typing import Any

from services.model import Answer, Call, Model, ModelRefused, ModelUnavailable
from services.model.connect import model
from services.sealing import Sealer
from services.settings import ModelSettings
from tests.builders import message, plain, raw
from tests.told_streams import Event, response, whole
from tests.told_streams import message as told_message
from tests.upstream import body, stream

SEALER = Sealer(bytes(32))
SOON = {"retry_after_ms": "1"}
"""Lets the SDK try again without waiting."""
FORMS = [False, True]
CHUNK = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]}
CHAT_END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
GOOD = {
    ("responses", False): body(response("completed", [])),
    ("responses", True): stream(whole(told_message(0, "Hi"))),
    ("chat", False): body({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}),
    ("chat", True): stream([CHUNK, CHAT_END, b"[DONE]"]),
}


def connected(api: str, url: str, *, wait_s: float = 10) -> Model:
    return model(ModelSettings(model_url=url, model_api=api, model_wait_s=wait_s), SEALER)


def asking(mark: str, **parameters: object) -> Call:
    return Call(
        model="m",
        items=(message("msg_1", mark),),
        parameters={name: raw(value) for name, value in parameters.items()},
    )


Outcome = tuple[str, Any, list[Event]]


async def outcome(opened: Model, call: Call, *, streamed: bool) -> Outcome:
    """What a call came to, in a word, and the events before it."""
    events: list[Event] = []
    try:
        if not streamed:
            return "answer", await opened.complete(call), events
        async for each in opened.stream(call):
            if isinstance(each, Answer):
                return "answer", each, events
            events.append({name: plain(value) for name, value in each.items()})
    except ModelRefused as refused:
        return "refused", refused, events
    except ModelUnavailable as unavailable:
        return "unavailable", str(unavailable), events
    finally:
        await opened.aclose()
    return "nothing", None, events
