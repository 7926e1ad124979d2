"""Bodies against the SDK's own classes, with nothing converted and nothing missing."""

from typing import Any

from pydantic import TypeAdapter


def strictly(kind: Any, body: bytes) -> Any:
    """``body`` as ``kind`` says it must be; raises for whatever is not so."""
    return TypeAdapter(kind).validate_json(body, strict=True)
