"""Clients of all kinds, each led by dice of its own, that note everything they are told."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import openai
from openai import AsyncOpenAI

from tests.faults import asking
from tests.faults.asking import QueueDoor
from tests.faults.evidence import Turn, Write, tagged
from tests.whole.running import function, message, output_of

OVERLAPS = ("queue", "queue", "reject", "interrupt")
KEYED_SHARE = 0.7
"""Share of the turns that are sent with an idempotency key."""
TURNS_MAX = 25
"""Turns after which a client begins another conversation."""
LOOK_UP = function("look_up", name="string")
DANGLING = "No tool output found"


class Notes:
    """What all clients were told."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.writes: list[Write] = []
        self.conversations: dict[str, None] = {}
        self.chains: list[Turn] = []

    def turn(self, **fields: Any) -> Turn:
        """A turn that is about to be asked for."""
        turn = Turn(asked_at=time.monotonic(), heard=[], **fields)
        self.turns.append(turn)
        return turn

    def write(self, **fields: Any) -> Write:
        """A write that is about to be asked for."""
        write = Write(asked_at=time.monotonic(), **fields)
        self.writes.append(write)
        return write


class Actor:
    """One client: it asks for one thing after another, at any of the doors."""

    def __init__(
        self, name: str, seed: int, notes: Notes, clients: list[AsyncOpenAI], queue: QueueDoor
    ) -> None:
        """``name`` is letters and a number."""
        self.name = name
        self.dice = random.Random(f"{name}/{seed}")
        self.notes = notes
        self.clients = clients
        self.queue = queue
        self._count = 0

    @property
    def client(self) -> AsyncOpenAI:
        """Any of the gateways."""
        return self.dice.choice(self.clients)

    def tag(self) -> str:
        """A tag never used before."""
        self._count += 1
        return f"{self.name}-{self._count}"

    def text(self, tag: str) -> str:
        """Something to say: short or long, answered at once, slowly, or after a while."""
        orders = [
            "",
            "[[delay 0.02]] [[words 20]]",
            "[[delay 0.1]] [[words 15]]",
            "[[wait 0.5]]",
            "[[wait 2]] [[words 30]]",
            "[[reasoning]]",
            "[[incomplete]] [[delay 0.03]]",
        ]
        order = self.dice.choices(orders, (6, 5, 3, 2, 1, 1, 1))[0]
        return f"{order} My number is {self.dice.randint(1, 10**9)} {tagged(tag)}"

    async def conversation(self) -> str | None:
        """A new conversation, unless that was not acked."""
        tag = self.tag()
        write = self.notes.write(kind="created", tag=tag)

        async def create() -> str:
            made = await self.client.conversations.create(metadata={"tag": tag})
            write.conversation_id = made.id
            self.notes.conversations[made.id] = None
            return made.id

        return await asking.write(write, create)

    async def pause(self) -> None:
        """Think."""
        await asyncio.sleep(self.dice.uniform(0, 0.4))


class Talker(Actor):
    """Leads a conversation alone, with everything the API has for it."""

    async def live(self, ceasing: asyncio.Event) -> None:
        """One thing after another."""
        works: dict[Callable[[str], Awaitable[None]], int] = {
            self.plain: 5,
            self.streamed: 5,
            self.in_background: 3,
            self.cancelled: 1,
            self.tool: 2,
            self.items: 3,
            self.deletion: 1,
            self.update: 1,
        }
        while not ceasing.is_set():
            conversation_id = await self.conversation()
            if conversation_id is None:
                await asyncio.sleep(0.5)
                continue
            for _ in range(self.dice.randint(5, TURNS_MAX)):
                work = self.dice.choices(list(works), list(works.values()))[0]
                await work(conversation_id)
                await self.pause()
                if ceasing.is_set():
                    return

    def asked(self, conversation_id: str, **fields: Any) -> Turn:
        """A turn of it."""
        return self.notes.turn(
            tag=self.tag(), conversation_id=conversation_id, keyed=self.keyed(), **fields
        )

    def keyed(self) -> bool:
        """Whether a turn is sent with a key."""
        return self.dice.random() < KEYED_SHARE

    async def plain(self, conversation_id: str) -> None:
        """A turn in one piece."""
        turn = self.asked(conversation_id, door="plain")
        await asking.plain(self.client, turn, self.text(turn.tag))
        await self.mended(turn)

    async def streamed(self, conversation_id: str) -> None:
        """A turn as a stream."""
        turn = self.asked(conversation_id, door="streamed")
        await asking.streamed(self.client, turn, self.text(turn.tag))
        await self.mended(turn)

    async def in_background(self, conversation_id: str) -> None:
        """A turn nobody waits for."""
        turn = self.asked(conversation_id, door="background")
        await asking.background(self.client, turn, self.text(turn.tag))
        await self.mended(turn)

    async def cancelled(self, conversation_id: str) -> None:
        """A turn that is not wanted any more."""
        turn = self.asked(conversation_id, door="background")
        await asking.background(
            self.client, turn, self.text(turn.tag), cancel_after_s=self.dice.uniform(0, 0.6)
        )

    async def tool(self, conversation_id: str) -> None:
        """A turn that calls a function, and the one with its output."""
        turn = self.asked(conversation_id, door=self.dice.choice(("plain", "streamed")))
        text = f'[[call look_up {{"name": "lamp"}}]] {tagged(turn.tag)}'
        ask = asking.plain if turn.door == "plain" else asking.streamed
        await ask(self.client, turn, text, tools=[LOOK_UP])
        if turn.ended is not None and turn.ended["status"] == "completed":
            await self.answered(conversation_id, turn.ended["output"])

    async def answered(self, conversation_id: str, output: list[dict[str, Any]]) -> None:
        """A turn with an output for every call."""
        turn = self.asked(conversation_id, door="plain")
        outputs = [
            output_of(item["call_id"], f"in stock {tagged(turn.tag)}")
            for item in output
            if item["type"] == "function_call"
        ]
        if outputs:
            await asking.plain(self.client, turn, outputs)

    async def mended(self, turn: Turn) -> None:
        """Go on after a refusal: wait, or answer a call whose turn was not heard of."""
        if turn.refusal is None:
            return
        if DANGLING in turn.refusal.message and turn.conversation_id is not None:
            await self.answered(turn.conversation_id, await dangling(self.client, turn))
        await asyncio.sleep(0.5)

    async def items(self, conversation_id: str) -> None:
        """Items added by hand."""
        write = self.notes.write(kind="items", tag=self.tag(), conversation_id=conversation_id)
        batch = [message(f"{n} {tagged(write.tag)}") for n in range(self.dice.randint(1, 3))]
        await asking.write(
            write, lambda: self.client.conversations.items.create(conversation_id, items=batch)
        )

    async def deletion(self, conversation_id: str) -> None:
        """A message deleted."""
        try:
            listed = await self.client.conversations.items.list(conversation_id, limit=10)
        except asking.FAULTS:
            return
        messages = [item for item in listed.data if item.type == "message"]
        if not messages:
            return
        item_id = str(self.dice.choice(messages).id)
        write = self.notes.write(kind="deleted", tag=item_id, conversation_id=conversation_id)
        await asking.write(
            write,
            lambda: self.client.conversations.items.delete(
                item_id, conversation_id=conversation_id
            ),
        )

    async def update(self, conversation_id: str) -> None:
        """Other metadata."""
        tag = self.tag()
        write = self.notes.write(kind="updated", tag=tag, conversation_id=conversation_id)
        await asking.write(
            write,
            lambda: self.client.conversations.update(conversation_id, metadata={"tag": tag}),
        )


