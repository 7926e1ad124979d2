"""The gateway's table of contents: routes, and what they are made of."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import msgspec
import structlog
import uvicorn
import uvloop
from nats.aio.client import Client
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp

from schemas.http.errors import ApiError
from services import faults, ids, telemetry
from services.audit.fork import Forks
from services.audit.history import Histories
from services.erasure.erase import Eraser
from services.gateway import answers
from services.gateway.after import AfterSequence
from services.gateway.auditing import AuditEndpoints
from services.gateway.authentication import Authentication
from services.gateway.body_reader import BodyReader
from services.gateway.catalogue import ModelEndpoints
from services.gateway.compact import CompactEndpoint
from services.gateway.conversations import ConversationEndpoints
from services.gateway.document import DocumentEndpoints
from services.gateway.erasure import ErasureEndpoint
from services.gateway.health import HealthEndpoint
from services.gateway.history import HistoryEndpoints
from services.gateway.identify import guarded
from services.gateway.input_tokens import InputTokensEndpoint
from services.gateway.key_ring import KeyRing
from services.gateway.listing import ListingEndpoint
from services.gateway.protocol import WebSocketProtocol, http_protocol
from services.gateway.repeated_turns import RepeatedTurns
from services.gateway.repeats import Repeats
from services.gateway.request_log import RequestLog
from services.gateway.responses import ResponseEndpoints
from services.gateway.settings import GatewaySettings, HostExposed
from services.gateway.sql import SqlEndpoint
from services.gateway.turns import Turns
from services.gateway.unanswered import Unanswered
from services.gateway.waiting import WaitingTurns
from services.gateway.websocket import WebSocketEndpoint
from services.journal import JournalUnavailable, connect, erased, streams
from services.journal import vault as vaults
from services.journal.conversations import Conversations
from services.journal.erased import Forget
from services.journal.jetstream import JetStreamJournal
from services.journal.keys import ContentKeys
from services.journal.turn_requests import TurnRequests
from services.journal.vault import Vault
from services.model import Model
from services.model.connect import model as connect_model
from services.model.intake import Intake
from services.model.tokenizer import Tokenizer
from services.sealing import Sealer
from services.settings import demand

log = structlog.get_logger()

_ENVELOPE_BYTES = 64 * 1024
"""Room a message needs around a body."""
TURNS_WAIT_S = 0.05
"""Seconds in which turns are told that the process stops, before all else is."""
LAST_S, LAST_SHARE = 1.0, 0.6
"""Seconds of a stop, and the most of it, that are kept for the last words to be taken."""
PING_INTERVAL_S = 20.0
PING_WAIT_S = 60.0
"""Seconds a client may take to answer, or to read what was sent before, until it counts as gone."""


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """The whole HTTP application.

    ``leave``: what is connected for good is to end when it has told what has begun. ``stop`` ends
    every answer that is still open, in words a client understands. ``forgets``: what is in memory
    of a conversation that is erased.
    """

    app: ASGIApp
    leave: Callable[[], None]
    stop: Callable[[], None]
    forgets: tuple[Forget, ...]


async def build(
    settings: GatewaySettings,
    client: Client,
    model: Model,
    sealer: Sealer,
    ring: KeyRing,
    vault: Vault | None = None,
) -> Gateway:
    """The gateway on an open connection; ``vault`` has the keys of what is encrypted."""
    tokenizer = Tokenizer(settings.policy.models)
    tokenizer.warm_up()
    bytes_max = min(settings.body_bytes_max, client.max_payload - _ENVELOPE_BYTES)
    settings = msgspec.structs.replace(settings, body_bytes_max=bytes_max)
    name = f"gateway-{ids.unique()}"
    conversations = _conversations(client, vault, settings, name=name)
    eraser = Eraser(client, vault, actor=name)
    intake = Intake(tokenizer, sealer)
    reader = _reader(settings)
    repeats = Repeats(client, vault)
    crud = ConversationEndpoints(
        conversations,
        intake,
        repeats,
        reader=reader,
        strict=settings.strict,
        eraser=eraser if settings.delete == "erase" else None,
    )
    count_tokens = InputTokensEndpoint(
        conversations, intake, tokenizer, reader=reader, strict=settings.strict
    ).count
    turns = Turns(client, vault, conversations, settings)
    models = ModelEndpoints(model)
    repeated = RepeatedTurns(client, vault, conversations, turns, repeats)
    waiting = WaitingTurns(TurnRequests(client, vault))
    responses = ResponseEndpoints(conversations, turns, reader, repeated, waiting, settings)
    sockets = WebSocketEndpoint(turns, reader, settings)
    compact = CompactEndpoint(client, settings, reader)
    after = AfterSequence(client)
    documents = DocumentEndpoints()
    routes = [
        Route("/v1/responses", reader.bounded(responses.create), methods=["POST"]),
        WebSocketRoute("/v1/responses", sockets.connect),
        Route("/v1/responses/input_tokens", reader.bounded(count_tokens), methods=["POST"]),
        Route("/v1/responses/compact", reader.bounded(compact.create), methods=["POST"]),
        *_on_a_response(responses, after),
        *_on_conversations(crud, reader, after),
        *_on_histories(client, vault, conversations, eraser, after),
        *_on_views(client, reader),
        Route("/v1/models", models.list, methods=["GET"]),
        # Names of models may hold slashes.
        Route("/v1/models/{model:path}", models.retrieve, methods=["GET"]),
        Route("/healthz", HealthEndpoint(client).retrieve, methods=["GET"]),
        Route("/openapi.json", documents.retrieve_openapi, methods=["GET"]),
        Route("/docs/asyncapi", documents.retrieve_asyncapi, methods=["GET"]),
    ]
    forgets = (conversations.forget, *((vault.forget,) if vault else ()))
    return _gateway(routes, turns, sockets, ring, forgets)


def _conversations(
    client: Client, vault: Vault | None, settings: GatewaySettings, *, name: str
) -> Conversations:
    return Conversations(
        JetStreamJournal(client, vault),
        actor=name,
        policy=settings.policy,
        rows_max=settings.cache_rows_max,
    )


def _reader(settings: GatewaySettings) -> BodyReader:
    return BodyReader(
        bytes_max=settings.body_bytes_max,
        held_bytes_max=settings.bodies_bytes_max,
        wait_s=settings.client_wait_s,
    )


def _gateway(
    routes: list[BaseRoute],
    turns: Turns,
    sockets: WebSocketEndpoint,
    ring: KeyRing,
    forgets: tuple[Forget, ...],
) -> Gateway:
    app = Starlette(
        routes=guarded(routes),
        exception_handlers={
            ApiError: answers.on_fault,
            JournalUnavailable: answers.on_fault,
            HTTPException: answers.on_unknown_url,
            ClientDisconnect: answers.on_client_gone,
            Exception: answers.on_fault,
        },
    )
    # A path without an id is not the collection's, and a redirect would name the Host it was sent.
    app.router.redirect_slashes = False
    unanswered = Unanswered(app)

    def stop() -> None:
        turns.stop()
        asyncio.get_running_loop().call_later(TURNS_WAIT_S, unanswered.stop)

    app_for_keys = Authentication(unanswered, ring)
    app_logged = RequestLog(app_for_keys)
    return Gateway(app=app_logged, leave=sockets.leave, stop=stop, forgets=forgets)


def _on_a_response(responses: ResponseEndpoints, after: AfterSequence) -> list[Route]:
    one = "/v1/responses/{response_id}"
    return [
        Route(one, after.awaited(responses.retrieve), methods=["GET"]),
        Route(one, responses.delete, methods=["DELETE"]),
        Route(one + "/cancel", responses.cancel, methods=["POST"]),
        Route(one + "/input_items", after.awaited(responses.list_input_items), methods=["GET"]),
    ]


def _on_conversations(
    crud: ConversationEndpoints, reader: BodyReader, after: AfterSequence
) -> list[Route]:
    one, items = "/v1/conversations/{conversation_id}", "/v1/conversations/{conversation_id}/items"
    return [
        Route("/v1/conversations", reader.bounded(crud.create), methods=["POST"]),
        Route(one, after.awaited(crud.retrieve), methods=["GET"]),
        Route(one, reader.bounded(crud.update), methods=["POST"]),
        Route(one, crud.delete, methods=["DELETE"]),
        Route(items, reader.bounded(crud.create_items), methods=["POST"]),
        Route(items, after.awaited(crud.list_items), methods=["GET"]),
        Route(items + "/{item_id}", after.awaited(crud.retrieve_item), methods=["GET"]),
        Route(items + "/{item_id}", crud.delete_item, methods=["DELETE"]),
    ]


def _on_histories(
    client: Client,
    vault: Vault | None,
    conversations: Conversations,
    eraser: Eraser,
    after: AfterSequence,
) -> list[Route]:
    histories = Histories(JetStreamJournal(client, vault))
    forks = Forks(histories, conversations, bytes_max=vaults.room(client, vault))
    erasure = ErasureEndpoint(eraser)
    endpoints = HistoryEndpoints(histories, forks)
    audit = AuditEndpoints(client, vault, histories)
    one = "/v1/turnlog/conversations/{conversation_id}"
    return [
        Route(one, after.awaited(endpoints.retrieve), methods=["GET"]),
        Route(one + "/events", after.awaited(endpoints.list_events), methods=["GET"]),
        Route(one + "/diff", after.awaited(endpoints.diff), methods=["GET"]),
        Route(one + "/verify", after.awaited(audit.verify), methods=["GET"]),
        Route(one + "/export", after.awaited(audit.export), methods=["GET"]),
        Route(one + "/fork", endpoints.fork, methods=["POST"]),
        Route(one + "/erase", erasure.create, methods=["POST"]),
    ]


def _on_views(client: Client, reader: BodyReader) -> list[Route]:
    sql = SqlEndpoint(client, reader)
    return [
        Route("/v1/turnlog/conversations", ListingEndpoint(client).list, methods=["GET"]),
        Route("/v1/turnlog/sql", reader.bounded(sql.run), methods=["POST"]),
    ]


class Server(uvicorn.Server):
    """Leaves signals to its caller, who has connections to close after it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: uvicorn would raise them again, and end the process before its time."""
        yield


@asynccontextmanager
async def opened(settings: GatewaySettings) -> AsyncIterator[Gateway]:
    """The application with its connections, for as long as it is needed."""
    client = await connect.connect(settings.nats_url, name="gateway", tls=settings.tls())
    await streams.declare(client, chosen=settings)
    vault = await vaults.opened(client, settings)
    sealer = await ContentKeys(client).sealer()
    ring = KeyRing(client, demanded=settings.keys_demanded)
    await ring.open()
    if ring.empty:
        if settings.keys_demanded:
            await client.drain()
            raise HostExposed(settings.host)
        log.warning("auth.disabled", host=settings.host, hint="anyone who reaches it may use it")
    model = connect_model(settings, sealer)
    try:
        gateway = await build(settings, client, model, sealer, ring, vault)
        await erased.listen(client, *gateway.forgets)
        yield gateway
    finally:
        await model.aclose()
        await ring.close()
        await client.drain()


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = demand(GatewaySettings)
    telemetry.configure(process="gateway", level=settings.log_level)
    faults.arm()

    async def run() -> None:
        async with opened(settings) as gateway:
            config = uvicorn.Config(
                gateway.app,
                host=settings.host,
                port=settings.port,
                http=http_protocol(client_wait_s=settings.client_wait_s),
                ws=WebSocketProtocol,
                # Somewhat more than may be asked: too much is then told, and not cut off.
                ws_max_size=2 * settings.body_bytes_max,
                ws_ping_interval=PING_INTERVAL_S,
                ws_ping_timeout=PING_WAIT_S,
                # Events are copied through as they come.
                ws_per_message_deflate=False,
                lifespan="off",
                access_log=False,
                proxy_headers=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=max(1, int(settings.stop_wait_s)),
            )
            sockets = None
            if settings.socket_fd >= 0:
                sockets = [socket.socket(fileno=settings.socket_fd)]
            log.info("gateway.started", host=settings.host, port=settings.port)
            server = Server(config)
            loop = asyncio.get_running_loop()

            def stop(number: signal.Signals) -> None:
                log.info("gateway.stopping")
                gateway.leave()
                server.handle_exit(number, None)
                last_s = min(LAST_S, LAST_SHARE * settings.stop_wait_s)
                loop.call_later(settings.stop_wait_s - last_s, gateway.stop)

            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop, number)
            await server.serve(sockets=sockets)
            log.info("gateway.stopped")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(run())
        except HostExposed as error:
            sys.stderr.write(f"turnlog: {error}\n")
            raise SystemExit(2) from error
