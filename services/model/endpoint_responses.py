"""The model through an upstream's Responses API; used without its state (``store: false``)."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from schemas.http import checks
from schemas.http.checks import Fields
from schemas.http.responses import Usage
from services.model import Answer, Call, ModelUnavailable, rendering
from services.model.upstream import Upstream, decode_error, drain
from services.sealing import Sealer


class _Error(msgspec.Struct):
    code: str | None = None
    message: str | None = None


class _Details(msgspec.Struct):
    reason: str | None = None


class _Cached(msgspec.Struct):
    cache_write_tokens: int | None = 0
    cached_tokens: int | None = 0


class _Reasoned(msgspec.Struct):
    reasoning_tokens: int | None = 0


class _Usage(msgspec.Struct):
    """As upstreams send it: anything may be missing or null."""

    input_tokens: int | None = 0
    input_tokens_details: _Cached | None = None
    output_tokens: int | None = 0
    output_tokens_details: _Reasoned | None = None
    total_tokens: int | None = 0


class _Response(msgspec.Struct):
    status: str
    output: tuple[msgspec.Raw, ...]
    model: str = ""
    usage: _Usage | None = None
    error: _Error | None = None
    incomplete_details: _Details | None = None


class _Event(msgspec.Struct):
    type: str = ""
    response: msgspec.Raw = checks.NULL
    message: str | None = None
    error: _Error | None = None


_encode = msgspec.json.Encoder().encode
_response = msgspec.json.Decoder(_Response).decode
_event = msgspec.json.Decoder(_Event).decode
_fields = msgspec.json.Decoder(Fields).decode

_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
_LIFECYCLE = frozenset({"response.created", "response.queued", "response.in_progress", "keepalive"})


class ResponsesEndpoint:
    """Calls ``POST /responses`` of the upstream with the whole window."""

    def __init__(self, upstream: Upstream, sealer: Sealer) -> None:
        """``sealer`` opens compactions, which the upstream could not read."""
        self._upstream = upstream
        self._sealer = sealer

    async def complete(self, call: Call) -> Answer:
        """As the protocol says."""
        answer = await self._upstream.post("/responses", self._body(call, stream=False))
        try:
            return _answer(_response(answer), call)
        except msgspec.MsgspecError as error:
            raise decode_error(error) from error

    async def stream(self, call: Call) -> AsyncGenerator[Fields | Answer]:
        """As the protocol says."""
        answer: Answer | None = None
        body = self._body(call, stream=True)
        async with aclosing(self._upstream.stream("/responses", body)) as events:
            try:
                async for data in events:
                    event = _event(data)
                    if event.type in _TERMINAL and not checks.is_null(event.response):
                        answer = _answer(_response(event.response), call)
                        break
                    if event.type == "error":
                        inner = event.error or _Error()
                        raise ModelUnavailable(
                            event.message or inner.message or "The model reported an error."
                        )
                    if event.type not in _LIFECYCLE:
                        yield _fields(data)
            except msgspec.MsgspecError as error:
                raise decode_error(error) from error
            if answer is None:
                raise ModelUnavailable("The model's answer broke off.")
            await drain(events)
        yield answer

    async def models(self) -> bytes:
        """As the protocol says."""
        return await self._upstream.get("/models")

    async def aclose(self) -> None:
        """As the protocol says."""
        await self._upstream.aclose()

    def _body(self, call: Call, *, stream: bool) -> bytes:
        sent = rendering.window(call.items, self._sealer)
        body: dict[str, object] = {
            "model": call.model,
            "input": [item.raw for item in sent],
            **rendering.parameters(call.parameters),
            "store": False,
            "stream": stream,
        }
        return _encode(body)


def _answer(response: _Response, call: Call) -> Answer:
    error = response.error
    details = response.incomplete_details
    return Answer(
        status=response.status,
        items=response.output,
        usage=msgspec.Raw(_encode(_counted(response.usage or _Usage()))),
        model=response.model or call.model,
        reason=details.reason if details else None,
        error_code=(error.code or "server_error") if error else None,
        error_message=error.message if error else None,
    )


def _counted(usage: _Usage) -> Usage:
    cached = usage.input_tokens_details or _Cached()
    reasoned = usage.output_tokens_details or _Reasoned()
    return Usage(
        input_tokens=usage.input_tokens or 0,
        input_tokens_details=Usage.InputDetails(
            cache_write_tokens=cached.cache_write_tokens or 0,
            cached_tokens=cached.cached_tokens or 0,
        ),
        output_tokens=usage.output_tokens or 0,
        output_tokens_details=Usage.OutputDetails(reasoning_tokens=reasoned.reasoning_tokens or 0),
        total_tokens=usage.total_tokens or 0,
    )
