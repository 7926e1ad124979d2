"""The Responses API on the wire: one request read, its answer whole or as server-sent events.

The simulator keeps nothing, so it knows no conversation and no previous response. Deltas carry no
``obfuscation``.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from schemas.http import checks
from schemas.http.errors import Invalid, NotFound
from schemas.http.responses import IncompleteDetails, Response, ResponseError, Usage, echo
from schemas.http.stream_events import frame, lifecycle
from services import clock, ids
from services.simulator.answer import Answer, Ask, Call, pieces
from services.simulator.entries import entries_of_input, tokens_in
from services.simulator.reading import check_model, tokens_limit, values_in
from services.simulator.tool_calls import choice_of, tools_of

Frame = tuple[bool, bytes]
"""Whether a frame is a delta, which a delay goes before, and its bytes."""

ENCRYPTED = "reasoning.encrypted_content"
FAILURE = ResponseError(
    "server_error", "The server had an error while processing your request. Sorry about that!"
)
_ARGUMENTS_PIECE_LENGTH = 8

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(checks.Fields).decode


class ResponsesRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that can be answered; ``opened`` is its response while it runs."""

    ask: Ask
    stream: bool
    encrypted: bool
    opened: Response

    def whole(self, answer: Answer) -> bytes:
        """The body of a plain answer."""
        return _encode(_closed(self, answer, _items(self, answer)))

    def frames(self, answer: Answer) -> list[Frame]:
        """The events of a streamed answer, in order; the last one is the terminal event."""
        stream = _Stream()
        opened = _encode(self.opened)
        stream.lifecycle("response.created", opened)
        stream.lifecycle("response.in_progress", opened)
        items = _items(self, answer)
        if answer.status == "failed":
            _open_message(stream, items[-1], 0, answer.text)
        else:
            for index, item in enumerate(items):
                _stream_item(stream, item, index)
        closed = _closed(self, answer, items)
        stream.lifecycle(f"response.{closed.status}", _encode(closed))
        return stream.frames


