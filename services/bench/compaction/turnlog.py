"""Turnlog's own compactions, by all of its processes, started for this.

The conversation is added over HTTP, by the ``openai`` package; what becomes of it is read from the
log, which is what the model's window is made of.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import openai
from nats.aio.client import Client as Nats

from schemas import envelope, subjects
from schemas.events import ConversationCompacted
from services import clock
from services.bench import system
from services.bench.compaction.cycles import Compacted, Plan
from services.bench.compaction.meter import Meter
from services.bench.compaction.scenes import Turn
from services.bench.load import BenchFailed
from services.cli.connection import connected
from services.conversation.budget import Policy
from services.conversation.state import Conversation
from services.journal.conversations import Conversations
from services.journal.jetstream import JetStreamJournal
from services.journal.keys import ContentKeys
from services.sealing import Sealer
from services.settings import ModelSettings

METHODS: tuple[str, ...] = get_args(ModelSettings.__annotations__["compaction_method"])
"""Ways to compact, as the setting names them."""
COMPACTION_WAIT_S = 600.0
POLL_S = 0.02


class Turnlog:
    """One conversation of a running Turnlog."""

    def __init__(
        self, client: openai.AsyncOpenAI, log: Nats, sealer: Sealer, conversation_id: str
    ) -> None:
        """``log`` is only read."""
        self.sealer = sealer
        self._client = client
        self._log = log
        self._id = conversation_id
        self._journal = JetStreamJournal(log)
        self._conversations = Conversations(self._journal, actor="bench", policy=Policy())
        self._compacted_at = 0

    async def say(self, part: Turn) -> Compacted | None:
        """As the protocol says."""
        # The package's types want each kind of item named; what is sent is the same.
        items: Any = list(part)
        try:
            await self._client.conversations.items.create(self._id, items=items)
        except openai.OpenAIError as error:
            raise BenchFailed(f"a call failed: {error}") from error
        begun = clock.monotonic()
        state = await self._settled()
        at = state.compactions[-1].sequence if state.compactions else 0
        if at == self._compacted_at:
            return None
        took_s = clock.monotonic() - begun
        self._compacted_at = at
        event = await self._event(at)
        return Compacted(
            window=state.window(),
            method=event.method,
            fallback=event.fallback,
            tokens_before=event.tokens_before,
            tokens_after=event.tokens_after,
            seconds=took_s,
        )

    async def _settled(self) -> Conversation:
        """The conversation once nobody is about to compact it."""
        deadline = clock.monotonic() + COMPACTION_WAIT_S
        state = await self._state()
        while state.crossed:
            rests = await self._compactor_rests()
            state = await self._state()
            if rests:
                break
            if clock.monotonic() > deadline:
                raise BenchFailed(f"no compaction within {COMPACTION_WAIT_S:g} s")
            await asyncio.sleep(POLL_S)
        return state

    async def _state(self) -> Conversation:
        return (await self._conversations.load(subjects.DEFAULT_PROJECT, self._id)).state

    async def _compactor_rests(self) -> bool:
        """Whether it has done all it will do about every commit there is."""
        jetstream = self._log.jetstream()
        info = await jetstream.consumer_info(subjects.CONVERSATIONS, subjects.COMPACTOR)
        return not info.num_pending and not info.num_ack_pending

    async def _event(self, sequence: int) -> ConversationCompacted:
        """The compaction in the commit at ``sequence``."""
        commits = await self._journal.read(subjects.DEFAULT_PROJECT, self._id, after=sequence - 1)
        told = map(envelope.unpack, envelope.decode(commits[0].payload).events)
        return next(event for event in told if isinstance(event, ConversationCompacted))


@asynccontextmanager
async def remembering(
    plan: Plan, meter: Meter, folder: Path, *, method: str
) -> AsyncIterator[Turnlog]:
    """A Turnlog of its own in ``folder``, whose model is the meter's; it ends with the block."""
    await asyncio.to_thread(folder.mkdir)
    async with system.supervised(folder) as supervisor:
        servers = await system.turnlog(
            supervisor,
            folder,
            MODEL_URL=meter.url,
            MODEL_KEY=plan.model.model_key or "none",
            MODEL_API=plan.model.model_api,
            COMPACTION_MODEL=plan.model_name,
            TOKENS_BUDGET=str(plan.tokens_budget),
            COMPACTION_METHOD=method,
        )
        assert servers.nats_url is not None
        async with (
            openai.AsyncOpenAI(base_url=servers.url, api_key="bench") as client,
            connected(servers.nats_url, name="turnlog bench") as log,
        ):
            sealer = await ContentKeys(log).opener()
            conversation = await client.conversations.create()
            yield Turnlog(client, log, sealer, conversation.id)
