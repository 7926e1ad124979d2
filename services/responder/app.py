"""The responder's table of contents: what it listens to, and what becomes of each message."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog
import uvloop
from faststream import AckPolicy, FastStream
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from faststream.nats.security import NatsSecurity
from nats.aio.client import Client
from nats.js import JetStreamContext

from schemas import queries, subjects
from services import faults, ids, telemetry
from services.compaction.connect import summariser as connect_summariser
from services.journal import connect, erased, streams
from services.journal import vault as vaults
from services.journal.conversations import Conversations
from services.journal.deltas import Deltas
from services.journal.jetstream import JetStreamJournal
from services.journal.keys import ContentKeys
from services.journal.vault import Vault
from services.model import Model
from services.model.connect import model as connect_model
from services.model.intake import Intake
from services.model.tokenizer import Tokenizer
from services.responder.admission import Admission
from services.responder.answer_turn import TurnAnswerer
from services.responder.ask_model import ModelAsker
from services.responder.at_work import AtWork, Responders
from services.responder.compact_in_turn import TurnSummariser
from services.responder.door import Door
from services.responder.pulling import PULL_S, PatientPull
from services.responder.settings import ResponderSettings
from services.responder.take_turns import Responder
from services.sealing import Sealer
from services.settings import demand

log = structlog.get_logger()

_ENVELOPE_BYTES = 64 * 1024
"""Room a message needs around an answer and the parameters it repeats."""
REFUSING_WORKERS = 16
FINISH_SHARE = 0.6
"""Share of the time a stop may take in which turns may end by themselves."""


async def _as_it_is(message: NatsMessage) -> NatsMessage:
    return message


async def _responder(
    settings: ResponderSettings, client: Client, model: Model, sealer: Sealer, vault: Vault | None
) -> Responder:
    """The parts of it, put together."""
    policy = settings.policy
    tokenizer = Tokenizer(policy.models)
    tokenizer.warm_up()
    intake = Intake(tokenizer, sealer)
    summariser = TurnSummariser(
        connect_summariser(settings, model, sealer, tokenizer),
        intake,
        sealer,
        shrink_share=settings.compaction_shrink_share,
    )
    asker = ModelAsker(model, summariser, policy, tokenizer)
    name = f"responder-{ids.unique()}"
    conversations = Conversations(
        JetStreamJournal(client, vault),
        actor=name,
        policy=policy,
        rows_max=settings.cache_rows_max,
    )
    await erased.listen(client, conversations.forget, *((vault.forget,) if vault else ()))
    at_work = AtWork()
    responders = Responders(client, at_work, name=name)
    admission = Admission(
        conversations,
        Deltas(client, vault),
        at_work,
        responders,
        name=name,
        attempts_max=settings.turn_attempts_max,
    )
    answerer = TurnAnswerer(
        conversations,
        asker,
        intake,
        admission,
        at_work,
        told_bytes_max=vaults.room(client, vault) - _ENVELOPE_BYTES,
    )
    door = Door(client, conversations, vault)
    return Responder(client, answerer, at_work, responders, door, settings, vault)


async def _connected(settings: ResponderSettings) -> NatsBroker:
    tls = settings.tls()
    broker = NatsBroker(
        **connect.options(settings.nats_url, name="responder"),
        security=NatsSecurity(ssl_context=tls, tls_handshake_first=True) if tls else None,
        graceful_timeout=settings.stop_wait_s,
        apply_types=False,
        decoder=_as_it_is,
        logger=logging.getLogger("turnlog.faststream"),
        log_level=logging.DEBUG,
    )
    await broker.connect()
    return broker


def _take_unstored(broker: NatsBroker, responder: Responder, settings: ResponderSettings) -> None:
    broker.subscriber(
        subjects.ALL_UNSTORED_TURN_REQUESTS,
        queue=subjects.RESPONDER,
        # Those beyond the turns that may run refuse what comes then, at once.
        max_workers=settings.turns_running_max + REFUSING_WORKERS,
        ack_policy=AckPolicy.MANUAL,
        # The reply subject is the delta subject: the server tells there when nobody listens.
        no_reply=True,
    )(responder.take_unstored)


async def build(settings: ResponderSettings) -> FastStream:
    """Connect, declare what is missing, bind subjects to handlers; nothing is consumed yet."""
    broker = await _connected(settings)
    client = broker.connection
    declare = partial(streams.declare, client, chosen=settings)
    await declare()
    vault = await vaults.opened(client, settings)
    sealer = await ContentKeys(client).sealer()
    model = connect_model(settings, sealer)
    responder = await _responder(settings, client, model, sealer, vault)
    queue = broker.subscriber(
        subjects.ALL_TURN_REQUESTS,
        stream=JStream(subjects.TURN_REQUESTS, declare=False),
        durable=subjects.RESPONDER,
        pull_sub=PullSub(batch_size=1, timeout=PULL_S),
        # Which is not the connection's by itself.
        inbox_prefix=f"{connect.inbox_prefix('responder')}.".encode(),
        max_workers=settings.turns_running_max,
        ack_policy=AckPolicy.MANUAL,
    )
    pull = PatientPull(declare, places=settings.turns_running_max)

    async def take(message: NatsMessage) -> None:
        with pull.place(message.raw_message) as old:
            await responder.take(message, old=old)

    queue(take)
    _take_unstored(broker, responder, settings)

    async def pull_patiently() -> None:
        assert isinstance(queue.subscription, JetStreamContext.PullSubscription)
        queue.subscription = pull.over(queue.subscription)

    async def health() -> queries.Health:
        return queries.Health(ok=client.is_connected and pull.answered)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        life = asyncio.create_task(responder.show_life())
        await responder.listen()
        await connect.answer_health(client, "responder", health)
        log.info("responder.started", model_api=settings.model_api)
        yield
        life.cancel()
        await model.aclose()
        log.info("responder.stopped")

    async def stop() -> None:
        log.info("responder.stopping")
        pull.stop()
        await responder.stop(wait_s=settings.stop_wait_s * FINISH_SHARE)

    return FastStream(
        broker,
        lifespan=lifespan,
        after_startup=[pull_patiently],
        on_shutdown=[stop],
        logger=logging.getLogger("turnlog.faststream"),
    )


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = demand(ResponderSettings)
    telemetry.configure(process="responder", level=settings.log_level)
    faults.arm()

    async def run() -> None:
        app = await build(settings)
        await app.run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
