"""Body of ``POST /v1/responses/input_tokens`` (contract 5.4)."""

import msgspec

from schemas.http import checks, known, parameters, sources
from schemas.http.checks import Fields


class CountInputTokens(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request; ``input`` and ``parameters``, all that is not state, raw."""

    model: str | None
    input: msgspec.Raw | None
    conversation: str | None
    previous_response_id: str | None
    truncation: str
    parameters: Fields


class InputTokens(msgspec.Struct, frozen=True, kw_only=True):
    """Size of the whole rendered prompt, in model tokens."""

    object: str = "response.input_tokens"
    input_tokens: int


def read_input_tokens(payload: bytes, *, strict: bool) -> CountInputTokens:
    """The request in a body, every field of which may be absent or null.

    ``strict``: parameters nobody knows are refused.
    """
    given = checks.body(payload)
    names = known.INPUT_TOKENS if strict else None
    if names is not None:
        known.refuse_unknown(given, names)
    given = checks.present(given)
    model = checks.text(given["model"], "model") if "model" in given else None
    brought = sources.input_of(given)
    conversation = sources.conversation_of(given, names=names)
    previous = sources.previous_response_of(given)
    parameters.check(given, parameters.INPUT_TOKENS, names=names)
    sources.refuse_two(given)
    return CountInputTokens(
        model=model,
        input=brought,
        conversation=conversation,
        previous_response_id=previous,
        truncation=checks.plain(given["truncation"]) if "truncation" in given else "disabled",
        parameters={name: given[name] for name in parameters.INPUT_TOKENS if name in given},
    )
