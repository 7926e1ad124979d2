"""Where a turn gets its context from: input, conversation, previous response, prompt.

Fields that are ``null`` have been left out of what is read here.
"""

import re

import msgspec

from schemas import ids
from schemas.http import checks, known
from schemas.http.checks import Fields
from schemas.http.errors import Invalid, NotFound

INPUT_LENGTH_MAX = 10_485_760

_NOTHING = re.compile(rb'\[\s*\]|""|null')


def input_of(given: Fields) -> msgspec.Raw | None:
    """The text or the array of items a request brings, as it came."""
    raw = given.get("input")
    if raw is None:
        return None
    match checks.first_byte(raw):
        case b'"':
            checks.text(raw, "input", most=INPUT_LENGTH_MAX)
        case b"[":
            pass
        case _:
            raise checks.wrong_type("input", "one of a string or array of input items", raw)
    return raw


def conversation_of(given: Fields, *, names: known.Names | None) -> str | None:
    """The conversation a request continues, named by its id or by an object with nothing but it."""
    raw = given.get("conversation")
    if raw is None:
        return None
    if checks.first_byte(raw) != b"{":
        return checks.named(
            checks.text(raw, "conversation"), ids.CONVERSATION_PREFIX, "conversation"
        )
    if names is not None:
        known.refuse_unknown_inside(raw, names["conversation"], "conversation")
    members = checks.fields(raw, "conversation")
    if "id" not in members:
        raise checks.missing("conversation.id")
    value = checks.text(members["id"], "conversation.id")
    return checks.named(value, ids.CONVERSATION_PREFIX, "conversation")


def previous_response_of(given: Fields) -> str | None:
    """The response a request follows."""
    raw = given.get("previous_response_id")
    if raw is None:
        return None
    value = checks.text(raw, "previous_response_id")
    return checks.named(value, ids.RESPONSE_PREFIX, "previous_response_id")


def refuse_two(given: Fields) -> None:
    """Raise if a request would continue a conversation and follow a response."""
    if "conversation" in given and "previous_response_id" in given:
        raise Invalid(
            "Mutually exclusive parameters: ''. Ensure you are only providing one of: "
            "'pre..._id' or 'conversation'.",
            code="mutually_exclusive_parameters",
        )


def refuse_prompt(given: Fields) -> None:
    """Raise for a prompt template: these are kept by the hosted platform, and none by this server.

    It is answered as any template that is not there. To hand its id on to a model behind us would
    make answers depend on what the log does not hold, and most models would ignore it in silence.
    """
    if "prompt" in given:
        wanted = checks.text(checks.fields(given["prompt"], "prompt")["id"], "prompt.id")
        raise NotFound(f"Prompt with id '{checks.told(wanted)}' not found.")


def refuse_nothing(given: Fields) -> None:
    """Raise if there is no history and the input is empty."""
    if "conversation" in given or "previous_response_id" in given:
        return
    if _NOTHING.fullmatch(bytes(given.get("input", checks.NULL))):
        raise nothing()


def nothing() -> Invalid:
    """The error for a request without any context."""
    return Invalid(
        "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation' "
        "must be provided.",
        code="missing_required_parameter",
    )
