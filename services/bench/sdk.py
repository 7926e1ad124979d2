"""The load of ``turnlog bench --client openai``: the calls of a user of the ``openai`` package."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai

from services import clock
from services.bench.load import MODEL, BenchFailed, Heard, Said, input_of


class SdkClient:
    """As `WireClient`, through ``AsyncOpenAI``: its own cost is in every figure."""

    def __init__(self, url: str, *, key: str) -> None:
        """``url`` ends in ``/v1``."""
        self._openai = openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0)

    async def turn(self, said: Said) -> Heard:
        """As the protocol says."""
        with _told():
            return await self._turn(said)

    async def open_conversation(self) -> str:
        """As the protocol says."""
        with _told():
            return (await self._openai.conversations.create()).id

    async def add_item(self, conversation_id: str, text: str) -> float:
        """As the protocol says."""
        begun = clock.monotonic()
        with _told():
            added = await self._openai.conversations.items.create(
                conversation_id, items=[{"type": "message", "role": "user", "content": text}]
            )
        took_s = clock.monotonic() - begun
        if [_text(item) for item in added.data] != [text]:
            raise BenchFailed("items.create answered with another item")
        return took_s

    async def list_items(self, conversation_id: str, *, limit: int) -> tuple[float, list[str]]:
        """As the protocol says."""
        begun = clock.monotonic()
        with _told():
            page = await self._openai.conversations.items.list(conversation_id, limit=limit)
        return clock.monotonic() - begun, [_text(item) for item in page.data]

    async def aclose(self) -> None:
        """As the protocol says."""
        await self._openai.close()

    async def _turn(self, said: Said) -> Heard:
        # The package's types want each kind of item named; what is sent is the same.
        given: Any = input_of(said)
        conversation = openai.omit if said.conversation_id is None else said.conversation_id
        begun = clock.monotonic()
        if not said.stream:
            response = await self._openai.responses.create(
                model=MODEL, input=given, conversation=conversation
            )
            if response.status != "completed":
                raise BenchFailed(f"a turn ended as {response.status}")
            return Heard(response.output_text, clock.monotonic() - begun, 0.0)
        first_s, text = 0.0, None
        stream = await self._openai.responses.create(
            model=MODEL, input=given, conversation=conversation, stream=True
        )
        async for event in stream:
            if event.type == "response.output_text.delta" and not first_s:
                first_s = clock.monotonic() - begun
            elif event.type == "response.completed":
                text = event.response.output_text
        if text is None or not first_s:
            raise BenchFailed("a stream ended without response.completed or without a delta")
        return Heard(text, clock.monotonic() - begun, first_s)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except openai.OpenAIError as error:
        raise BenchFailed(f"a call failed: {error}") from error


def _text(item: Any) -> str:
    return "".join(part.text for part in item.content)
