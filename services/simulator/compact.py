"""``POST /responses/compact``: the user's messages, and a summary that only the simulator reads."""

from typing import Any

import msgspec

from schemas.http.responses import CompactedResponse, Usage
from services import clock, ids
from services.simulator import responses
from services.simulator.anchors import summary_of
from services.simulator.answer import FORGETFUL_MODEL, Answer, Ask
from services.simulator.entries import sealed, tokens_in
from services.simulator.faults import Frame
from services.simulator.reading import values_in

KEPT_SHARE = 0.25
"""Share of a window for messages of the user that stay; a single one may be all of it."""

_encode = msgspec.json.Encoder().encode


class CompactRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A window that can be made smaller."""

    ask: Ask
    said: tuple[dict[str, Any], ...]
    stream: bool = False

    def whole(self, answer: Answer) -> bytes:
        """The body of the answer; of ``answer`` only its counts matter."""
        text = summary_of(self.ask.entries, forgetful=self.ask.model.startswith(FORGETFUL_MODEL))
        summary = {"id": ids.item_id("cmp"), "type": "compaction"}
        summary["encrypted_content"] = sealed(text)
        output = (*self.said, summary)
        usage = Usage(
            input_tokens=answer.input_tokens,
            output_tokens=tokens_in(text),
            total_tokens=answer.input_tokens + tokens_in(text),
        )
        return _encode(
            CompactedResponse(
                id=ids.item_id("resp"),
                created_at=int(clock.now().timestamp()),
                output=tuple(msgspec.Raw(_encode(item)) for item in output),
                usage=msgspec.Raw(_encode(usage)),
            )
        )

    def frames(self, answer: Answer) -> tuple[list[Frame], int]:
        """It is never streamed."""
        del answer
        raise AssertionError("a window is never answered in a stream")


def read(payload: bytes) -> CompactRequest:
    """The request in a body; raises what the contract answers to a wrong one."""
    values = values_in(payload)
    ask = responses.read(payload).ask
    given = values.get("input")
    items = given if isinstance(given, list) else [{"role": "user", "content": given}]
    return CompactRequest(ask=ask, said=tuple(map(_message, _kept(items))))


def _kept(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The user's newest messages, up to a share of the whole."""
    left = len(_encode(items)) * KEPT_SHARE
    kept: list[dict[str, Any]] = []
    for item in reversed(items):
        left -= len(_encode(item)) if item.get("role") == "user" else 0
        if left < 0 and kept:
            break
        if item.get("role") == "user":
            kept.append(item)
    return kept[::-1]


def _message(item: dict[str, Any]) -> dict[str, Any]:
    content = item.get("content")
    if isinstance(content, str):
        content = [{"type": "input_text", "text": content}]
    return {
        "id": ids.item_id("msg"),
        "type": "message",
        "status": "completed",
        "content": content,
        "role": "user",
    }
