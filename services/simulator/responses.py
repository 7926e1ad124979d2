"""The Responses API on the wire: one request read, its answer whole or as server-sent events.

The simulator keeps nothing, so it knows no conversation and no previous response.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from schemas.http import checks
from schemas.http.errors import Invalid, NotFound
from schemas.http.responses import IncompleteDetails, Response, ResponseError, Usage, echo
from services import clock, ids
from services.simulator.answer import Answer, Ask
from services.simulator.entries import entries_of_input, tokens_in
from services.simulator.faults import Frame, message_of
from services.simulator.hosted_tools import Item, offer_of
from services.simulator.item_events import stream_broken, stream_item
from services.simulator.items import output_of
from services.simulator.reading import check_model, schema_of, tokens_limit, values_in
from services.simulator.stream import Stream
from services.simulator.tool_calls import choice_of, tools_of

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(checks.Fields).decode


class ResponsesRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that can be answered; ``opened`` is its response while it runs."""

    ask: Ask
    stream: bool
    include: frozenset[str]
    top_logprobs: int
    opened: Response

    def whole(self, answer: Answer) -> bytes:
        """The body of a plain answer."""
        return _encode(_closed(self, answer, self._output(answer)))

    def frames(self, answer: Answer) -> tuple[list[Frame], int]:
        """The events of a streamed answer, in order, and how many of them end it."""
        stream = Stream(answer.delivery, partial_images=_partial_images(answer))
        opened = self.opened
        if answer.delivery.queued:
            queued = _encode(msgspec.structs.replace(opened, status="queued"))
            stream.lifecycle("response.created", queued)
            stream.lifecycle("response.queued", queued)
            stream.lifecycle("response.in_progress", _encode(opened))
        else:
            running = _encode(opened)
            stream.lifecycle("response.created", running)
            stream.lifecycle("response.in_progress", running)
        items = self._output(answer)
        for index, item in enumerate(items):
            if answer.status == "failed" and index == len(items) - 1:
                stream_broken(stream, item, index)
            else:
                stream_item(stream, item, index)
        if answer.trouble.error_event:
            stream.event("error", _error_event(answer))
        closed = _closed(self, answer, items)
        stream.lifecycle(f"response.{closed.status}", _encode(closed))
        return stream.frames, 1

    def _output(self, answer: Answer) -> list[Item]:
        return output_of(answer, include=self.include, top_logprobs=self.top_logprobs)


def read(payload: bytes) -> ResponsesRequest:
    """The request in a body; raises what the contract answers to a wrong one."""
    values = values_in(payload)
    model = check_model(values.get("model"))
    _check_state(values)
    tools = values.get("tools")
    include = values.get("include")
    top_logprobs = values.get("top_logprobs")
    text = values.get("text")
    ask = Ask(
        model=model,
        entries=entries_of_input(values.get("input"), instructions=values.get("instructions")),
        tools=tools_of(tools),
        tools_tokens=tokens_in(str(tools)) if tools else 0,
        offer=offer_of(tools, values.get("input")),
        choice=choice_of(values.get("tool_choice")),
        parallel=values.get("parallel_tool_calls") is not False,
        tokens_max=tokens_limit(values, "max_output_tokens"),
        schema=schema_of(text.get("format")) if isinstance(text, dict) else None,
    )
    opened = Response(
        id=ids.item_id("resp"),
        created_at=int(clock.now().timestamp()),
        status="in_progress",
        model=model,
        store=values.get("store") is not False,
    )
    echoed = echo({name: raw for name, raw in _fields(payload).items() if values[name] is not None})
    return ResponsesRequest(
        ask=ask,
        stream=values.get("stream") is True,
        include=frozenset(map(str, include)) if isinstance(include, list) else frozenset(),
        top_logprobs=top_logprobs if isinstance(top_logprobs, int) else 0,
        opened=msgspec.structs.replace(opened, **echoed),
    )


def _check_state(values: Mapping[str, Any]) -> None:
    if values.get("conversation") is not None:
        raise NotFound(f"Conversation with id '{values['conversation']}' not found.")
    if values.get("previous_response_id") is not None:
        raise Invalid(
            f"Previous response with id '{values['previous_response_id']}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    if values.get("input") is None:
        raise Invalid(
            "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation' "
            "must be provided.",
            code="missing_required_parameter",
        )


def _partial_images(answer: Answer) -> int:
    for use in answer.uses:
        if use.kind == "image_generation":
            asked = use.tool.get("partial_images", 0 if use.tool else 1)
            return asked if isinstance(asked, int) else 0
    return 0


def _error_event(answer: Answer) -> dict[str, Any]:
    code = str(answer.reason)
    error = {"code": code, "message": message_of(code), "param": None}
    if answer.trouble.error_event == "flat":
        return error
    return {"error": {"type": "server_error", **error}}


def _closed(request: ResponsesRequest, answer: Answer, items: list[Item]) -> Response:
    if answer.status == "failed":
        code = str(answer.reason)
        return msgspec.structs.replace(
            request.opened,
            status="failed",
            service_tier="default",
            error=ResponseError(code, message_of(code)),
        )
    completed = answer.status == "completed"
    usage = Usage(
        input_tokens=answer.input_tokens,
        output_tokens=answer.output_tokens,
        output_tokens_details=Usage.OutputDetails(reasoning_tokens=answer.reasoning_tokens),
        total_tokens=answer.input_tokens + answer.output_tokens,
    )
    return msgspec.structs.replace(
        request.opened,
        status=answer.status,
        service_tier="default",
        completed_at=int(clock.now().timestamp()) if completed else None,
        incomplete_details=None if completed else IncompleteDetails(str(answer.reason)),
        output=tuple(msgspec.Raw(_encode(item)) for item in items),
        usage=msgspec.Raw(_encode(usage)) if answer.delivery.usage else checks.NULL,
    )