class Chainer(Talker):
    """Follows its own responses, without a conversation."""

    async def live(self, ceasing: asyncio.Event) -> None:
        """One turn behind the other."""
        while not ceasing.is_set():
            parent: Turn | None = None
            for _ in range(self.dice.randint(2, TURNS_MAX)):
                parent = await self.follow(parent) or parent
                await self.pause()
                if ceasing.is_set():
                    return

    async def follow(self, parent: Turn | None) -> Turn | None:
        """The next turn, if its answer was heard whole."""
        door = self.dice.choice(("plain", "streamed", "background"))
        turn = self.notes.turn(
            tag=self.tag(),
            door=door,
            keyed=self.keyed(),
            parent=parent.response_id if parent is not None else None,
        )
        await getattr(asking, door)(self.client, turn, self.text(turn.tag))
        if turn.ended is None or turn.ended["status"] not in {"completed", "incomplete"}:
            await asyncio.sleep(0.5)
            return None
        self.notes.chains.append(turn)
        return turn


class Crowd(Talker):
    """Several clients of one conversation, in one another's way."""

    async def live(self, ceasing: asyncio.Event) -> None:
        """A conversation after the other, each of them shared by three."""
        while not ceasing.is_set():
            conversation_id = await self.conversation()
            if conversation_id is None:
                await asyncio.sleep(0.5)
                continue
            members = [self.member(conversation_id, ceasing) for _ in range(3)]
            await asyncio.gather(*members)

    async def member(self, conversation_id: str, ceasing: asyncio.Event) -> None:
        """One of them."""
        for _ in range(self.dice.randint(3, 8)):
            if ceasing.is_set():
                return
            door = self.dice.choice(("plain", "streamed", "background"))
            overlap = self.dice.choice(OVERLAPS)
            turn = self.asked(conversation_id, door=door, overlap=overlap)
            await getattr(asking, door)(self.client, turn, self.text(turn.tag))
            await self.pause()


class Backend(Talker):
    """Puts several turns of a conversation onto the queue at once, and its items over HTTP."""

    async def live(self, ceasing: asyncio.Event) -> None:
        """One heap after the other."""
        while not ceasing.is_set():
            conversation_id = await self.conversation()
            if conversation_id is None:
                await asyncio.sleep(0.5)
                continue
            for _ in range(self.dice.randint(2, 6)):
                await asyncio.gather(
                    *(self.queued(conversation_id) for _ in range(self.dice.randint(1, 4)))
                )
                await self.items(conversation_id)
                if ceasing.is_set():
                    return

    async def queued(self, conversation_id: str) -> None:
        """A turn straight onto the queue."""
        turn = self.notes.turn(
            tag=self.tag(), conversation_id=conversation_id, door="queue", overlap="queue"
        )
        await self.queue.ask(turn, self.text(turn.tag), stream=self.dice.random() < 0.5)
        turn.ended_at = turn.ended_at or time.monotonic()


async def dangling(client: AsyncOpenAI, turn: Turn) -> list[dict[str, Any]]:
    """Calls at the end of a conversation that have no output yet."""
    try:
        listed = await client.conversations.items.list(str(turn.conversation_id), limit=20)
    except openai.OpenAIError:
        return []
    found = [item.to_dict() for item in listed.data]
    answered = {item["call_id"] for item in found if item["type"] == "function_call_output"}
    return [
        item
        for item in found
        if item["type"] == "function_call" and item["call_id"] not in answered
    ]


def everybody(
    seed: int, notes: Notes, clients: list[AsyncOpenAI], queue: QueueDoor
) -> list[Talker]:
    """All clients of a run."""
    kinds = [Talker] * 6 + [Chainer] * 4 + [Crowd] * 2 + [Backend] * 4
    return [
        kind(f"{kind.__name__.lower()}{number}", seed, notes, clients, queue)
        for number, kind in enumerate(kinds)
    ]
