"""The model through an upstream's Chat Completions API, told in the contract's events."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from schemas.http.checks import Fields
from services.model import (
    Answer,
    Call,
    ModelRefused,
    ModelUnavailable,
    chat_parameters,
    rendering,
)
from services.model.chat_answer import ChatAnswer
from services.model.refusals import words
from services.model.upstream import UNREADABLE, Upstream, decode_error, failed
from services.sealing import Sealer

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

_MISSHAPEN = (*UNREADABLE, KeyError, IndexError, TypeError, AttributeError)
"""What reading a body of another shape than the chat API's comes to."""


class ChatEndpoint:
    """Calls ``POST /chat/completions`` of the upstream with the whole window."""

    def __init__(self, upstream: Upstream, sealer: Sealer) -> None:
        """``sealer`` opens compactions, which the upstream could not read."""
        self._upstream = upstream
        self._sealer = sealer

    async def complete(self, call: Call) -> Answer:
        """As the protocol says."""
        payload = await self._upstream.post(
            "/chat/completions", await self._body(call, stream=False)
        )
        try:
            body = _decode(payload)
            if error := body.get("error"):
                return _failed(call, error)
            choice = body["choices"][0]
            if choice.get("error") or choice.get("finish_reason") == "error":
                return _failed(call, choice.get("error"))
            telling = ChatAnswer()
            for _ in telling.take(choice["message"], choice.get("logprobs")):
                pass
            for _ in telling.end(choice.get("finish_reason")):
                pass
            return telling.answer(body.get("usage"), words(body.get("model")) or call.model)
        except _MISSHAPEN as error:
            raise _unreadable(error) from error

    async def stream(self, call: Call) -> AsyncGenerator[Fields | Answer]:
        """As the protocol says."""
        telling = ChatAnswer()
        used: dict[str, Any] | None = None
        model, finished = call.model, None
        body = await self._body(call, stream=True)
        async with aclosing(self._upstream.stream("/chat/completions", body)) as chunks:
            async for data in chunks:
                try:
                    chunk = _decode(data)
                    choice = (chunk.get("choices") or [{}])[0]
                    error = chunk.get("error") or choice.get("error")
                    used, model = chunk.get("usage") or used, words(chunk.get("model")) or model
                    finished = choice.get("finish_reason") or finished
                    delta, logprobs = choice.get("delta") or {}, choice.get("logprobs")
                    events = [_fields(event) for event in telling.take(delta, logprobs)]
                except _MISSHAPEN as misshapen:
                    raise _unreadable(misshapen) from misshapen
                for event in events:
                    yield event
                if error or finished == "error":
                    yield _failed(call, error)
                    return
        if finished is None:
            raise ModelUnavailable("The model's answer broke off.")
        try:
            events = [_fields(event) for event in telling.end(finished)]
            answer = telling.answer(used, model)
        except _MISSHAPEN as misshapen:
            raise _unreadable(misshapen) from misshapen
        for event in events:
            yield event
        yield answer

    async def models(self) -> bytes:
        """As the protocol says."""
        return await self._upstream.models()

    async def retrieve_model(self, name: str) -> bytes:
        """As the protocol says."""
        return await self._upstream.model(name)

    async def aclose(self) -> None:
        """As the protocol says."""
        await self._upstream.aclose()

    async def _body(self, call: Call, *, stream: bool) -> bytes:
        given = call.parameters.get("instructions")
        instructions = _decode(given) if given else None
        try:
            body: dict[str, object] = {
                "model": call.model,
                "messages": await rendering.as_messages(call.items, self._sealer, instructions),
                **chat_parameters.parameters(call.parameters),
            }
        except (KeyError, TypeError, AttributeError) as error:
            # Fields of this kind go through to an upstream that judges them; here they are read.
            raise ModelRefused(
                "The request holds values that cannot be told through the chat API.",
                status=400,
                code="invalid_value",
                param=None,
            ) from error
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return _encode(body)


def _failed(call: Call, error: Any) -> Answer:
    """The answer of a server that says, instead of a choice or in it, what went wrong."""
    told = error if isinstance(error, dict) else {"message": error}
    message = words(told.get("message")) or "The model reported an error."
    return failed(call, code=words(told.get("code")), message=message)


def _unreadable(error: Exception) -> ModelUnavailable:
    if isinstance(error, UNREADABLE):
        return decode_error(error)
    return ModelUnavailable("The model's answer lacks what the chat API promises.")


def _fields(event: dict[str, Any]) -> Fields:
    return {name: msgspec.Raw(_encode(value)) for name, value in event.items()}
