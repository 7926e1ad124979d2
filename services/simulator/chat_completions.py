"""The Chat Completions API on the wire: one request read, its answer whole or in chunks.

It has no hosted tools; reasoning shows as ``reasoning_content``, as other servers than OpenAI's
tell it.
"""

from typing import Any

import msgspec

from schemas.http import checks
from schemas.http.errors import ServerFault
from services import clock, ids
from services.simulator.answer import Answer, Ask, Call, pieces
from services.simulator.entries import entries_of_messages, tokens_in
from services.simulator.faults import Frame, message_of
from services.simulator.logprobs import logprobs_of
from services.simulator.reading import check_model, schema_of, tokens_limit, values_in
from services.simulator.tool_calls import choice_of, tools_of

DONE = b"data: [DONE]\n\n"
KEEPALIVE = b": keepalive\n\n"
FINGERPRINT = "fp_simulator"
_ARGUMENTS_PIECE_LENGTH = 8

_encode = msgspec.json.Encoder().encode


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that can be answered."""

    id: str
    created: int
    ask: Ask
    stream: bool
    include_usage: bool
    top_logprobs: int | None
    """None if no log probabilities are wanted."""

    def whole(self, answer: Answer) -> bytes:
        """The body of a plain answer; raises if it is to fail, since no status says so here."""
        if answer.status == "failed":
            raise _failure(answer)
        content = answer.commentary if answer.calls else answer.text
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if answer.refused else content,
            "refusal": answer.text if answer.refused else None,
            "annotations": [],
        }
        if answer.reasoning is not None:
            message["reasoning_content"] = answer.reasoning
        if answer.calls:
            message["tool_calls"] = [_tool_call(call) for call in answer.calls]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": self._logprobs(pieces(content or ""), refused=answer.refused),
            "finish_reason": _finish_reason(answer),
        }
        completion: dict[str, Any] = {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": _usage(answer),
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
        }
        if not answer.delivery.usage:
            del completion["usage"]
        return _encode(completion)

    def frames(self, answer: Answer) -> tuple[list[Frame], int]:
        """The chunks of a streamed answer, in order, and how many of them end it."""
        told = self.include_usage and answer.delivery.usage
        opening = None if answer.calls or answer.refused else ""
        first = {"role": "assistant", "content": opening, "refusal": None}
        frames = [(False, self._chunk([_delta(first)]))]
        if answer.delivery.unknown_event:
            future = {**self._head("chat.completion.future"), "choices": [], "detail": {}}
            frames.append((False, b"data: %b\n\n" % _encode(future)))
        if answer.reasoning is not None:
            frames.extend(self._text("reasoning_content", answer.reasoning))
        if answer.calls:
            frames.extend(self._text("content", answer.commentary or ""))
            for index, call in enumerate(answer.calls):
                frames.extend(self._call(call, index))
        else:
            frames.extend(self._text("refusal" if answer.refused else "content", answer.text))
        if answer.delivery.keepalive:
            frames = [
                kept
                for frame in frames
                for kept in ((((False, KEEPALIVE), frame)) if frame[0] else (frame,))
            ]
        if answer.status == "failed":
            return [*frames, (False, b"data: %b\n\n" % _error_event(answer))], 1
        end = [(False, self._chunk([_delta({}, _finish_reason(answer))]))]
        if told:
            end.append((False, self._chunk([], _usage(answer))))
        end.append((False, DONE))
        return [*frames, *end], len(end)

    def _text(self, name: str, text: str) -> list[Frame]:
        if self.top_logprobs is not None and name != "reasoning_content":
            return [(True, self._chunk([self._probable(name, piece)])) for piece in pieces(text)]
        marked = b'"%b":0' % name.encode()
        before, after = self._chunk([_delta({name: 0})]).split(marked, 1)
        opened = before + marked[:-1]
        return [(True, b"%b%b%b" % (opened, _encode(piece), after)) for piece in pieces(text)]

    def _probable(self, name: str, piece: str) -> dict[str, Any]:
        logprobs = self._logprobs([piece], refused=name == "refusal")
        return {**_delta({name: piece}), "logprobs": logprobs}

    def _logprobs(self, texts: list[str], *, refused: bool) -> dict[str, Any] | None:
        if self.top_logprobs is None:
            return None
        logprobs = logprobs_of(texts, top=self.top_logprobs)
        if refused:
            return {"content": None, "refusal": logprobs}
        return {"content": logprobs, "refusal": None}

    def _call(self, call: Call, index: int) -> list[Frame]:
        opened = _tool_call(msgspec.structs.replace(call, arguments=""))
        frames = [(False, self._chunk([_delta({"tool_calls": [{"index": index, **opened}]})]))]
        for at in range(0, len(call.arguments), _ARGUMENTS_PIECE_LENGTH):
            piece = call.arguments[at : at + _ARGUMENTS_PIECE_LENGTH]
            inner = (
                {"custom": {"input": piece}} if call.custom else {"function": {"arguments": piece}}
            )
            change = {"index": index, **inner}
            frames.append((True, self._chunk([_delta({"tool_calls": [change]})])))
        return frames

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.ask.model}

    def _chunk(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        chunk = {
            **self._head("chat.completion.chunk"),
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
            "choices": choices,
        }
        if self.include_usage:
            chunk["usage"] = usage
        return b"data: %b\n\n" % _encode(chunk)


def read(payload: bytes) -> ChatRequest:
    """The request in a body; raises what the contract answers to a wrong one."""
    values = values_in(payload)
    model = check_model(values.get("model"), chat=True)
    if values.get("messages") is None:
        raise checks.missing("messages")
    limit = "max_tokens" if values.get("max_completion_tokens") is None else "max_completion_tokens"
    tools = tools_of(values.get("tools"))
    options = values.get("stream_options") or {}
    top_logprobs = values.get("top_logprobs")
    probable = values.get("logprobs") is True
    return ChatRequest(
        id=f"chatcmpl-{ids.unique()}",
        created=int(clock.now().timestamp()),
        ask=Ask(
            model=model,
            entries=entries_of_messages(values["messages"]),
            tools=tools,
            tools_tokens=tokens_in(str(values["tools"])) if tools else 0,
            choice=choice_of(values.get("tool_choice")),
            parallel=values.get("parallel_tool_calls") is not False,
            tokens_max=tokens_limit(values, limit),
            schema=schema_of(values.get("response_format")),
        ),
        stream=values.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        top_logprobs=(top_logprobs if isinstance(top_logprobs, int) else 0) if probable else None,
    )


def _delta(change: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": change, "logprobs": None, "finish_reason": finish_reason}


def _failure(answer: Answer) -> ServerFault:
    code = str(answer.reason)
    return ServerFault(message_of(code), code=code)


def _error_event(answer: Answer) -> bytes:
    failure = _failure(answer)
    if answer.trouble.error_event != "flat":
        return failure.body()
    # As vLLM and others spell it.
    return _encode({"object": "error", "message": failure.message, "code": failure.code})


def _tool_call(call: Call) -> dict[str, Any]:
    if call.custom:
        custom = {"name": call.name, "input": call.arguments}
        return {"id": call.call_id, "type": "custom", "custom": custom}
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.call_id, "type": "function", "function": function}


def _finish_reason(answer: Answer) -> str:
    if answer.status == "incomplete":
        return "content_filter" if answer.reason == "content_filter" else "length"
    return "tool_calls" if answer.calls else "stop"


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": answer.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
