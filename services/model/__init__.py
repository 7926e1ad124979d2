"""The model behind an OpenAI-compatible server: one protocol, two upstream APIs."""

from collections.abc import AsyncGenerator
from typing import Protocol

import msgspec

from schemas.http.checks import Fields
from schemas.http.errors import Error, ErrorBody
from services.conversation.history import Item


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What the model is asked; ``items`` is the whole window, new input included.

    ``parameters`` are the client's own, raw; state is ours and never sent.
    """

    model: str
    items: tuple[Item, ...]
    parameters: Fields


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How the model ended: ``completed``, ``incomplete`` or ``failed``.

    ``items`` are output items as the upstream wrote them, ``usage`` its count in the contract's
    shape. ``reason`` says why it is incomplete, ``error_code`` and ``error_message`` why it failed.
    """

    status: str
    items: tuple[msgspec.Raw, ...]
    usage: msgspec.Raw
    model: str
    reason: str | None = None
    error_code: str | None = None
    error_message: str | None = None


class Compacting(Protocol):
    """An upstream that makes windows smaller by itself."""

    async def compact(self, call: Call) -> Answer:
        """The smaller window as it tells it: the user's messages, and a compaction.

        Raises `ModelRefused` or `ModelUnavailable`.
        """


class ModelRefused(Exception):
    """The upstream will not answer this request, now or ever; its words are passed on."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None,
        param: str | None,
        kind: str = "invalid_request_error",
        retry_after_s: int | None = None,
    ) -> None:
        """``status`` and ``kind`` are the contract's for it (contract 0.3).

        ``retry_after_s`` is at least 1, and always there when the upstream is asked too often.
        """
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s

    def body(self) -> bytes:
        """The error body in which it is passed on."""
        error = Error(message=self.message, type=self.kind, param=self.param, code=self.code)
        return msgspec.json.encode(ErrorBody(error))


class ModelUnavailable(Exception):
    """The upstream failed, broke off, or could not be reached."""


class Model(Protocol):
    """Answers calls. Both forms raise `ModelRefused` or `ModelUnavailable`."""

    async def complete(self, call: Call) -> Answer:
        """The whole answer."""

    def stream(self, call: Call) -> AsyncGenerator[Fields | Answer]:
        """The upstream's events in the contract's shapes, raw; at last the answer.

        Each is one of `schemas.http.event_types.TYPES`, with all its fields. Ids and sequence
        numbers are the upstream's. An answer that failed may still come after events.
        """

    async def models(self) -> bytes:
        """The upstream's list of models, as the contract's body."""

    async def retrieve_model(self, name: str) -> bytes:
        """The upstream's model of this name, as the contract's body.

        One it does not list is refused with 404 and ``model_not_found``.
        """

    async def aclose(self) -> None:
        """Give connections back."""
