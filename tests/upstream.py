"""An upstream that answers what a test tells it to, byte by byte, over real HTTP.

Answers are found by a mark in the body of the request, so that tests can share one: each request
with the mark takes the next answer, and the last one answers all that follow.
"""

import asyncio
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

DROP = b"\0drop"
"""A chunk that is no chunk: the connection is cut here."""
HANG = b"\0hang"
"""A chunk that is no chunk: nothing more is sent until the client has left."""

HOLD = b"\0hold"
"""A first chunk that is no chunk: nothing is sent until `ScriptedUpstream.release`."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """An answer: ``chunks`` are sent one by one, raw."""

    chunks: tuple[bytes, ...] = ()
    status: int = 200
    kind: str = "application/json"
    headers: dict[str, str] = {}
    sized: bool = False
    """Whether its length is told before it; else it is sent in chunks."""


def body(value: object, *, status: int = 200, **headers: str) -> Said:
    """A plain answer; ``value`` as JSON, or bytes as they are."""
    payload = value if isinstance(value, bytes) else json.dumps(value).encode()
    named = {name.replace("_", "-"): told for name, told in headers.items()}
    return Said(chunks=(payload,), status=status, headers=named)


def error(status: int, message: str = "Nope.", /, **fields: Any) -> Said:
    """An error answer in OpenAI's shape; ``headers`` are the answer's."""
    headers = fields.pop("headers", {})
    told = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return body({"error": told | fields}, status=status, **headers)


def frame(event: object) -> bytes:
    """One server-sent event; bytes as they are."""
    data = event if isinstance(event, bytes) else json.dumps(event).encode()
    named = event.get("type") if isinstance(event, dict) else None
    name = b"event: %b\n" % named.encode() if isinstance(named, str) else b""
    return b"%bdata: %b\n\n" % (name, data)


def stream(events: Iterable[object]) -> Said:
    """Server-sent events; `DROP` and `HANG` among them are what they say."""
    chunks = (each if each in (DROP, HANG) else frame(each) for each in events)
    return Said(chunks=tuple(chunks), kind="text/event-stream")


class ScriptedUpstream:
    """Knows what to say to whom, and what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self._released = threading.Event()
        self._plans: dict[str, list[Said]] = {}
        self._asked: list[tuple[str, bytes, dict[str, str]]] = []

    def plan(self, mark: str, *said: Said) -> None:
        """Answer requests that hold ``mark`` with these, the last one again and again."""
        self._plans[mark] = list(said)

    def hold(self) -> None:
        """From now on, answers with `HOLD` are held."""
        self._released.clear()

    def release(self) -> None:
        """Let answers that are held go on."""
        self._released.set()

    def asked(self, mark: str = "") -> list[dict[str, Any]]:
        """Bodies of the requests that hold ``mark``, oldest first."""
        return [json.loads(payload) for _, payload, _ in self._asked if mark.encode() in payload]

    def paths(self) -> list[str]:
        """Where requests went, oldest first."""
        return [path for path, _, _ in self._asked]

    def retry_counts(self, mark: str) -> list[str]:
        """What the SDK says of each request with ``mark``: the number of retries before it."""
        return [
            headers["x-stainless-retry-count"]
            for _, payload, headers in self._asked
            if mark.encode() in payload
        ]

    def _said(self, payload: bytes) -> Said:
        for mark, said in self._plans.items():
            if mark.encode() in payload:
                return said.pop(0) if len(said) > 1 else said[0]
        return error(400, "Nobody said what to answer.")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *rest = head.split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (each.partition(":") for each in rest if each)
            }
            payload = await reader.readexactly(int(headers.get("content-length", 0)))
            self._asked.append((line.split()[1], payload, headers))
            said = self._said(payload)
            if said.chunks[:1] == (HOLD,):
                await asyncio.to_thread(self._released.wait)
                said = msgspec.structs.replace(said, chunks=said.chunks[1:])
            await _write(reader, writer, said)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        return server


async def _write(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: Said) -> None:
    if said.chunks[:1] == (DROP,):
        writer.transport.abort()
        return
    if said.chunks[:1] == (HANG,):
        await reader.read()
        return
    headers = {"content-type": said.kind, "connection": "close", **said.headers}
    if said.sized:
        sizes = (len(chunk) for chunk in said.chunks if chunk not in (DROP, HANG))
        # One byte more than there will be, if the end is cut off.
        headers["content-length"] = str(sum(sizes) + (DROP in said.chunks))
    else:
        headers["transfer-encoding"] = "chunked"
    lines = [f"HTTP/1.1 {said.status} Said", *(f"{name}: {v}" for name, v in headers.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    for chunk in said.chunks:
        if chunk == HANG:
            await writer.drain()
            await reader.read()
            return
        if chunk == DROP:
            await writer.drain()
            # What was written before must arrive, and nothing say that it is all.
            writer.close()
            return
        if chunk:
            writer.write(chunk if said.sized else b"%x\r\n%b\r\n" % (len(chunk), chunk))
    if not said.sized:
        writer.write(b"0\r\n\r\n")
    await writer.drain()


@contextmanager
def serving() -> Iterator[ScriptedUpstream]:
    """An upstream on a thread of its own, for as long as it is needed."""
    upstream = ScriptedUpstream()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="upstream", daemon=True)
    thread.start()

    def wait_for(step: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(step, loop).result(30)

    async def stop(server: asyncio.Server) -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    server = wait_for(upstream._start())
    try:
        yield upstream
    finally:
        wait_for(stop(server))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
