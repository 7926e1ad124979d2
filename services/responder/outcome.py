"""What a turn request comes to, as the asker is told it."""

import msgspec

from schemas.http.errors import ApiError
from services.conversation.history import Turn
from services.conversation.refusals import ConversationLocked
from services.conversation.response import render
from services.conversation.retelling import opening
from services.model import ModelRefused
from services.responder.relay import Relay

_FAILURES = frozenset(
    {
        "bio_policy",
        "context_length_exceeded",
        "data_residency_mismatch",
        "empty_image_file",
        "failed_to_download_image",
        "image_content_policy_violation",
        "image_file_not_found",
        "image_file_too_large",
        "image_parse_error",
        "image_too_large",
        "image_too_small",
        "insufficient_quota",
        "invalid_base64_image",
        "invalid_image",
        "invalid_image_format",
        "invalid_image_mode",
        "invalid_image_url",
        "invalid_prompt",
        "misalignment_policy_violation",
        "rate_limit_exceeded",
        "server_error",
        "unsupported_image_media_type",
        "vector_store_timeout",
    }
)
"""Codes a failed response has (contract 1.5)."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The turn has no response: an error body and its HTTP status.

    ``frees_line``: others that wait for the conversation may be next.
    """

    body: bytes
    status: int
    retry_after_s: int | None = None
    frees_line: bool = True


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The turn has ended: its terminal frame, and where it is stored (0: nowhere).

    ``context`` is told before: what the turn leaves to one that follows. ``given_up``: it was tried
    too often. ``frees_line``: others that wait for the conversation may be next.
    """

    frame: bytes
    number: int
    status: str
    sequence: int
    tokens: int = 0
    context: bytes | None = None
    given_up: bool = False
    frees_line: bool = True


class Repeated(msgspec.Struct, frozen=True, kw_only=True):
    """The request was made before: what it comes to is told as the response of the first.

    ``frees_line``: others that wait for the conversation may be next.
    """

    response_id: str
    frees_line: bool


Outcome = Refusal | End | Repeated


def end_of(turn: Turn, relay: Relay, conversation_id: str, *, sequence: int, streamed: bool) -> End:
    """The end of a turn that has ended; ``sequence`` is where it is stored.

    A stream that has told nothing yet begins first: no stream begins with its end (contract 3.6).
    """
    number = relay.number
    begun = b""
    if streamed and number == 0:
        running = opening(turn, status="in_progress")
        begun = relay.opened(render(running, conversation_id=conversation_id))
    return End(
        frame=begun + relay.ended(turn.status, render(turn, conversation_id=conversation_id)),
        number=number,
        status=turn.status,
        sequence=sequence,
        tokens=sum(item.tokens for item in turn.output),
    )


def refusal(refused: ApiError | ModelRefused) -> Refusal:
    """What the rules or the contract refuse, or the upstream in its words."""
    return Refusal(
        body=refused.body(),
        status=refused.status,
        retry_after_s=refused.retry_after_s,
        # Whoever runs the turn in the way looks who is next.
        frees_line=not isinstance(refused, ConversationLocked),
    )


def told(error: Exception) -> str:
    """What clients are told of a model that failed; of unreadable output, not what it held."""
    if isinstance(error, msgspec.MsgspecError):
        return "The model's answer could not be read."
    return str(error)


def error_code(refused: ModelRefused) -> str:
    """A refusal in the words a failed response has for it (contract 1.5)."""
    if refused.code in _FAILURES:
        return refused.code
    return "rate_limit_exceeded" if refused.retry_after_s is not None else "invalid_prompt"
