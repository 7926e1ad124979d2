"""Body of ``POST /v1/responses`` and the Response object (contract 1.3 to 1.5).

Parameters are checked here and then carried as the client's own bytes: to the log, to the model,
and back in the Response.
"""

from collections.abc import Sequence

import msgspec

from schemas.http import checks
from schemas.http.checks import Fields
from schemas.http.errors import Invalid

INPUT_LENGTH_MAX = 10_485_760
STATE_FIELDS = frozenset(
    {"input", "conversation", "previous_response_id", "stream_options", "store"}
)
"""Fields of a request that are not stored as its parameters: they are stored as what they mean."""

_SERVICE_TIERS = ("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")


class CreateResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request; ``input`` raw, ``parameters`` all the rest but state, raw."""

    model: str
    input: msgspec.Raw | None
    conversation: str | None
    previous_response_id: str | None
    store: bool
    stream: bool
    background: bool
    parameters: Fields


def read_create(payload: bytes) -> CreateResponse:
    """The request in a body; raises in the contract's order of checks."""
    given = checks.body(payload)
    if checks.is_null(given.get("model")):
        raise checks.missing("model")
    model = checks.text(given["model"], "model")
    if all(
        checks.is_null(given.get(name))
        for name in ("input", "previous_response_id", "prompt", "conversation")
    ):
        raise Invalid(
            "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation' "
            "must be provided.",
            code="missing_required_parameter",
        )
    _check_input(given)
    conversation = _conversation(given)
    previous = _previous(given)
    _check_parameters(given)
    if conversation is not None and previous is not None:
        raise Invalid(
            "Mutually exclusive parameters: ''. Ensure you are only providing one of: "
            "'pre..._id' or 'conversation'.",
            code="mutually_exclusive_parameters",
        )
    store = _flag(given, "store", default=True)
    background = _flag(given, "background", default=False)
    if background and not store:
        raise Invalid(
            "Unsupported parameter: 'background' needs the response to be stored.",
            param="background",
            code="unsupported_parameter",
        )
    return CreateResponse(
        model=model,
        input=None if checks.is_null(given.get("input")) else given["input"],
        conversation=conversation,
        previous_response_id=previous,
        store=store,
        stream=_flag(given, "stream", default=False),
        background=background,
        parameters={
            name: raw
            for name, raw in given.items()
            if name not in STATE_FIELDS and not checks.is_null(raw)
        },
    )


class RetrieveResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What a GET asks for; ``starting_after`` is the number of the last event already had."""

    stream: bool = False
    starting_after: int | None = None
    include_obfuscation: bool = False


def read_retrieve(query: Sequence[tuple[str, str]]) -> RetrieveResponse:
    """The query of ``GET /responses/{id}``."""
    read = RetrieveResponse()
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


def _flag(given: Fields, name: str, *, default: bool) -> bool:
    raw = given.get(name)
    return default if raw is None or checks.is_null(raw) else checks.boolean(raw, name)


def _check_input(given: Fields) -> None:
    raw = given.get("input")
    if raw is None or checks.is_null(raw):
        return
    match checks.first_byte(raw):
        case b'"':
            length = len(checks.text(raw, "input"))
            if length > INPUT_LENGTH_MAX:
                raise Invalid(
                    "Invalid 'input': string too long. Expected a string with maximum length "
                    f"{INPUT_LENGTH_MAX}, but got a string with length {length} instead.",
                    param="input",
                    code="string_above_max_length",
                )
        case b"[":
            pass
        case _:
            raise Invalid(
                "Invalid type for 'input': expected one of a string or array of input items, "
                f"but got {checks.kind(raw)} instead.",
                param="input",
                code="invalid_type",
            )


def _conversation(given: Fields) -> str | None:
    raw = given.get("conversation")
    if raw is None or checks.is_null(raw):
        return None
    if checks.first_byte(raw) == b"{":
        inner = checks.fields(raw, "conversation")
        if "id" not in inner:
            raise checks.missing("conversation.id")
        value = checks.text(inner["id"], "conversation.id")
    else:
        value = checks.text(raw, "conversation")
    return checks.named(value, "conv", "conversation")


def _previous(given: Fields) -> str | None:
    raw = given.get("previous_response_id")
    if raw is None or checks.is_null(raw):
        return None
    return checks.named(checks.text(raw, "previous_response_id"), "resp", "previous_response_id")


_CHECKED = (
    "include",
    "tools",
    "tool_choice",
    "metadata",
    "text",
    "temperature",
    "top_p",
    "parallel_tool_calls",
    "stream",
    "stream_options",
    "background",
    "max_output_tokens",
    "max_tool_calls",
    "reasoning",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt",
    "truncation",
    "instructions",
    "store",
    "service_tier",
    "top_logprobs",
)
"""In the contract's order, so that the same wrong request yields the same error (contract 1.3)."""


