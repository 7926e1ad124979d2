"""Clients that only a raw socket can be: they read late, or send late, or do neither."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from tests.whole.running import MODEL, WAIT_S


class Raw:
    """One HTTP request on a connection of its own."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self.socket = socket.socket()
        # What the kernel takes for us is not read by us.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(WAIT_S)
        self.socket.connect((where.hostname, where.port))

    def post(self, path: str, body: bytes, *, announced: int | None = None) -> None:
        """Send a request, or the beginning of one whose body has ``announced`` bytes."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\n"
            f"Content-Length: {len(body) if announced is None else announced}\r\n\r\n"
        )
        self.socket.sendall(head.encode() + body)

    def ask(self, text: str, **fields: Any) -> None:
        """Ask for a streamed turn."""
        body = {"model": MODEL, "input": text, "stream": True, **fields}
        self.post("/v1/responses", json.dumps(body).encode())

    def rest(self) -> bytes:
        """Everything that comes until the end of the connection."""
        parts = []
        while part := self.socket.recv(1 << 16):
            parts.append(part)
        return b"".join(parts)

    def answer(self) -> "tuple[int, dict[str, str], bytes]":
        """Status, headers and body."""
        head, _, body = self.rest().partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join(_chunks(body))
        return int(first.split()[1]), headers, body


def _chunks(body: bytes) -> Iterator[bytes]:
    at = 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end], 16)
        if not size:
            return
        yield body[end + 2 : end + 2 + size]
        at = end + 2 + size + 2


@contextmanager
def raw(url: str) -> Iterator[Raw]:
    """A connection to the gateway at ``url``."""
    one = Raw(url)
    with one.socket:
        yield one


def warmed(url: str) -> None:
    """Have the gateway at ``url`` load its vocabulary, most of what it takes at all."""
    body = {"model": MODEL, "input": "x"}
    assert httpx2.post(f"{url}/v1/responses/input_tokens", json=body, timeout=30).is_success


def memory(pid: int, name: str = "VmRSS") -> int:
    """Bytes of memory a process has now (``VmRSS``), or had at most (``VmHWM``)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(name)
