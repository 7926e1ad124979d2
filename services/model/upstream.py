"""The one HTTP client of the model: the ``openai`` package, with bytes carried through it.

Connections, retries before the first byte, time limits and error classes are the package's; request
bodies are ours as bytes, and answers are handed on as bytes, since building objects of every delta
costs more than all else a turn does.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Any, NoReturn

import httpx2
import msgspec
import openai
from openai import AsyncOpenAI, AsyncStream, DefaultAioHttpClient

from services.model import ModelRefused, ModelUnavailable
from services.settings import ModelSettings

_JSON = {"Content-Type": "application/json"}
_REFUSALS = frozenset({400, 404, 409, 413, 422, 429})
"""Statuses that are about the request; the rest, credentials included, are about the upstream."""


DRAIN_WAIT_S = 0.05
"""Seconds an upstream is given to end a stream that has said everything."""


class _Events(AsyncStream[str]):
    """The data of server-sent events as text; decoding them is the caller's."""

    async def __stream__(self) -> AsyncIterator[str]:
        try:
            async for event in self._iter_events():
                if event.data.startswith("[DONE]"):
                    continue
                if event.data:
                    yield event.data
        finally:
            await self.response.aclose()


class Upstream:
    """One OpenAI-compatible server."""

    def __init__(self, settings: ModelSettings) -> None:
        """Connects at the first call, not here."""
        self._client = AsyncOpenAI(
            base_url=settings.model_url or None,
            api_key=settings.model_key or "none",
            timeout=settings.model_wait_s,
            max_retries=2,
            # A third less work for a call than the default transport; the timeout is the client's.
            http_client=DefaultAioHttpClient(timeout=settings.model_wait_s),
        )

    async def post(self, path: str, body: bytes) -> bytes:
        """The body of a plain answer."""
        try:
            answer: bytes = await self._client.post(
                path, cast_to=bytes, content=body, options={"headers": _JSON}
            )
        except openai.OpenAIError as error:
            _raise(error)
        return answer

    async def stream(self, path: str, body: bytes) -> AsyncGenerator[str]:
        """The data of each server-sent event of an answer."""
        try:
            events = await self._client.post(
                path,
                cast_to=str,
                content=body,
                options={"headers": _JSON},
                stream=True,
                stream_cls=_Events,
            )
            async with events:
                async for data in events:
                    yield data
        except openai.OpenAIError as error:
            _raise(error)

    async def get(self, path: str) -> bytes:
        """The body of an answer to a GET."""
        try:
            answer: bytes = await self._client.get(path, cast_to=bytes)
        except openai.OpenAIError as error:
            _raise(error)
        return answer

    async def aclose(self) -> None:
        """Give connections back."""
        await self._client.close()


async def drain(events: AsyncIterator[str]) -> None:
    """Read what follows the last event that matters: only then can the connection be used again."""
    with suppress(TimeoutError, ModelUnavailable):
        async with asyncio.timeout(DRAIN_WAIT_S):
            async for _ in events:
                continue


def _raise(error: openai.OpenAIError) -> NoReturn:
    if isinstance(error, openai.APIStatusError) and error.status_code in _REFUSALS:
        body: Any = error.body if isinstance(error.body, dict) else {}
        after = error.response.headers.get("retry-after", "")
        raise ModelRefused(
            str(body.get("message") or error.message),
            status=error.status_code,
            code=_written(body.get("code")),
            param=_written(body.get("param")),
            retry_after_s=int(after) if after.isdigit() else None,
        ) from error
    raise ModelUnavailable(_said(error)) from error


def _written(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _said(error: openai.OpenAIError) -> str:
    """What may be told to clients of a fault that is not theirs: no address, no key."""
    # The transport calls a refused connection one that timed out.
    connected = not isinstance(error.__cause__, httpx2.ConnectTimeout)
    if isinstance(error, openai.APITimeoutError) and connected:
        return "The model did not answer in time."
    if isinstance(error, openai.APIStatusError):
        return f"The model answered with status {error.status_code}."
    return "The connection to the model failed."


def decode_error(error: msgspec.MsgspecError) -> ModelUnavailable:
    """What a malformed answer of the upstream amounts to."""
    return ModelUnavailable(f"The model's answer could not be read: {error}")
