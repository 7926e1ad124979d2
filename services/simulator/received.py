"""What was received lately, for tests that ask what the model was really sent. Memory only."""

from collections import deque

import msgspec


class Exchange(msgspec.Struct, kw_only=True):
    """A request, the ``number``-th since the start, and what became of its answer."""

    number: int
    path: str
    authorized: bool
    body: bytes
    ended: bool = False
    """Whether nothing more is sent."""
    aborted: bool = False
    """Whether the client left before that."""


class Received:
    """The newest requests, bounded in number and in bytes, and counts since the start."""

    def __init__(self, *, requests_max: int, bytes_max: int) -> None:
        """What is over a bound is forgotten, oldest first."""
        self._requests: deque[Exchange] = deque()
        self._requests_max = requests_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self.counts = {"responses": 0, "chat_completions": 0}

    def add(self, path: str, *, authorized: bool, body: bytes) -> Exchange:
        """Remember a request, whether it can be answered or not."""
        self.counts["responses" if path.endswith("/responses") else "chat_completions"] += 1
        number = sum(self.counts.values())
        exchange = Exchange(number=number, path=path, authorized=authorized, body=body)
        self._requests.append(exchange)
        self._bytes += len(body)
        while len(self._requests) > self._requests_max or self._bytes > self._bytes_max:
            self._bytes -= len(self._requests.popleft().body)
        return exchange

    def clear(self) -> None:
        """Forget the requests; the counts stay."""
        self._requests.clear()
        self._bytes = 0

    def newest(self, limit: int) -> bytes:
        """The last ``limit`` requests as a JSON list, oldest first, bodies as they came.

        A body that is not JSON is listed as a string.
        """
        start = max(len(self._requests) - limit, 0)
        listed = [
            {
                "number": exchange.number,
                "path": exchange.path,
                "headers": {"authorization": exchange.authorized},
                "body": _listed(exchange.body),
                "ended": exchange.ended,
                "aborted": exchange.aborted,
            }
            for exchange in list(self._requests)[start:]
        ]
        return msgspec.json.encode(listed)


def _listed(body: bytes) -> msgspec.Raw | str:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return body.decode(errors="replace")
    return msgspec.Raw(body)
