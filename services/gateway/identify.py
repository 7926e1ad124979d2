"""Who is asking: the project of a request, and whether it may be asked for."""

from collections.abc import Callable, Iterable
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Scope
from starlette.websockets import WebSocket

from schemas import api_keys
from schemas.http.operations import OPERATIONS
from schemas.http.scopes import OPERATION_SCOPES, ScopeMissing, allows
from services.gateway.key_ring import Caller

CALLER = "turnlog.caller"
"""Where the scope of a connection says who has come in."""
LEFT = "turnlog.left"
"""Where it says with what error its caller was let out again."""
_SOCKETS = "createResponse"
"""The operation that every frame of a WebSocket asks for."""

_NEEDED = {each.route(): OPERATION_SCOPES[each.id] for each in OPERATIONS}
OPEN_PATHS = frozenset(each.path for each in OPERATIONS if OPERATION_SCOPES[each.id] is None)
"""Paths that are served to whoever asks."""


def caller_of(scope: Scope) -> Caller:
    """Whoever has come in."""
    caller = scope[CALLER]
    assert isinstance(caller, Caller)
    return caller


def key_of(scope: Scope) -> str | None:
    """Id of the key somebody has come in with, if one has."""
    caller: Caller | None = scope.get(CALLER)
    return None if caller is None else caller.key_id


def project_of(connection: HTTPConnection) -> str:
    """The project whose conversations the caller may touch."""
    return caller_of(connection.scope).project


def guarded(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """The routes, each for callers whose key allows it; raises `KeyError` for one nobody knows."""
    return [_guarded(route) for route in routes]


def _guarded(route: BaseRoute) -> BaseRoute:
    if isinstance(route, WebSocketRoute):
        return WebSocketRoute(route.path, _allowed_socket(route))
    assert isinstance(route, Route)
    assert route.methods is not None
    (method,) = route.methods - {"HEAD"}
    needed = _NEEDED[method, route.path_format]
    if needed is None:
        return route
    return Route(route.path, _allowed(route, needed), methods=[method])


def _allowed(route: Route, needed: api_keys.Scope) -> Callable[..., Any]:
    endpoint = route.endpoint

    async def answer(request: Request) -> Response:
        _demand(request, needed)
        answered: Response = await endpoint(request)
        return answered

    return answer


def _allowed_socket(route: WebSocketRoute) -> Callable[..., Any]:
    endpoint = route.endpoint

    async def serve(socket: WebSocket) -> None:
        _demand(socket, OPERATION_SCOPES[_SOCKETS])
        await endpoint(socket)

    return serve


def _demand(connection: HTTPConnection, needed: api_keys.Scope | None) -> None:
    held = caller_of(connection.scope).scope
    if needed is not None and not allows(held, needed):
        raise ScopeMissing(needed)