def _check_parameters(given: Fields) -> None:
    for name in _CHECKED:
        raw = given.get(name)
        if raw is not None and not checks.is_null(raw):
            _check_parameter(name, raw)


def _check_parameter(name: str, raw: msgspec.Raw) -> None:
    match name:
        case "metadata":
            checks.metadata(raw)
        case "parallel_tool_calls" | "stream" | "store" | "background":
            checks.boolean(raw, name)
        case "temperature":
            checks.number(raw, name, least=0, most=2)
        case "top_p":
            checks.number(raw, name, least=0, most=1)
        case "max_output_tokens":
            checks.integer(raw, name, least=16)
        case "max_tool_calls":
            checks.integer(raw, name, least=1)
        case "top_logprobs":
            checks.integer(raw, name, least=0, most=20)
        case "instructions" | "user" | "safety_identifier" | "prompt_cache_key":
            checks.text(raw, name)
        case "truncation":
            checks.one_of(checks.text(raw, name), ("auto", "disabled"), name)
        case "service_tier":
            checks.one_of(checks.text(raw, name), _SERVICE_TIERS, name)
        case "include" | "tools":
            _check_array(raw, name)
        case "text":
            _check_typed(checks.fields(raw, name).get("format"), "text.format")
        case "tool_choice":
            _check_tool_choice(raw)
        case _:
            checks.fields(raw, name)


def _check_typed(raw: msgspec.Raw | None, param: str) -> None:
    """An object that says its type, or nothing."""
    if raw is None or checks.is_null(raw):
        return
    inner = checks.fields(raw, param)
    if "type" not in inner:
        raise checks.missing(f"{param}.type")
    checks.text(inner["type"], f"{param}.type")


def _check_tool_choice(raw: msgspec.Raw) -> None:
    if checks.first_byte(raw) == b'"':
        checks.one_of(checks.text(raw, "tool_choice"), ("none", "auto", "required"), "tool_choice")
        return
    _check_typed(raw, "tool_choice")
    inner = checks.fields(raw, "tool_choice")
    if checks.plain(inner["type"]) == "function" and "name" not in inner:
        raise checks.missing("tool_choice.name")


def _check_array(raw: msgspec.Raw, name: str) -> None:
    for index, value in enumerate(checks.array(raw, name)):
        if name == "include":
            checks.text(value, f"include[{index}]")
            continue
        tool = checks.fields(value, f"tools[{index}]")
        if "type" not in tool:
            raise checks.missing(f"tools[{index}].type")
        if checks.text(tool["type"], f"tools[{index}].type") == "function" and "name" not in tool:
            raise checks.missing(f"tools[{index}].name")


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
    field.name
    for field in msgspec.structs.fields(Response)
    if field.type is msgspec.Raw and field.name != "usage"
)
_FILLED = ("text", "reasoning")


def echo(parameters: Fields) -> Fields:
    """The parameters a Response repeats, with the defaults inside ``text`` and ``reasoning``."""
    echoed = {name: raw for name, raw in parameters.items() if name in _ECHOED}
    for name in _FILLED:
        if name in echoed:
            default = msgspec.json.decode(msgspec.structs.fields(Response)[_index(name)].default)
            echoed[name] = msgspec.Raw(
                msgspec.json.encode(default | msgspec.json.decode(echoed[name]))
            )
    return echoed


def _index(name: str) -> int:
    return Response.__struct_fields__.index(name)


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
