"""The Chat Completions API on the wire: one request read, its answer whole or in chunks.

It has no reasoning items; what was reasoned only shows in ``usage``.
"""

from typing import Any

import msgspec

from schemas.http import checks
from schemas.http.errors import ServerFault
from services import clock, ids
from services.simulator.answer import Answer, Ask, Call, pieces
from services.simulator.entries import entries_of_messages, tokens_in
from services.simulator.reading import check_model, tokens_limit, values_in
from services.simulator.responses import FAILURE, Frame
from services.simulator.tool_calls import choice_of, tools_of

DONE = b"data: [DONE]\n\n"
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

    def whole(self, answer: Answer) -> bytes:
        """The body of a plain answer; raises if it is to fail, since no status says so here."""
        if answer.status == "failed":
            raise ServerFault(FAILURE.message, code=FAILURE.code)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if answer.calls else answer.text,
            "refusal": None,
            "annotations": [],
        }
        if answer.calls:
            message["tool_calls"] = [_tool_call(call) for call in answer.calls]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": _finish_reason(answer),
        }
        return _encode(
            {
                **self._head("chat.completion"),
                "choices": [choice],
                "usage": _usage(answer),
                "service_tier": "default",
                "system_fingerprint": FINGERPRINT,
            }
        )

    def frames(self, answer: Answer) -> list[Frame]:
        """The chunks of a streamed answer, in order; the last one says that it is done."""
        first = {"role": "assistant", "content": None if answer.calls else "", "refusal": None}
        frames = [(False, self._chunk([_delta(first)]))]
        if answer.calls:
            for index, call in enumerate(answer.calls):
                frames.extend(self._call(call, index))
        else:
            before, after = self._chunk([_delta({"content": 0})]).split(b'"content":0', 1)
            frames.extend(
                (True, b'%b"content":%b%b' % (before, _encode(piece), after))
                for piece in pieces(answer.text)
            )
        if answer.status == "failed":
            error = ServerFault(FAILURE.message, code=FAILURE.code)
            return [*frames, (False, b"data: %b\n\n" % error.body())]
        frames.append((False, self._chunk([_delta({}, _finish_reason(answer))])))
        if self.include_usage:
            frames.append((False, self._chunk([], _usage(answer))))
        return [*frames, (False, DONE)]

    def _call(self, call: Call, index: int) -> list[Frame]:
        opened = _tool_call(msgspec.structs.replace(call, arguments=""))
        frames = [(False, self._chunk([_delta({"tool_calls": [{"index": index, **opened}]})]))]
        for at in range(0, len(call.arguments), _ARGUMENTS_PIECE_LENGTH):
            piece = call.arguments[at : at + _ARGUMENTS_PIECE_LENGTH]
            change = {"index": index, "function": {"arguments": piece}}
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
        ),
        stream=values.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def _delta(change: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": change, "logprobs": None, "finish_reason": finish_reason}


def _tool_call(call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.call_id, "type": "function", "function": function}


def _finish_reason(answer: Answer) -> str:
    if answer.status == "incomplete":
        return "length"
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
