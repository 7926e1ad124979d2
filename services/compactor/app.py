"""The compactor's table of contents: it reads the headers of every commit and acts on few.

Its consumer is nats-py's own: letting a commit go costs a quarter of what a FastStream handler
does, and all but a few are let go. Beside that it answers who asks for a window to be compacted.
"""

import asyncio
import os
import signal
from contextlib import suppress

import nats.errors
import structlog
import uvloop
from nats.aio.msg import Msg

from schemas import queries, subjects
from schemas.envelope import EVENTS_HEADER
from services import clock, ids, telemetry
from services.compaction.connect import summariser as connect_summariser
from services.compactor.answer_compact import CompactAnswerer
from services.compactor.compact_conversation import ConversationCompactor
from services.compactor.compact_window import WindowCompactor
from services.compactor.settings import CompactorSettings
from services.conversation.refusals import CompactionSuperseded
from services.journal import JournalUnavailable, connect, erased, streams
from services.journal import vault as vaults
from services.journal.conversations import Conversations
from services.journal.jetstream import JetStreamJournal
from services.journal.keys import ContentKeys
from services.model.connect import model as connect_model
from services.model.intake import Intake
from services.model.tokenizer import Tokenizer
from services.settings import demand

log = structlog.get_logger()

CROSSED = "budget_crossed"
HEARTBEAT_S = 20.0
RETRY_WAIT_S = 5.0
RETRY_WAIT_S_MAX = 3600.0
"""What fails each time may have asked its model each time."""


class Compactor:
    """Lets commits go that crossed no budget, and answers those that did."""

    def __init__(self, compactor: ConversationCompactor) -> None:
        """``compactor`` does the work."""
        self._compactor = compactor
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, message: Msg) -> None:
        """One commit, headers only; acked once nothing remains to be done about it."""
        if CROSSED not in (message.headers or {}).get(EVENTS_HEADER, "").split(","):
            await message.ack()
            return
        # Summaries take their time; the next commits are not kept waiting for it.
        task = asyncio.create_task(self._answer(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: Msg) -> None:
        project, conversation_id = subjects.conversation_parts(message.subject)
        line = log.bind(project=project, conversation_id=conversation_id)
        started = clock.monotonic()
        life = asyncio.create_task(_show_life(message))
        try:
            outcome = await self._compactor.compact(project, conversation_id)
        except (JournalUnavailable, CompactionSuperseded) as error:
            line.warning("compaction.delayed", error=str(error))
            await message.nak(delay=RETRY_WAIT_S)
            return
        except Exception:
            log.exception("compaction.crashed", conversation_id=conversation_id)
            await message.nak(delay=retry_wait_s(message.metadata.num_delivered or 1))
            return
        finally:
            life.cancel()
        await message.ack()
        line.info(
            "compaction.stored" if outcome.sequence else "compaction.left",
            reason=outcome.reason,
            method=outcome.method,
            fallback=outcome.fallback,
            tokens_before=outcome.tokens_before,
            tokens_after=outcome.tokens_after,
            sequence=outcome.sequence,
            duration_ms=round((clock.monotonic() - started) * 1000, 1),
        )


def retry_wait_s(delivered: int) -> float:
    """How long a crossing waits whose compaction has failed unforeseen, this time and before."""
    return min(RETRY_WAIT_S_MAX, RETRY_WAIT_S * (1 << min(delivered - 1, 16)))


async def _show_life(message: Msg) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        # Unheard, another compactor is given the crossing as well: one of them will find it done.
        with suppress(nats.errors.Error):
            await message.in_progress()


async def run(settings: CompactorSettings) -> None:
    """Answer crossings until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    client = await connect.connect(settings.nats_url, name="compactor", tls=settings.tls())
    await streams.declare(client, chosen=settings)
    vault = await vaults.opened(client, settings)
    sealer = await ContentKeys(client).sealer()
    model = connect_model(settings, sealer)
    tokenizer = Tokenizer()
    tokenizer.warm_up()
    summariser = connect_summariser(settings, model, sealer, tokenizer)
    conversations = Conversations(
        JetStreamJournal(client, vault),
        actor=f"compactor-{ids.unique()}",
        policy=settings.policy,
        rows_max=settings.cache_rows_max,
    )
    await erased.listen(client, conversations.forget, *((vault.forget,) if vault else ()))
    compactor = Compactor(
        ConversationCompactor(
            conversations,
            summariser,
            sealer,
            shrink_share=settings.compaction_shrink_share,
            model_name=settings.compaction_model,
        )
    )
    answerer = CompactAnswerer(
        WindowCompactor(
            conversations,
            summariser,
            Intake(tokenizer, sealer),
            sealer,
            policy=settings.policy,
            shrink_share=settings.compaction_shrink_share,
            model_name=settings.compaction_model,
        )
    )

    async def health() -> queries.Health:
        return queries.Health(ok=client.is_connected)

    jetstream = client.jetstream()
    consumer = (await jetstream.consumer_info(subjects.CONVERSATIONS, subjects.COMPACTOR)).config
    await jetstream.subscribe_bind(
        subjects.CONVERSATIONS, consumer, subjects.COMPACTOR, cb=compactor.take, manual_ack=True
    )
    keeping = asyncio.create_task(streams.keep_consumer(client, subjects.CONVERSATIONS, consumer))
    await client.subscribe(subjects.ask("compact"), queue=subjects.COMPACTOR, cb=answerer.take)
    await connect.answer_health(client, "compactor", health)
    log.info("compactor.started", tokens_budget=settings.tokens_budget)
    await stopped.wait()
    keeping.cancel()
    await client.drain()
    await model.aclose()
    log.info("compactor.stopped")


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = demand(CompactorSettings)
    telemetry.configure(process="compactor", level=settings.log_level)
    os.nice(settings.niceness)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(settings))
