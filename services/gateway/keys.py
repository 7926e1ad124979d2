"""The key a client may send to say that it may ask for the same again (``Idempotency-Key``)."""

from starlette.requests import Request

from schemas import claims
from schemas.http.beside import KEY_HEADER
from schemas.http.errors import Invalid


def key_of(request: Request) -> str | None:
    """The idempotency key of a request, if it has one."""
    key = request.headers.get(KEY_HEADER)
    if key is not None and not claims.acceptable(key):
        raise Invalid(
            f"Invalid '{KEY_HEADER}': expected 1 to 255 visible ASCII characters.",
            param=KEY_HEADER,
            code="invalid_value",
        )
    return key
