"""Whether an HTTP server answers yet."""

import asyncio

import click

from services import clock

INTERVAL_S = 0.05
ANSWER_WAIT_S = 5.0
"""Seconds one question may take; a server that is just starting leaves it in its queue."""


class NotReady(click.ClickException):
    """The server did not answer 200 in time."""

    def __init__(self, *, host: str, port: int, wait_s: float, last: str) -> None:
        super().__init__(f"{host}:{port} was not ready within {wait_s:g} s: {last}")


async def wait_for_answer(host: str, port: int, path: str, *, wait_s: float) -> None:
    """Return once ``GET path`` is answered with 200."""
    deadline = clock.monotonic() + wait_s
    last = "nobody listened"
    while clock.monotonic() < deadline:
        try:
            async with asyncio.timeout(min(ANSWER_WAIT_S, deadline - clock.monotonic())):
                line = await _status_line(host, port, path)
            if line.split(" ")[1:2] == ["200"]:
                return
            last = f"answered {line!r}"
        except TimeoutError:
            last = "did not answer"
        except OSError as error:
            last = error.strerror or str(error)
        await asyncio.sleep(INTERVAL_S)
    raise NotReady(host=host, port=port, wait_s=wait_s, last=last)


async def _status_line(host: str, port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        return (await reader.readline()).decode("latin-1").strip()
    finally:
        writer.close()
