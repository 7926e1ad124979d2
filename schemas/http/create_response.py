"""Body of ``POST /v1/responses`` (contract 1.3).

Parameters are checked here and then carried as the client's own bytes: to the log, to the model,
and back in the Response.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from schemas import items
from schemas.http import checks, known, parameters, sources
from schemas.http.checks import Fields
from schemas.http.errors import ApiError, Invalid

STATE_FIELDS = frozenset(
    {"input", "conversation", "previous_response_id", "stream_options", "store"}
)
"""Fields that are not stored as parameters: what they mean is stored, or they mean nothing once
the request has been answered. ``stream`` and ``background`` stay, to tell how a turn was asked for.
"""

_SOURCES = ("input", "previous_response_id", "prompt", "conversation")
_MEANT = (
    *("store", "stream", "stream_options", "background", "background_options"),
    *("service_tier", "include", "truncation", "context_management"),
)
"""Parameters this server itself acts on."""


class CreateResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request; ``input`` raw, ``parameters`` all the rest but state, raw.

    ``model`` is none where the previous response gives it. ``compact_threshold`` is in tokens, none
    for the server's own; it counts only where ``context_managed``.
    """

    model: str | None
    input: msgspec.Raw | None
    conversation: str | None
    previous_response_id: str | None
    store: bool
    stream: bool
    background: bool
    include: tuple[str, ...]
    include_obfuscation: bool
    context_managed: bool
    compact_threshold: int | None
    truncation: str
    parameters: Fields


def read_create(payload: bytes, *, strict: bool, generate: bool = True) -> CreateResponse:
    """The request in a body; raises in the contract's order of checks.

    ``strict``: parameters nobody knows are refused. ``generate`` false: it may leave the model
    nothing to answer.
    """
    given = checks.body(payload)
    model = _model(given)
    if generate and all(checks.is_null(given.get(name)) for name in _SOURCES):
        raise sources.nothing()
    names = known.CREATE_RESPONSE if strict else None
    if names is not None:
        _refuse_messages(given)
        known.refuse_unknown(given, names)
    given = checks.present(given)
    brought = sources.input_of(given)
    try:
        conversation = sources.conversation_of(given, names=names)
        previous = sources.previous_response_of(given)
        parameters.check(given, parameters.CREATE, names=names)
        values = {name: checks.plain(given[name]) for name in _MEANT if name in given}
        _check_combinations(values)
        sources.refuse_two(given)
        sources.refuse_prompt(given)
        if generate:
            sources.refuse_nothing(given)
    except ApiError:
        # The contract checks items before all of this. Reading them is left to whoever runs the
        # turn, so they are looked at here only when there is something else to say.
        _check_items(brought)
        raise
    return CreateResponse(
        model=model,
        input=brought,
        conversation=conversation,
        previous_response_id=previous,
        store=values.get("store", True),
        stream=values.get("stream", False),
        background=values.get("background", False),
        include=tuple(values.get("include", ())),
        include_obfuscation=values.get("stream_options", {}).get("include_obfuscation") is True,
        context_managed="context_management" in values,
        compact_threshold=_lowest(values.get("context_management", ())),
        truncation=values.get("truncation", "disabled"),
        parameters={name: raw for name, raw in given.items() if name not in STATE_FIELDS},
    )


def _model(given: Fields) -> str | None:
    raw = given.get("model")
    if raw is None:
        if all(checks.is_null(given.get(name)) for name in ("prompt", "previous_response_id")):
            raise checks.missing("model")
        return None
    if checks.is_null(raw):
        # The one parameter in which null is not absence, and the one place that calls it that.
        raise checks.wrong_type("model", "a string", msgspec.Raw(b"{}"))
    return checks.text(raw, "model")


def _lowest(entries: Iterable[dict[str, Any]]) -> int | None:
    """The threshold of several entries, any of which asks for a compaction."""
    thresholds = (entry.get("compact_threshold") for entry in entries)
    return min((one for one in thresholds if one is not None), default=None)


def _refuse_messages(given: Fields) -> None:
    if "messages" in given:
        raise Invalid(
            "Unsupported parameter: 'messages'. In the Responses API, this parameter has moved to "
            "'input'. Try again with the new parameter. See the API documentation for more "
            "information: https://platform.openai.com/docs/api-reference/responses/create.",
            code="unsupported_parameter",
        )


def _check_combinations(values: dict[str, Any]) -> None:
    stream, background = values.get("stream", False), values.get("background", False)
    if "stream_options" in values and not stream:
        raise Invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    if background and not values.get("store", True):
        raise Invalid(
            "Unsupported parameter: 'background' needs the response to be stored.",
            param="background",
            code="unsupported_parameter",
        )
    window = values.get("background_options", {}).get("completion_window")
    standard = values.get("service_tier", "auto") in {"auto", "default"}
    if window in {"2h", "8h"} and (stream or not background or not standard):
        raise Invalid(
            f"Invalid value: '{window}'. It is only supported when 'background' is enabled, with "
            "standard processing and without 'stream'.",
            param="background_options.completion_window",
            code="invalid_value",
        )


def _check_items(brought: msgspec.Raw | None) -> None:
    """Raise for an item that cannot be; what it refers to, or is encrypted, is not looked up."""
    if brought is None or checks.first_byte(brought) != b"[":
        return
    values, _ = items.without_trigger(checks.array(brought, "input"), "input")
    items.from_array(
        values,
        "input",
        mint=lambda prefix: prefix,
        accept=lambda _blob, _item_id: None,
        known=dict.fromkeys(items.references(values, "input"), checks.NULL),
    )