def read(payload: bytes) -> ResponsesRequest:
    """The request in a body; raises what the contract answers to a wrong one."""
    values = values_in(payload)
    model = check_model(values.get("model"))
    _check_state(values)
    tools = tools_of(values.get("tools"))
    include = values.get("include")
    ask = Ask(
        model=model,
        entries=entries_of_input(values.get("input"), instructions=values.get("instructions")),
        tools=tools,
        tools_tokens=tokens_in(str(values["tools"])) if tools else 0,
        choice=choice_of(values.get("tool_choice")),
        parallel=values.get("parallel_tool_calls") is not False,
        tokens_max=tokens_limit(values, "max_output_tokens"),
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
        encrypted=isinstance(include, list) and ENCRYPTED in include,
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


def _items(request: ResponsesRequest, answer: Answer) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if answer.reasoning is not None:
        summary = [{"type": "summary_text", "text": answer.reasoning}]
        items.append({"id": ids.item_id("rs"), "type": "reasoning", "summary": summary})
        if request.encrypted:
            items[0]["encrypted_content"] = answer.encrypted
    if answer.calls:
        items.extend(_function_call(call) for call in answer.calls)
    else:
        status = "completed" if answer.status == "completed" else "incomplete"
        items.append(_message(answer.text, status))
    return items


def _function_call(call: Call) -> dict[str, Any]:
    return {
        "id": ids.item_id("fc"),
        "type": "function_call",
        "status": "completed",
        "arguments": call.arguments,
        "call_id": call.call_id,
        "name": call.name,
    }


def _message(text: str, status: str) -> dict[str, Any]:
    return {
        "id": ids.item_id("msg"),
        "type": "message",
        "status": status,
        "content": [_output_text(text)],
        "phase": "final_answer",
        "role": "assistant",
    }


def _output_text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _closed(request: ResponsesRequest, answer: Answer, items: list[dict[str, Any]]) -> Response:
    if answer.status == "failed":
        return msgspec.structs.replace(
            request.opened, status="failed", service_tier="default", error=FAILURE
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
        incomplete_details=None if completed else IncompleteDetails("max_output_tokens"),
        output=tuple(msgspec.Raw(_encode(item)) for item in items),
        usage=msgspec.Raw(_encode(usage)),
    )


class _Stream:
    """Frames so far; it numbers them, without gaps."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def lifecycle(self, name: str, response: bytes) -> None:
        self.frames.append((False, lifecycle(name, response, len(self.frames))))

    def event(self, name: str, fields: dict[str, Any]) -> None:
        # Keys after the type are alphabetical (contract 3.1).
        ordered = dict(sorted({**fields, "sequence_number": len(self.frames)}.items()))
        self.frames.append((False, frame(name, _encode({"type": name, **ordered}))))

    def deltas(self, name: str, texts: list[str], fields: dict[str, Any]) -> None:
        """One frame for each text: only the text and the number differ, so only they are made."""
        marked = {"type": name, **dict(sorted({**fields, "delta": 0}.items()))}
        before, after = frame(name, _encode(marked)).split(b'"delta":0', 1)
        # ``summary_index`` is the one key that sorts behind ``sequence_number``.
        after, mark, last = after.removesuffix(b"}\n\n").partition(b',"summary_index"')
        for text in texts:
            number = b',"sequence_number":%d' % len(self.frames)
            payload = b'%b"delta":%b%b%b%b%b}\n\n' % (
                before,
                _encode(text),
                after,
                number,
                mark,
                last,
            )
            self.frames.append((True, payload))


def _stream_item(stream: _Stream, item: dict[str, Any], index: int) -> None:
    match item["type"]:
        case "reasoning":
            _stream_reasoning(stream, item, index)
        case "function_call":
            _stream_call(stream, item, index)
        case _:
            _stream_message(stream, item, index)
    stream.event("response.output_item.done", {"item": item, "output_index": index})


def _stream_reasoning(stream: _Stream, item: dict[str, Any], index: int) -> None:
    part = item["summary"][0]
    place = {"item_id": item["id"], "output_index": index, "summary_index": 0}
    empty = {"id": item["id"], "type": "reasoning", "summary": []}
    name = "response.reasoning_summary"
    stream.event("response.output_item.added", {"item": empty, "output_index": index})
    stream.event(f"{name}_part.added", {**place, "part": {"type": "summary_text", "text": ""}})
    stream.deltas(f"{name}_text.delta", pieces(part["text"]), place)
    stream.event(f"{name}_text.done", {**place, "text": part["text"]})
    stream.event(f"{name}_part.done", {**place, "part": part})


def _stream_call(stream: _Stream, item: dict[str, Any], index: int) -> None:
    place = {"item_id": item["id"], "output_index": index}
    empty = {**item, "status": "in_progress", "arguments": ""}
    arguments = item["arguments"]
    size = _ARGUMENTS_PIECE_LENGTH
    parts = [arguments[at : at + size] for at in range(0, len(arguments), size)]
    stream.event("response.output_item.added", {"item": empty, "output_index": index})
    stream.deltas("response.function_call_arguments.delta", parts, place)
    stream.event("response.function_call_arguments.done", {**place, "arguments": arguments})


def _stream_message(stream: _Stream, item: dict[str, Any], index: int) -> None:
    part = item["content"][0]
    place = {"content_index": 0, "item_id": item["id"], "output_index": index}
    _open_message(stream, item, index, part["text"])
    stream.event("response.output_text.done", {**place, "logprobs": [], "text": part["text"]})
    stream.event("response.content_part.done", {**place, "part": part})


def _open_message(stream: _Stream, item: dict[str, Any], index: int, text: str) -> None:
    place = {"content_index": 0, "item_id": item["id"], "output_index": index}
    empty = {**item, "status": "in_progress", "content": []}
    stream.event("response.output_item.added", {"item": empty, "output_index": index})
    stream.event("response.content_part.added", {**place, "part": _output_text("")})
    stream.deltas("response.output_text.delta", pieces(text), {**place, "logprobs": []})
