"""What compactions cost: a door before the model that hands everything on and counts it.

Each call is counted where it is made, whatever became of its answer: a summary that was thrown
away has been paid for all the same.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
import msgspec
from aiohttp import web

from services.cli.up import LOOPBACK

ANSWER_WAIT_S = 600.0
BODY_BYTES_MAX = 64 << 20
_OURS = frozenset({"host", "content-length", "transfer-encoding", "accept-encoding", "connection"})
"""Headers of a request that are about one connection."""
_THEIRS = ("content-type", "retry-after", "x-request-id")
"""Headers of an answer that clients of a model read."""
_UNREACHABLE = 502


class Spent(NamedTuple):
    """Calls of the model, and its own count of what it read and wrote."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def since(self, earlier: "Spent") -> "Spent":
        """What was spent after ``earlier``."""
        return Spent(*(now - before for now, before in zip(self, earlier, strict=True)))


class _Usage(msgspec.Struct):
    """The counts of either API, each under its own names."""

    input_tokens: int = 0
    output_tokens: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


_answer = msgspec.json.Decoder(_Answer).decode


class Meter:
    """A model's server as its clients see it, at ``url``."""

    def __init__(self, upstream: str, session: aiohttp.ClientSession) -> None:
        """``upstream`` ends in ``/v1``, as `url` will."""
        self._upstream = upstream.rstrip("/")
        self._session = session
        self.spent = Spent()
        self.url = ""

    async def hand_on(self, request: web.Request) -> web.Response:
        """One call and its answer, whole."""
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in _OURS
        }
        body = await request.read()
        if request.method == "POST":
            self.spent = self.spent._replace(calls=self.spent.calls + 1)
        try:
            async with self._session.request(
                request.method,
                self._upstream + request.raw_path.removeprefix("/v1"),
                headers=headers,
                data=body or None,
            ) as answered:
                told = await answered.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            return web.json_response({"error": {"message": str(error)}}, status=_UNREACHABLE)
        self._count(told)
        kept = {name: answered.headers[name] for name in _THEIRS if name in answered.headers}
        return web.Response(status=answered.status, body=told, headers=kept)

    def _count(self, told: bytes) -> None:
        try:
            usage = _answer(told).usage or _Usage()
        except msgspec.MsgspecError:
            return
        self.spent = Spent(
            self.spent.calls,
            self.spent.input_tokens + usage.input_tokens + usage.prompt_tokens,
            self.spent.output_tokens + usage.output_tokens + usage.completion_tokens,
        )


@asynccontextmanager
async def metered(upstream: str) -> AsyncIterator[Meter]:
    """A meter on a free port of this machine, before the server ``upstream``."""
    wait = aiohttp.ClientTimeout(total=ANSWER_WAIT_S)
    async with aiohttp.ClientSession(timeout=wait) as session:
        meter = Meter(upstream, session)
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_route("*", "/v1/{path:.*}", meter.hand_on)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, LOOPBACK, 0)
            await site.start()
            _, port = runner.addresses[0][:2]
            meter.url = f"http://{LOOPBACK}:{port}/v1"
            yield meter
        finally:
            await runner.cleanup()
