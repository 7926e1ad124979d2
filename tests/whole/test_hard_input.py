"""Clients that send what no client should: too much, too slowly, or nothing that can be read."""

import gzip
import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import pytest

from tests.whole.running import MODEL, WAIT_S, Child, Running, begin_gateway, until

CLIENT_WAIT_S = 1.5
ENOUGH_S = 20.0
"""Seconds within which whoever is to be cut off is, on a machine that has much else to do."""
DRIP_S = 0.1
FLOOD_BYTES = 64 * 1024 * 1024


@pytest.fixture(scope="module")
def gateway(shared: Running) -> Iterator[tuple[str, Child]]:
    """One that is soon out of patience."""
    url, child = begin_gateway(shared, client_wait_s=str(CLIENT_WAIT_S))
    try:
        yield url, child
    finally:
        child.process.kill()


@contextmanager
def connection(url: str) -> Iterator[socket.socket]:
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), timeout=WAIT_S) as opened:
        yield opened


def closed(opened: socket.socket, *, drip: bytes = b"", wait_s: float = ENOUGH_S) -> bytes:
    """What is answered until the connection is closed, while ``drip`` is sent again and again."""
    answer, until_s = b"", time.monotonic() + wait_s
    while time.monotonic() < until_s:
        with suppress(BrokenPipeError, ConnectionResetError):
            opened.sendall(drip)
        readable, _, _ = select.select([opened], [], [], DRIP_S)
        if not readable:
            continue
        try:
            part = opened.recv(1 << 16)
        except ConnectionResetError:
            return answer
        if not part:
            return answer
        answer += part
    raise AssertionError(f"still open: {answer!r}")


def answered(payload: bytes) -> tuple[int, dict[str, object]]:
    """Status and error of one answer."""
    head, _, body = payload.partition(b"\r\n\r\n")
    assert b"x-request-id: req_" in head
    return int(head.split()[1]), json.loads(body)["error"]


