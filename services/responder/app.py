"""The responder's table of contents: what it listens to, and what becomes of each message."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
import nats.errors
import structlog
import uvloop
from faststream import AckPolicy, FastStream
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import queries, subjects, turn_requests
from schemas.http.errors import Overloaded, ServerFault
from schemas.ids import acceptable
from schemas.turn_requests import TurnRequest
from services import clock, ids, telemetry
from services.conversation.decide import Policy
from services.conversation.refusals import AttemptSuperseded
from services.journal import JournalUnavailable, connect, streams
from services.journal.conversations import Conversations
from services.journal.deltas import Deltas
from services.journal.jetstream import JetStreamJournal
from services.journal.keys import content_key
from services.model.connect import model as connect_model
from services.model.intake import Intake
from services.model.tokenizer import Tokenizer
from services.responder.answer_turn import (
    DeliveredBefore,
    StillRunning,
    TakenElsewhere,
    TurnAnswerer,
)
from services.responder.ask_model import ModelAsker
from services.responder.compact_in_turn import TurnSummariser
from services.responder.outbox import Outbox
from services.responder.outcome import End, Outcome, refusal
from services.responder.settings import ResponderSettings
from services.sealing import Sealer, fresh_key
from services.settings import demand

log = structlog.get_logger()

HEARTBEAT_S = 3.0
"""Time between signs of life for the turns that run; well below the queue's ack wait."""
REDELIVERY_WAIT_S = 1.0
"""Time before a turn that met a fault of ours is tried again."""


