"""The Response object, as clients read it, and how they ask for it (contract 1.2, 1.5)."""

from collections.abc import Sequence
from typing import Any

import msgspec

from schemas.http import checks
from schemas.http.checks import Fields

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class RetrieveResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What a GET asks for; ``starting_after`` is the number of the last event already had."""

    stream: bool = False
    starting_after: int | None = None
    include_obfuscation: bool = False
    include: tuple[str, ...] = ()


def read_retrieve(query: Sequence[tuple[str, str]]) -> RetrieveResponse:
    """The query of ``GET /responses/{id}``."""
    read = RetrieveResponse(include=checks.include(query))
    for name, value in query:
        match name:
            case "stream":
                read = msgspec.structs.replace(read, stream=checks.query_flag(value, name))
            case "starting_after":
                number = checks.query_integer(value, name, least=0)
                read = msgspec.structs.replace(read, starting_after=number)
            case "include_obfuscation":
                flag = checks.query_flag(value, name)
                read = msgspec.structs.replace(read, include_obfuscation=flag)
            case _:
                pass
    return read


class ResponseDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """What a delete answers."""

    id: str
    object: str = "response"
    deleted: bool = True


class ConversationReference(msgspec.Struct, frozen=True):
    """The conversation a response belongs to."""

    id: str


class ResponseError(msgspec.Struct, frozen=True):
    """Why a response failed."""

    code: str
    message: str


class IncompleteDetails(msgspec.Struct, frozen=True):
    """Why a response is incomplete."""

    reason: str


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """Every field, in the order of the wire (contract 1.5); times in unix seconds."""

    id: str
    object: str = "response"
    created_at: int
    status: str
    background: bool = False
    completed_at: int | None = None
    conversation: ConversationReference | None = None
    error: ResponseError | None = None
    frequency_penalty: msgspec.Raw = msgspec.Raw(b"0.0")
    incomplete_details: IncompleteDetails | None = None
    instructions: msgspec.Raw = checks.NULL
    max_output_tokens: msgspec.Raw = checks.NULL
    max_tool_calls: msgspec.Raw = checks.NULL
    model: str
    moderation: msgspec.Raw = checks.NULL
    output: tuple[msgspec.Raw, ...] = ()
    parallel_tool_calls: msgspec.Raw = msgspec.Raw(b"true")
    presence_penalty: msgspec.Raw = msgspec.Raw(b"0.0")
    previous_response_id: str | None = None
    prompt_cache_key: msgspec.Raw = checks.NULL
    prompt_cache_options: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    prompt_cache_retention: msgspec.Raw = checks.NULL
    reasoning: msgspec.Raw = msgspec.Raw(b'{"effort":null,"summary":null}')
    safety_identifier: msgspec.Raw = checks.NULL
    service_tier: str = "auto"
    store: bool = True
    temperature: msgspec.Raw = msgspec.Raw(b"1.0")
    text: msgspec.Raw = msgspec.Raw(b'{"format":{"type":"text"},"verbosity":"medium"}')
    tool_choice: msgspec.Raw = msgspec.Raw(b'"auto"')
    tools: msgspec.Raw = msgspec.Raw(b"[]")
    top_logprobs: msgspec.Raw = msgspec.Raw(b"0")
    top_p: msgspec.Raw = msgspec.Raw(b"1.0")
    truncation: msgspec.Raw = msgspec.Raw(b'"disabled"')
    usage: msgspec.Raw = checks.NULL
    user: msgspec.Raw = checks.NULL
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


_ECHOED = frozenset(
    {
        *("frequency_penalty", "instructions", "max_output_tokens", "max_tool_calls"),
        *("metadata", "parallel_tool_calls", "presence_penalty", "prompt_cache_key"),
        *("prompt_cache_retention", "safety_identifier", "temperature", "tool_choice", "tools"),
        *("top_logprobs", "top_p", "truncation", "user"),
    }
)
"""Parameters a Response repeats in the client's own bytes."""

_FILLED: dict[str, dict[str, Any]] = {
    "prompt_cache_options": {"mode": "implicit", "ttl": "30m"},
    "reasoning": {"effort": None, "summary": None},
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
}
"""Parameters a Response repeats whole, with what was left out of them."""

_NOT_REPEATED = {"prewarm"}


def echo(parameters: Fields) -> Fields:
    """The parameters a Response repeats, with the defaults inside those that have members."""
    echoed = {name: raw for name, raw in parameters.items() if name in _ECHOED}
    for name, default in _FILLED.items():
        if name in parameters:
            given = {
                member: value
                for member, value in _decode(parameters[name]).items()
                if value is not None and member not in _NOT_REPEATED
            }
            echoed[name] = msgspec.Raw(_encode(default | given))
    return echoed


def tier_served(parameters: Fields) -> str:
    """The service tier of a response that has ended: the one asked for, under its own name."""
    asked = _decode(parameters.get("service_tier", checks.NULL)) or "auto"
    return {"auto": "default", "fast": "priority"}.get(asked, asked)


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens as the provider counted them, in the contract's shape; details default to zero."""

    class InputDetails(msgspec.Struct, frozen=True, kw_only=True):
        """What of the input came from, or went to, the provider's cache."""

        cache_write_tokens: int = 0
        cached_tokens: int = 0

    class OutputDetails(msgspec.Struct, frozen=True, kw_only=True):
        """What of the output was reasoning."""

        reasoning_tokens: int = 0

    input_tokens: int = 0
    input_tokens_details: InputDetails = InputDetails()
    output_tokens: int = 0
    output_tokens_details: OutputDetails = OutputDetails()
    total_tokens: int = 0


class CompactedResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A window made smaller: the user's own messages, then their summary (contract 5.3)."""

    id: str
    object: str = "response.compaction"
    created_at: int
    output: tuple[msgspec.Raw, ...]
    usage: msgspec.Raw
