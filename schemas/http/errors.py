"""The contract's error body (contract 0.3), and the exception that becomes one."""

from typing import ClassVar

import msgspec


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """The inner object; all four keys are always sent, in this order."""

    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    """What an answer of status 400 and above holds."""

    error: Error


class ApiError(Exception):
    """A request that is answered with an error body; subclasses fix what never varies."""

    status: ClassVar[int] = 400
    type: ClassVar[str] = "invalid_request_error"
    retry_after_s: int | None = None
    """Seconds after which the same may be asked again, where that makes sense."""
    final: ClassVar[bool] = False
    """Whether SDKs, which by themselves ask again after some statuses, are told not to."""
    param: str | None = None
    code: str | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        """``param`` and ``code`` override the class's own."""
        super().__init__(message)
        self.message = message
        self.param = param if param is not None else type(self).param
        self.code = code if code is not None else type(self).code

    def body(self) -> bytes:
        """The error body."""
        error = Error(message=self.message, type=self.type, param=self.param, code=self.code)
        return msgspec.json.encode(ErrorBody(error))


class Invalid(ApiError):
    """The request itself is wrong."""


class NotFound(ApiError):
    """What the path names is not there."""

    status = 404


class TooLarge(ApiError):
    """The body is longer than the server reads."""

    status = 413


class HeadTooLarge(ApiError):
    """More stands before the body than the server reads."""

    status = 431

    def __init__(self) -> None:
        super().__init__("The request line and headers are too large.", code="request_too_large")


class TooSlow(ApiError):
    """The body has not come in time."""

    status = 408
    code = "request_timeout"


class Unauthorized(ApiError):
    """Who asks is not known."""

    status = 401


class Forbidden(ApiError):
    """Not for this caller."""

    status = 403


class KeyReused(ApiError):
    """An idempotency key that stands for another request."""

    status = 409
    code = "idempotency_key_reused"
    final = True

    def __init__(self) -> None:
        super().__init__(
            "This idempotency key was used before, for a request with another path or body. "
            "A key can only be sent again with the request it was first sent with."
        )


class Overloaded(ApiError):
    """Try again later; nothing was stored."""

    status = 503
    type = "server_error"
    retry_after_s = 1


class TooMany(ApiError):
    """More is asked for than is taken on now; nothing was stored."""

    status = 429
    type = "requests"
    code = "rate_limit_exceeded"
    retry_after_s = 1


class ServerFault(ApiError):
    """Our own mistake."""

    status = 500
    type = "server_error"
