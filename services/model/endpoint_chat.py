"""The model through an upstream's Chat Completions API, told in the contract's events."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

import msgspec

from schemas.http.checks import Fields
from services import ids
from services.model import Answer, Call, ModelUnavailable, messages, rendering
from services.model.upstream import Upstream, decode_error
from services.sealing import Sealer

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

_UNREADABLE = (
    msgspec.MsgspecError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
)
"""What reading a body of another shape than the chat API's comes to."""

_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ChatEndpoint:
    """Calls ``POST /chat/completions`` of the upstream with the whole window."""

    def __init__(self, upstream: Upstream, sealer: Sealer) -> None:
        """``sealer`` opens compactions, which the upstream could not read."""
        self._upstream = upstream
        self._sealer = sealer

    async def complete(self, call: Call) -> Answer:
        """As the protocol says."""
        payload = await self._upstream.post("/chat/completions", self._body(call, stream=False))
        try:
            body = _decode(payload)
            choice = body["choices"][0]
            telling = _Telling()
            for _ in telling.take(choice["message"], whole=True):
                pass
            for _ in telling.end(choice.get("finish_reason")):
                pass
            return telling.answer(body.get("usage"), body.get("model") or call.model)
        except _UNREADABLE as error:
            raise _unreadable(error) from error

    async def stream(self, call: Call) -> AsyncGenerator[Fields | Answer]:
        """As the protocol says."""
        telling = _Telling()
        used: dict[str, Any] | None = None
        model, finished = call.model, None
        try:
            body = self._body(call, stream=True)
            async with aclosing(self._upstream.stream("/chat/completions", body)) as chunks:
                async for data in chunks:
                    chunk = _decode(data)
                    used, model = chunk.get("usage") or used, chunk.get("model") or model
                    for choice in chunk["choices"][:1]:
                        for event in telling.take(choice.get("delta") or {}, whole=False):
                            yield _fields(event)
                        finished = choice.get("finish_reason") or finished
            if finished is None:
                raise ModelUnavailable("The model's answer broke off.")
            for event in telling.end(finished):
                yield _fields(event)
            yield telling.answer(used, model)
        except _UNREADABLE as error:
            raise _unreadable(error) from error

    async def models(self) -> bytes:
        """As the protocol says."""
        return await self._upstream.get("/models")

    async def aclose(self) -> None:
        """As the protocol says."""
        await self._upstream.aclose()

    def _body(self, call: Call, *, stream: bool) -> bytes:
        instructions = call.parameters.get("instructions")
        sent = rendering.window(call.items, self._sealer)
        body: dict[str, object] = {
            "model": call.model,
            "messages": messages.messages(sent, _decode(instructions) if instructions else None),
            **messages.parameters(call.parameters),
        }
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return _encode(body)


def _unreadable(error: Exception) -> ModelUnavailable:
    if isinstance(error, msgspec.MsgspecError):
        return decode_error(error)
    return ModelUnavailable("The model's answer lacks what the chat API promises.")


def _fields(event: dict[str, Any]) -> Fields:
    return {name: msgspec.Raw(_encode(value)) for name, value in event.items()}


class _Telling:
    """Tells chat deltas as the contract's events; knows what was told, to close it at the end."""

    def __init__(self) -> None:
        self._items: list[dict[str, Any]] = []
        self._open: int | None = None
        self._calls: dict[int, int] = {}
        self._reason: str | None = None

    def take(self, delta: dict[str, Any], *, whole: bool) -> Iterator[dict[str, Any]]:
        """Events of one delta, or of a whole message."""
        if delta.get("content"):
            yield from self._text(delta["content"])
        if delta.get("refusal"):
            yield from self._text(delta["refusal"])
        for index, call in enumerate(delta.get("tool_calls") or ()):
            yield from self._call(index if whole else call.get("index", index), call)

    def end(self, finished: str | None) -> Iterator[dict[str, Any]]:
        """Events that close what is open."""
        self._reason = _REASONS.get(finished or "")
        for index, item in enumerate(self._items):
            yield from (
                self._close_message(index, item)
                if item["type"] == "message"
                else (self._close_call(index, item))
            )

    def answer(self, used: dict[str, Any] | None, model: str) -> Answer:
        """The whole of what was told."""
        return Answer(
            status="incomplete" if self._reason else "completed",
            items=tuple(msgspec.Raw(_encode(item)) for item in self._items),
            usage=msgspec.Raw(_encode(messages.usage(used))),
            model=model,
            reason=self._reason,
        )

    def _text(self, text: str) -> Iterator[dict[str, Any]]:
        if self._open is None:
            self._open = len(self._items)
            item: dict[str, Any] = {
                "id": ids.item_id("msg"),
                "type": "message",
                "status": "in_progress",
                "content": [],
                "role": "assistant",
            }
            yield _event("output_item.added", self._open, item=dict(item))
            part = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
            yield self._part("content_part.added", self._open, item, part=dict(part))
            item["content"] = [part]
            self._items.append(item)
        item = self._items[self._open]
        item["content"][0]["text"] += text
        yield self._part("output_text.delta", self._open, item, delta=text, logprobs=[])

    def _call(self, number: int, call: dict[str, Any]) -> Iterator[dict[str, Any]]:
        function = call.get("function") or {}
        if number not in self._calls:
            index = self._calls[number] = len(self._items)
            item = {
                "id": ids.item_id("fc"),
                "type": "function_call",
                "status": "in_progress",
                "arguments": "",
                "call_id": call.get("id") or ids.call_id(),
                "name": function.get("name") or "",
            }
            self._items.append(item)
            yield _event("output_item.added", index, item=dict(item))
        index = self._calls[number]
        item = self._items[index]
        piece = function.get("arguments") or ""
        item["arguments"] += piece
        if piece:
            yield _event("function_call_arguments.delta", index, item_id=item["id"], delta=piece)

    def _close_message(self, index: int, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
        part = item["content"][0]
        item["status"] = "incomplete" if self._reason else "completed"
        yield self._part("output_text.done", index, item, text=part["text"], logprobs=[])
        yield self._part("content_part.done", index, item, part=part)
        yield _event("output_item.done", index, item=item)

    def _close_call(self, index: int, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
        item["status"] = "incomplete" if self._reason else "completed"
        yield _event(
            "function_call_arguments.done",
            index,
            item_id=item["id"],
            name=item["name"],
            arguments=item["arguments"],
        )
        yield _event("output_item.done", index, item=item)

    def _part(self, name: str, index: int, item: dict[str, Any], **fields: Any) -> dict[str, Any]:
        return _event(name, index, content_index=0, item_id=item["id"], **fields)


def _event(kind: str, index: int, /, **fields: Any) -> dict[str, Any]:
    """Keys as the wire has them: ``type`` first, the rest in order of the alphabet."""
    return {"type": f"response.{kind}", **dict(sorted({**fields, "output_index": index}.items()))}