class Responder:
    """Takes turn requests off the queue and tells their outcome on their delta subject."""

    def __init__(self, client: Client, answerer: TurnAnswerer, settings: ResponderSettings) -> None:
        """``client`` is the connection outcomes are told on."""
        self._client = client
        self._answerer = answerer
        self._settings = settings
        self._deltas = Deltas(client)
        self._running: set[NatsMessage] = set()
        self._unstored: set[tuple[str, str]] = set()

    async def take(self, message: NatsMessage) -> None:
        """One delivery of a stored turn request; acked only once its end is in the log."""
        project, conversation_id = subjects.turn_request_parts(message.raw_message.subject)
        started = clock.monotonic()
        request = _read(message, conversation_id)
        if request is None:
            await self._park(message, "unreadable")
            return
        outbox = Outbox(self._client, subjects.delta(project, request.response_id))
        delivered = message.raw_message.metadata.num_delivered or 1
        self._running.add(message)
        try:
            outcome = await self._outcome(project, request, outbox, message, delivered=delivered)
        except AttemptSuperseded:
            log.warning("turn.superseded", response_id=request.response_id)
            return
        except TakenElsewhere:
            log.info("turn.repeated", response_id=request.response_id)
            await message.ack()
            return
        except StillRunning:
            # The earlier delivery shows life, and is acked, for this one as well.
            log.info("turn.still_running", response_id=request.response_id)
            return
        except JournalUnavailable as error:
            log.warning("turn.delayed", response_id=request.response_id, error=str(error))
            await message.nack(delay=REDELIVERY_WAIT_S)
            return
        except Exception:
            log.exception("turn.crashed", response_id=request.response_id, delivered=delivered)
            await message.nack(delay=REDELIVERY_WAIT_S)
            return
        finally:
            self._running.discard(message)
        await message.ack()
        await self._tell(project, request, outbox, outcome, started=started, stored=True)

    async def take_unstored(self, message: NatsMessage) -> None:
        """A turn request of which nothing may be kept; it is lost if this process is."""
        project = subjects.turn_request_unstored_project(message.raw_message.subject)
        started = clock.monotonic()
        request = _read(message, None)
        if request is None:
            log.error("turn.unreadable", subject=message.raw_message.subject)
            return
        outbox = Outbox(self._client, subjects.delta_unstored(project, request.response_id))
        self._unstored.add((project, request.response_id))
        try:
            outcome: Outcome = await self._answerer.answer_unstored(project, request, outbox)
        except JournalUnavailable:
            outcome = refusal(
                Overloaded("The service is temporarily unable to read. Please retry.")
            )
        except Exception:
            # Nobody delivers it again: the asker has to be told.
            log.exception("turn.crashed", response_id=request.response_id)
            outcome = refusal(ServerFault("The server had an error while processing your request."))
        finally:
            self._unstored.discard((project, request.response_id))
        await self._tell(project, request, outbox, outcome, started=started, stored=False)

    async def listen(self) -> None:
        """Hear, from now on, what is asked about turns that run here."""
        await self._client.subscribe(subjects.ALL_CANCELS, cb=self.cancel)
        await self._client.subscribe(subjects.ALL_RUNNING, cb=self.say_running)

    async def cancel(self, message: Msg) -> None:
        """A turn is to end; only the process that waits for its model answers."""
        if self._answerer.stop(*subjects.cancel_parts(message.subject)):
            await message.respond(b"")

    async def say_running(self, message: Msg) -> None:
        """Somebody wonders whether a turn that is not stored still runs."""
        if subjects.running_parts(message.subject) in self._unstored:
            await message.respond(b"")

    async def show_life(self) -> None:
        """Tell the queue, for ever, that the turns taken are still worked on."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            try:
                for message in tuple(self._running):
                    await message.in_progress()
            except nats.errors.Error as error:
                # The connection comes back, and the next sign of life may still be in time.
                log.warning("life.not_shown", error=type(error).__name__)

    async def _outcome(
        self,
        project: str,
        request: TurnRequest,
        outbox: Outbox,
        message: NatsMessage,
        *,
        delivered: int,
    ) -> Outcome:
        place = message.raw_message.metadata.sequence.stream
        if delivered == 1:
            with suppress(DeliveredBefore):
                return await self._answerer.answer(
                    project, request, outbox, place=place, first=True
                )
        told_before = await self._deltas.told(project, request.response_id)
        if delivered > self._settings.turn_attempts_max:
            given_up = await self._answerer.give_up(
                project, request, "Too many attempts failed.", told_before=told_before
            )
            await self._park(message, "attempts")
            return given_up
        return await self._answerer.answer(
            project, request, outbox, place=place, told_before=told_before
        )

    async def _park(self, message: NatsMessage, reason: str) -> None:
        await self._client.jetstream().publish(
            subjects.parked(subjects.TURN_REQUESTS, reason),
            message.body,
            headers={"Turnlog-Subject": message.raw_message.subject},
        )
        log.error("turn.parked", subject=message.raw_message.subject, reason=reason)
        await message.ack()

    async def _tell(
        self,
        project: str,
        request: TurnRequest,
        outbox: Outbox,
        outcome: Outcome,
        *,
        started: float,
        stored: bool,
    ) -> None:
        line = log.bind(
            project=project,
            response_id=request.response_id,
            conversation_id=request.conversation_id if stored else None,
            duration_ms=round((clock.monotonic() - started) * 1000, 1),
        )
        if isinstance(outcome, End):
            if outcome.context is not None:
                await outbox.tell_context(outcome.context)
            await outbox.end(outcome.frame, number=outcome.number, sequence=outcome.sequence)
            line.info(
                "turn.ended",
                status=outcome.status,
                tokens=outcome.tokens,
                sequence=outcome.sequence,
            )
        else:
            await outbox.refuse(
                outcome.body, status=outcome.status, retry_after_s=outcome.retry_after_s
            )
            line.info("turn.refused", http_status=outcome.status)


def _read(message: NatsMessage, conversation_id: str | None) -> TurnRequest | None:
    """The request in a message; none if it is no request, or one for another subject."""
    try:
        request = turn_requests.decode(message.body)
    except msgspec.MsgspecError:
        return None
    if not acceptable(request.response_id):
        return None
    return request if conversation_id in {None, request.conversation_id} else None


async def _as_it_is(message: NatsMessage) -> NatsMessage:
    return message


async def build(settings: ResponderSettings) -> FastStream:
    """Connect, declare what is missing, bind subjects to handlers; nothing is consumed yet."""
    broker = NatsBroker(
        **connect.options(settings.nats_url, name="responder"),
        graceful_timeout=settings.stop_wait_s,
        apply_types=False,
        decoder=_as_it_is,
        logger=logging.getLogger("turnlog.faststream"),
        log_level=logging.DEBUG,
    )
    await broker.connect()
    client = broker.connection
    await streams.declare(client, deltas_age_s=settings.deltas_age_s)
    sealer = Sealer(await content_key(client, fresh_key()))
    tokenizer = Tokenizer()
    tokenizer.warm_up()
    model = connect_model(settings, sealer)
    intake = Intake(tokenizer, sealer)
    summariser = TurnSummariser(model, intake, sealer, tokens_budget=settings.tokens_budget)
    name = f"responder-{ids.unique()}"
    conversations = Conversations(
        JetStreamJournal(client),
        actor=name,
        policy=Policy(tokens_budget=settings.tokens_budget),
        rows_max=settings.cache_rows_max,
    )
    answerer = TurnAnswerer(conversations, ModelAsker(model, summariser), intake, name=name)
    responder = Responder(client, answerer, settings)
    broker.subscriber(
        subjects.ALL_TURN_REQUESTS,
        stream=JStream(subjects.TURN_REQUESTS, declare=False),
        durable=subjects.RESPONDER,
        pull_sub=PullSub(batch_size=1, timeout=5.0),
        max_workers=settings.turns_running_max,
        ack_policy=AckPolicy.MANUAL,
    )(responder.take)
    broker.subscriber(
        subjects.ALL_UNSTORED_TURN_REQUESTS,
        queue=subjects.RESPONDER,
        max_workers=settings.turns_running_max,
        ack_policy=AckPolicy.MANUAL,
        # The reply subject is the delta subject: the server tells there when nobody listens.
        no_reply=True,
    )(responder.take_unstored)

    async def health() -> queries.Health:
        return queries.Health(ok=client.is_connected)

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

    return FastStream(broker, lifespan=lifespan, logger=logging.getLogger("turnlog.faststream"))


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = demand(ResponderSettings)
    telemetry.configure(process="responder", level=settings.log_level)

    async def run() -> None:
        app = await build(settings)
        await app.run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
