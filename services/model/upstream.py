"""The one HTTP client of the model: the ``openai`` package, with bytes carried through it.

Connections, retries before the first byte, time limits and error classes are the package's; request
bodies are ours as bytes, and answers are handed on as bytes, since building objects of every delta
costs more than all else a turn does.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager, suppress

import aiohttp
import httpx2
import msgspec
import openai
from openai import AsyncOpenAI, AsyncStream, DefaultAioHttpClient

from schemas.http import checks
from services.model import Answer, Call, ModelUnavailable
from services.model.refusals import fault, model_unknown
from services.settings import ModelSettings

_JSON = {"Content-Type": "application/json"}

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding bytes that are not the JSON that was promised comes to."""


_UNCONNECTED = "The connection to the model failed."

DRAIN_WAIT_S = 0.05
"""Seconds an upstream is given to end a stream that has said everything."""


class _Listed(msgspec.Struct):
    data: tuple[msgspec.Raw, ...]


class _Named(msgspec.Struct):
    id: str


_models = msgspec.json.Decoder(_Listed).decode
_model = msgspec.json.Decoder(_Named).decode


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
        with _translated():
            answer: bytes = await self._client.post(
                path, cast_to=bytes, content=body, options={"headers": _JSON}
            )
        return answer

    async def stream(self, path: str, body: bytes) -> AsyncGenerator[str]:
        """The data of each server-sent event of an answer."""
        with _translated():
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

    async def models(self) -> bytes:
        """The list of models it serves, as it tells it."""
        with _translated():
            answer: bytes = await self._client.get("/models", cast_to=bytes)
        return answer

    async def model(self, name: str) -> bytes:
        """One model of that list: not every server can be asked for one alone."""
        listed = await self.models()
        try:
            models = _models(listed).data
            found = next((raw for raw in models if _model(raw).id == name), None)
        except UNREADABLE as error:
            raise decode_error(error) from error
        if found is None:
            raise model_unknown(f"The model '{name}' does not exist.", status=404)
        return bytes(found)

    async def aclose(self) -> None:
        """Give connections back."""
        await self._client.close()


async def drain(events: AsyncIterator[str]) -> None:
    """Read what follows the last event that matters: only then can the connection be used again."""
    with suppress(TimeoutError, ModelUnavailable):
        async with asyncio.timeout(DRAIN_WAIT_S):
            async for _ in events:
                continue


@contextmanager
def _translated() -> Iterator[None]:
    """Every fault of the client as one of ours."""
    try:
        yield
    except openai.APIStatusError as error:
        raise fault(error.status_code, error.body, error.response.headers) from error
    except openai.APITimeoutError as error:
        # The transport calls a refused connection one that timed out.
        connected = not isinstance(error.__cause__, httpx2.ConnectTimeout)
        why = "The model did not answer in time." if connected else _UNCONNECTED
        raise ModelUnavailable(why) from error
    except (openai.OpenAIError, httpx2.HTTPError, aiohttp.ClientError) as error:
        # The transport lets some of its own through: HTTP that is none, for one.
        raise ModelUnavailable(_UNCONNECTED) from error
    except UnicodeDecodeError as error:
        raise decode_error(error) from error


def decode_error(error: Exception) -> ModelUnavailable:
    """What a malformed answer of the upstream amounts to; nothing of what it holds is told."""
    why = f": {error}" if isinstance(error, msgspec.MsgspecError) else ""
    return ModelUnavailable(f"The model's answer could not be read{why}")


def failed(call: Call, *, code: str | None, message: str) -> Answer:
    """The answer of an upstream that says it failed."""
    return Answer(
        status="failed",
        items=(),
        usage=checks.NULL,
        model=call.model,
        error_code=code or "server_error",
        error_message=message,
    )
