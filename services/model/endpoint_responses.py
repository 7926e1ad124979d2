"""The model through an upstream's Responses API; used without its state (``store: false``)."""

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
import structlog

from schemas.http.checks import Fields
from schemas.http.responses import Usage
from services.model import Answer, Call, ModelUnavailable, rendering, upstream_events
from services.model.refusals import words
from services.model.upstream import UNREADABLE, Upstream, decode_error, drain, failed
from services.model.upstream_events import Beginning, Dropped, End, Failure
from services.sealing import Sealer

log = structlog.get_logger()

TYPE_LENGTH_MAX = 64
"""Characters of an unknown event's type that reach the log."""


class _Error(msgspec.Struct):
    code: Any = None
    message: Any = None


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
    output: tuple[msgspec.Raw, ...] | None = None
    model: str | None = None
    usage: _Usage | None = None
    error: _Error | None = None
    incomplete_details: _Details | None = None


class _Compacted(msgspec.Struct):
    output: tuple[msgspec.Raw, ...]
    usage: _Usage | None = None


_OF_COMPACT = frozenset(
    {
        "instructions",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "service_tier",
    }
)
"""Parameters that ``POST /responses/compact`` takes (contract 5.3)."""

_encode = msgspec.json.Encoder().encode
_compacted = msgspec.json.Decoder(_Compacted).decode
_response = msgspec.json.Decoder(_Response).decode

_CANCELLED = "The model's server cancelled its answer."


class ResponsesEndpoint:
    """Calls ``POST /responses`` of the upstream with the whole window."""

    def __init__(self, upstream: Upstream, sealer: Sealer) -> None:
        """``sealer`` opens compactions, which the upstream could not read."""
        self._upstream = upstream
        self._sealer = sealer

    async def complete(self, call: Call) -> Answer:
        """As the protocol says."""
        answer = await self._upstream.post("/responses", await self._body(call, stream=False))
        try:
            response = _response(answer)
            if response.output is None and response.status != "failed":
                raise ModelUnavailable("The model's answer has no output.")
            return _answer(response, call, self._sealer)
        except UNREADABLE as error:
            raise decode_error(error) from error

    async def stream(self, call: Call) -> AsyncGenerator[Fields | Answer]:
        """As the protocol says."""
        dropped: Counter[str] = Counter()
        body = await self._body(call, stream=True)
        async with aclosing(self._upstream.stream("/responses", body)) as events:
            async for data in events:
                event = _read(data, call, self._sealer)
                if isinstance(event, dict):
                    yield event
                elif isinstance(event, Answer):
                    answer = event
                    await drain(events)
                    break
                elif isinstance(event, Dropped):
                    dropped[event.type[:TYPE_LENGTH_MAX]] += 1
            else:
                raise ModelUnavailable("The model's answer broke off.")
        if dropped:
            log.debug("stream.events_dropped", types=dict(dropped))
        yield answer

    async def compact(self, call: Call) -> Answer:
        """As `services.model.Compacting` says."""
        body: dict[str, object] = {
            "model": call.model,
            "input": await rendering.as_input(call.items, self._sealer),
            **{name: raw for name, raw in call.parameters.items() if name in _OF_COMPACT},
        }
        payload = await self._upstream.post("/responses/compact", _encode(body))
        try:
            compacted = _compacted(payload)
        except UNREADABLE as error:
            raise decode_error(error) from error
        return Answer(
            status="completed",
            items=tuple(rendering.as_kept(raw, self._sealer) for raw in compacted.output),
            usage=msgspec.Raw(_encode(_counted(compacted.usage or _Usage()))),
            model=call.model,
        )

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
        body: dict[str, object] = {
            "model": call.model,
            "input": await rendering.as_input(call.items, self._sealer),
            **rendering.parameters(call.parameters),
            "store": False,
            "stream": stream,
        }
        return _encode(body)


def _read(data: str, call: Call, sealer: Sealer) -> Fields | Answer | Beginning | Dropped:
    """One event of a stream; the one that ends it as the answer."""
    try:
        event = upstream_events.read(data)
        match event:
            case dict():
                if "item" in event:
                    event["item"] = rendering.as_kept(event["item"], sealer)
                return event
            case End():
                return _answer(_response(event.response), call, sealer)
            case Failure():
                message = event.message or "The model reported an error."
                return failed(call, code=event.code, message=message)
            case _:
                return event
    except UNREADABLE as error:
        raise decode_error(error) from error


def _answer(response: _Response, call: Call, sealer: Sealer) -> Answer:
    details = response.incomplete_details
    status, error = response.status, response.error or _Error()
    if status == "cancelled":
        error = _Error(message=_CANCELLED)
    elif status not in {"completed", "incomplete", "failed"}:
        # It was asked to answer, and not to go on in the background.
        raise ModelUnavailable("The model's answer has no end.")
    answered = status in {"completed", "incomplete"}
    return Answer(
        status=status if answered else "failed",
        items=tuple(
            rendering.as_kept(upstream_events.item(raw), sealer) for raw in response.output or ()
        ),
        usage=msgspec.Raw(_encode(_counted(response.usage or _Usage()))),
        model=response.model or call.model,
        reason=details.reason if details else None,
        error_code=None if answered else words(error.code) or "server_error",
        error_message=None if answered else words(error.message) or "The model failed.",
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
