"""Answers on their way out: headers on what is sent, errors of the contract."""

from collections.abc import Sequence
from typing import Any

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from schemas.deltas import SEQUENCE_HEADER
from schemas.http.conversations import ItemList
from schemas.http.errors import ApiError, Overloaded, ServerFault, Unauthorized
from services.conversation.history import Item
from services.journal import JournalUnavailable

log = structlog.get_logger()

METHOD_NOT_ALLOWED = 405
RETRY_HEADER = "x-should-retry"
"""Tells SDKs whether to ask again, whatever they would do by themselves (contract 0.2)."""
CHALLENGE_HEADER = "WWW-Authenticate"
"""Of an answer with 401: how to say who one is (RFC 6750, section 3)."""
CLIENT_GONE = 499
"""What logs of web servers say where nobody is left to be answered."""

_encode = msgspec.json.Encoder().encode


def raw(
    body: bytes,
    *,
    sequence: int | None = None,
    status: int = 200,
    retry_after_s: int | None = None,
) -> Response:
    """JSON that is already encoded; ``sequence`` says at which commit the answer stands."""
    headers: dict[str, str] = {}
    if sequence is not None:
        headers[SEQUENCE_HEADER] = str(sequence)
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    return Response(body, status, headers, media_type="application/json")


def json(value: msgspec.Struct, *, sequence: int | None = None) -> Response:
    """A body of the contract."""
    return raw(_encode(value), sequence=sequence)


def page(items: Sequence[Item], *, has_more: bool, sequence: int) -> Response:
    """Items as a page of a listing."""
    body = ItemList(
        data=tuple(item.raw for item in items),
        first_id=items[0].id if items else None,
        has_more=has_more,
        last_id=items[-1].id if items else None,
    )
    return json(body, sequence=sequence)


def refusal_of(fault: Exception) -> ApiError:
    """What a caller is told of a fault; a mistake of ours in one sentence."""
    match fault:
        case ApiError():
            return fault
        case JournalUnavailable():
            # What was asked may be asked again.
            log.warning("journal.unavailable", error=str(fault))
            return Overloaded("The service is temporarily unable to store or read. Please retry.")
        case _:
            return ServerFault(
                "The server had an error while processing your request. Sorry about that!"
            )


async def on_fault(_request: Request, fault: Exception) -> Response:
    """A request that is not answered as it was meant to be."""
    return refused(refusal_of(fault))


def refused(refusal: ApiError) -> Response:
    """The answer that says so."""
    answer = raw(refusal.body(), status=refusal.status, retry_after_s=refusal.retry_after_s)
    if refusal.final:
        answer.headers[RETRY_HEADER] = "false"
    if isinstance(refusal, Unauthorized):
        answer.headers[CHALLENGE_HEADER] = "Bearer"
    return answer


async def on_client_gone(_request: Request, _fault: Exception) -> Response:
    """A request whose client left before all of it had come."""
    return Response(status_code=CLIENT_GONE)


async def on_unknown_url(request: Request, fault: Exception) -> Response:
    """No such path, or not with this method."""
    assert isinstance(fault, HTTPException)
    method, path = request.method, request.url.path
    if fault.status_code != METHOD_NOT_ALLOWED:
        return raw(ApiError(f"Invalid URL ({method} {path})").body(), status=404)
    wrong = ApiError(
        f"Not allowed to {method} on {path}. "
        "(HINT: Perhaps you meant to use a different HTTP method?)"
    )
    answer = raw(wrong.body(), status=METHOD_NOT_ALLOWED)
    answer.headers["Allow"] = ", ".join(_allowed(request))
    return answer


def _allowed(request: Request) -> list[str]:
    """Methods of every route that has the path."""
    found: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return sorted(found)


def path_id(request: Request, name: str) -> str:
    """An id of the path."""
    value: Any = request.path_params[name]
    assert isinstance(value, str)
    return value
