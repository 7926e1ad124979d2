"""An id for every request, and one log line at the end of each."""

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas import api_keys
from services import clock, ids
from services.gateway.identify import key_of

SWITCHING_PROTOCOLS = 101
ANSWER = "turnlog.answer"
"""Where the scope of a connection notes the status of its answer, once that has begun."""

log = structlog.get_logger()


class RequestLog:
    """Marks answers with the id of their request; a WebSocket is one request as well."""

    def __init__(self, app: ASGIApp) -> None:
        """``app`` answers the requests."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI says."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        path = api_keys.without_secrets(scope["path"])
        request_id = f"req_{ids.unique()}"
        started, status, close_code = clock.monotonic(), 0, None

        async def send_marked(message: Message) -> None:
            nonlocal status, close_code
            match message["type"]:
                case "http.response.start" | "websocket.http.response.start":
                    scope[ANSWER] = status = message["status"]
                    message = _marked(message, request_id)
                case "websocket.accept":
                    scope[ANSWER] = status = SWITCHING_PROTOCOLS
                    message = _marked(message, request_id)
                case "websocket.close":
                    close_code = message.get("code")
                case _:
                    pass
            await send(message)

        async def receive_watched() -> Message:
            nonlocal close_code
            message = await receive()
            if message["type"] == "websocket.disconnect" and close_code is None:
                close_code = message.get("code")
            return message

        try:
            await self._app(scope, receive_watched, send_marked)
        except Exception:
            # Starlette has answered already, where there was still something to answer.
            log.exception("request.crashed", request_id=request_id, path=path)
        finally:
            # Probes come all the time and say nothing.
            say = log.debug if path == "/healthz" else log.info
            say(
                "request.answered",
                request_id=request_id,
                method=scope.get("method", "WEBSOCKET"),
                path=path,
                status=status,
                **({} if close_code is None else {"close_code": close_code}),
                **({} if (key_id := key_of(scope)) is None else {"key_id": key_id}),
                duration_ms=round((clock.monotonic() - started) * 1000, 1),
            )


def _marked(message: Message, request_id: str) -> Message:
    headers = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
    return {**message, "headers": headers}
