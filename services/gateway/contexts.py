"""What a WebSocket connection remembers of turns of which nothing is stored (contract 6.3)."""

from collections import OrderedDict

import msgspec

from schemas.turn_requests import Context

_decode = msgspec.json.Decoder(Context).decode


class Contexts:
    """What the newest response of each lane has left, while that is one that is not stored."""

    def __init__(self, *, bytes_max: int) -> None:
        """``bytes_max`` bounds all of them together; the oldest go first."""
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[str | None, tuple[str, bytes]] = OrderedDict()

    def keep(self, lane: str | None, response_id: str, context: bytes) -> None:
        """Remember the newest response of a lane in place of the one before."""
        self.forget(lane)
        self._kept[lane] = (response_id, context)
        self._bytes += len(context)
        while self._bytes > self._bytes_max:
            self.forget(next(iter(self._kept)))

    def forget(self, lane: str | None) -> None:
        """The newest response of a lane is one that is stored, or there is none."""
        _, context = self._kept.pop(lane, ("", b""))
        self._bytes -= len(context)

    def of(self, response_id: str | None) -> Context | None:
        """What a response has left, whichever lane it was made on."""
        for kept_id, context in self._kept.values():
            if kept_id == response_id:
                return _decode(context)
        return None