def head(path: str = "/v1/responses", **headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_who_says_nothing_is_shown_the_door(gateway: tuple[str, Child]):
    with connection(gateway[0]) as silent:
        assert closed(silent) == b""


@pytest.mark.parametrize("drip", [b"", b"x", b"y: 1\r\n"])
def test_who_never_ends_a_request_is_cut_off_however_slowly(
    gateway: tuple[str, Child], drip: bytes
):
    with connection(gateway[0]) as slow:
        slow.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nA: ")
        status, error = answered(closed(slow, drip=drip))
        assert (status, error["code"]) == (408, "request_timeout")


def test_a_second_request_has_no_more_time_than_the_first(gateway: tuple[str, Child]):
    with connection(gateway[0]) as slow:
        slow.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\nGET /v1")
        first, _, rest = closed(slow, drip=b"x").partition(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 200 ")
        assert b"HTTP/1.1 408 " in rest


def test_a_body_that_drips_keeps_nobody_out_for_long(gateway: tuple[str, Child]):
    announced = 6 * 1024 * 1024
    with connection(gateway[0]) as slow:
        slow.sendall(head(content_length=str(announced)) + b'{"model"')
        status, error = answered(closed(slow, drip=b" "))
        assert (status, error["code"]) == (408, "request_timeout")


@pytest.mark.parametrize(
    ("first", "flood"),
    [
        (b"GET /v1/models HTTP/1.1\r\nHost: x\r\nA: ", b"a" * 65536),
        (b"GET /v1/models HTTP/1.1\r\nHost: x\r\n", b"A: b\r\n" * 10000),
        (b"GET /", b"a" * 65536),
        (b"", b"G" * 65536),
    ],
)
def test_a_head_without_end_is_refused_early(
    gateway: tuple[str, Child], first: bytes, flood: bytes
):
    sent = 0
    with connection(gateway[0]) as endless:
        endless.sendall(first)
        with suppress(BrokenPipeError, ConnectionResetError):
            while sent < FLOOD_BYTES:
                endless.sendall(flood)
                sent += len(flood)
    # As much as waits on its way, and no more.
    assert sent < FLOOD_BYTES


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [line, "Host: x", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def posted(body: bytes, *headers: str, path: str = "/v1/responses") -> bytes:
    length = f"Content-Length: {len(body)}"
    return request(f"POST {path} HTTP/1.1", length, *headers, body=body)


TURN = json.dumps({"model": MODEL, "input": "hello"}).encode()
BOMB = gzip.compress(b" " * 20_000_000)
HOSTILE = {
    "long path": request(f"GET /v1/conversations/{'a' * 50_000} HTTP/1.1"),
    "many parameters": request(f"GET /v1/conversations/conv_a/items?{'a=b&' * 10_000} HTTP/1.1"),
    "many limits": request(f"GET /v1/conversations/conv_a/items?{'limit=1&' * 5_000} HTTP/1.1"),
    "no ascii in path": request("GET /v1/\xff\xfe HTTP/1.1"),
    "bad escapes": request("GET /v1/conversations/%zz%f HTTP/1.1"),
    "overlong slash": request("GET /v1/conversations/%c0%af..%c0%af HTTP/1.1"),
    "up and away": request("GET /v1/../../etc/passwd HTTP/1.1"),
    "up and away, hidden": request("GET /v1/models/%2e%2e%2f%2e%2e%2fadmin HTTP/1.1"),
    "a new line": request("GET /v1/%0a%0d%7b%22event%22:%22forged%22%7d HTTP/1.1"),
    "another host": request("GET http://169.254.169.254/latest HTTP/1.1"),
    "a host of its own": request("GET //evil.test/v1 HTTP/1.1"),
    "no method": request("\x00\x01 / HTTP/1.1"),
    "no version": request("GET /v1/models HTTP/9.9"),
    "a tunnel": request("CONNECT evil.test:443 HTTP/1.1"),
    "a header with NUL": request("GET /v1/models HTTP/1.1", "A: b\x00c"),
    "a header without colon": request("GET /v1/models HTTP/1.1", "nothing"),
    "two lengths": posted(TURN, "Content-Length: 3"),
    "a length and chunks": posted(b"0\r\n\r\n", "Transfer-Encoding: chunked"),
    "a negative length": request("POST /v1/responses HTTP/1.1", "Content-Length: -1"),
    "a huge length": request("POST /v1/responses HTTP/1.1", f"Content-Length: {10**30}"),
    "no chunks": request(
        "POST /v1/responses HTTP/1.1", "Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n"
    ),
    "a bomb": posted(BOMB, "Content-Encoding: gzip"),
    "a bomb without a name": posted(BOMB),
    "another encoding": posted(TURN.decode().encode("utf-16")),
    "a mark before": posted(b"\xef\xbb\xbf" + TURN),
    "no text": posted(b'{"model": "\xff\xfe"}'),
    "half a surrogate": posted(b'{"model": "x", "input": "\\ud800"}'),
    "deep": posted(b"[" * 3_000_000),
    "deep inside": posted(b'{"model":"x","input":' + b'{"a":' * 500_000 + b"1" + b"}" * 500_001),
    "deep metadata": posted(
        b'{"metadata":' + b"[" * 999 + b"]" * 999 + b"}", path="/v1/conversations"
    ),
    "many keys": posted(b"{" + b",".join(b'"k%d":1' % n for n in range(200_000)) + b"}"),
    "the same key": posted(b"{" + b'"model":"x",' * 100_000 + b'"input":1}'),
    "a huge number": posted(b'{"model":"x","input":"y","top_logprobs":' + b"9" * 1_000_000 + b"}"),
    "a huge exponent": posted(b'{"model":"x","input":"y","temperature":1e999999999}'),
    "many items": posted(b'{"model":"x","input":[' + b"1," * 1_000_000 + b"1]}"),
    "many names": posted(
        b'{"metadata":{' + b",".join(b'"k%d":"v"' % n for n in range(100_000)) + b"}}",
        path="/v1/conversations",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_is_sent_is_refused_and_nothing_breaks(shared: Running, name: str):
    with connection(shared.url) as hostile:
        with suppress(BrokenPipeError, ConnectionResetError):
            hostile.sendall(HOSTILE[name])
        answer = closed(hostile, wait_s=WAIT_S)
    if answer:
        status, error = answered(answer)
        assert 400 <= status < 500, answer[:500]
        assert error.keys() == {"message", "type", "param", "code"}
        assert len(answer) < 2000 or name == "long path"
    with shared.http() as http:
        assert http.get("/v1/models").status_code == 200


def test_no_line_of_the_log_is_forged(shared: Running):
    with connection(shared.url) as hostile:
        hostile.sendall(HOSTILE["a new line"])
        closed(hostile)
    assert shared.up is not None
    until(lambda: shared.up is not None and "forged" in shared.up.log_path.read_text())
    assert not shared.up.lines("forged")
    lines = [json.loads(line) for line in shared.up.log_path.read_text().splitlines()]
    assert [line["event"] for line in lines if "forged" in str(line.get("path"))]
