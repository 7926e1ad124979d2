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


class ModelRefused(Exception):
    """The upstream will not answer this request, now or ever; its words are passed on."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None,
        param: str | None,
        retry_after_s: int | None,
    ) -> None:
        """``status`` is the upstream's own; ``retry_after_s`` where it named one."""
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s

    def body(self) -> bytes:
        """The error body in which it is passed on."""
        kind = "requests" if self.status == 429 else "invalid_request_error"  # noqa: PLR2004 - HTTP
        error = Error(message=self.message, type=kind, param=self.param, code=self.code)
        return msgspec.json.encode(ErrorBody(error))


class ModelUnavailable(Exception):
    """The upstream failed, broke off, or could not be reached."""


class Model(Protocol):
    """Answers calls. Both forms raise `ModelRefused` or `ModelUnavailable`."""

    async def complete(self, call: Call) -> Answer:
        """The whole answer."""

    def stream(self, call: Call) -> AsyncGenerator[Fields | Answer]:
        """The upstream's events in the contract's shapes, raw; at last the answer.

        Ids and sequence numbers are the upstream's. Lifecycle events are left out.
        """

    async def models(self) -> bytes:
        """The upstream's list of models, as the contract's body."""

    async def aclose(self) -> None:
        """Give connections back."""
