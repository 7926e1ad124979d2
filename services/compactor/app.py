"""The compactor's table of contents: it reads the headers of every commit and acts on few."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
import uvloop
from faststream import AckPolicy, FastStream
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from nats.aio.msg import Msg

from schemas import queries, subjects
from schemas.envelope import EVENTS_HEADER
from services import clock, ids, telemetry
from services.compactor.compact_conversation import ConversationCompactor
from services.compactor.settings import CompactorSettings
from services.conversation.decide import Policy
from services.conversation.refusals import CompactionSuperseded
from services.journal import JournalUnavailable, connect, streams
from services.journal.conversations import Conversations
from services.journal.jetstream import JetStreamJournal
from services.journal.keys import content_key
from services.model import ModelRefused, ModelUnavailable
from services.model.connect import model as connect_model
from services.model.tokenizer import Tokenizer
from services.sealing import Sealer, fresh_key
from services.settings import read

log = structlog.get_logger()

CROSSED = "budget_crossed"
BATCH = 500
"""Commits looked at together; nearly all are let go by their headers."""
BATCH_WAIT_S = 0.1
"""Seconds a batch is waited for; what a compaction may start later for it."""
HEARTBEAT_S = 20.0
RETRY_WAIT_S = 5.0


class Compactor:
    """Lets commits go that crossed no budget, and answers those that did."""

    def __init__(self, compactor: ConversationCompactor) -> None:
        """``compactor`` does the work."""
        self._compactor = compactor

    async def take(self, batch: NatsMessage) -> None:
        """A batch of commits, headers only; each is acked once nothing remains to be done."""
        crossed: list[Msg] = []
        raw: list[Msg] = batch.raw_message  # type: ignore[assignment]  # a batch holds many
        for message in raw:
            if CROSSED in (message.headers or {}).get(EVENTS_HEADER, "").split(","):
                crossed.append(message)
            else:
                await message.ack()
        await asyncio.gather(*map(self._answer, crossed))

    async def _answer(self, message: Msg) -> None:
        project, conversation_id = subjects.conversation_parts(message.subject)
        line = log.bind(project=project, conversation_id=conversation_id)
        started = clock.monotonic()
        life = asyncio.create_task(_show_life(message))
        try:
            outcome = await self._compactor.compact(project, conversation_id)
        except (ModelUnavailable, JournalUnavailable, CompactionSuperseded) as error:
            line.warning("compaction.delayed", error=str(error))
            await message.nak(delay=RETRY_WAIT_S)
            return
        except ModelRefused as refused:
            line.error("compaction.refused", http_status=refused.status)
            await message.ack()
            return
        except Exception:
            line.exception("compaction.crashed")
            await message.nak(delay=RETRY_WAIT_S)
            return
        finally:
            life.cancel()
        await message.ack()
        line.info(
            "compaction.stored" if outcome.sequence else "compaction.left",
            reason=outcome.reason,
            tokens_before=outcome.tokens_before,
            tokens_after=outcome.tokens_after,
            sequence=outcome.sequence,
            duration_ms=round((clock.monotonic() - started) * 1000, 1),
        )


async def _show_life(message: Msg) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        await message.in_progress()


async def _as_it_is(message: NatsMessage) -> NatsMessage:
    return message


async def build(settings: CompactorSettings) -> FastStream:
    """Connect, declare what is missing, bind the consumer; nothing is consumed yet."""
    broker = NatsBroker(
        **connect.options(settings.nats_url, name="compactor"),
        graceful_timeout=settings.stop_wait_s,
        apply_types=False,
        logger=structlog.get_logger("faststream"),
        log_level=10,
    )
    await broker.connect()
    client = broker.connection
    await streams.declare(client)
    sealer = Sealer(await content_key(client, fresh_key()))
    model = connect_model(settings, sealer)
    compactor = Compactor(
        ConversationCompactor(
            Conversations(
                JetStreamJournal(client),
                actor=f"compactor-{ids.unique()}",
                policy=Policy(tokens_budget=settings.tokens_budget),
                rows_max=settings.cache_rows_max,
            ),
            model,
            Tokenizer(),
            sealer,
            tokens_budget=settings.tokens_budget,
            model_name=settings.compaction_model,
        )
    )
    broker.subscriber(
        subjects.ALL_CONVERSATIONS,
        stream=JStream(subjects.CONVERSATIONS, declare=False),
        durable=subjects.COMPACTOR,
        pull_sub=PullSub(batch_size=BATCH, timeout=BATCH_WAIT_S, batch=True),
        decoder=_as_it_is,
        ack_policy=AckPolicy.MANUAL,
    )(compactor.take)

    async def health() -> queries.Health:
        return queries.Health(ok=client.is_connected)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        await connect.answer_health(client, "compactor", health)
        log.info("compactor.started", tokens_budget=settings.tokens_budget)
        yield
        await model.aclose()
        log.info("compactor.stopped")

    return FastStream(broker, lifespan=lifespan, logger=structlog.get_logger("faststream"))


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = read(CompactorSettings)
    telemetry.configure(process="compactor", level=settings.log_level)

    async def run() -> None:
        app = await build(settings)
        await app.run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
