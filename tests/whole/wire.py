"""Frames of a WebSocket as they are: what the SDK would never send, and all of what comes back."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pydantic
from openai.types.responses import ResponsesServerEvent
from websockets.sync.client import ClientConnection, connect

from tests.whole.running import MODEL, WAIT_S

Frame = dict[str, Any]

TERMINAL = ("response.completed", "response.incomplete", "response.failed")
EVENT = pydantic.TypeAdapter(ResponsesServerEvent)


class Wire:
    """One connection. Every frame that comes is checked against the SDK's types, strictly."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.heard: list[Frame] = []

    def send(self, frame: Frame | str | bytes) -> None:
        """Any frame: an object as JSON, text and bytes as they are."""
        self.socket.send(json.dumps(frame) if isinstance(frame, dict) else frame)

    def ask(self, text: Any, **fields: Any) -> None:
        """A request for a response."""
        self.send({"type": "response.create", "model": MODEL, "input": text, **fields})

    def frame(self, *, wait_s: float = WAIT_S) -> Frame:
        """The next frame, whatever it is."""
        text = self.socket.recv(timeout=wait_s)
        assert isinstance(text, str)
        frame: Frame = json.loads(text)
        EVENT.validate_json(text, strict=True)
        self.heard.append(frame)
        return frame

    def until_ends(self, count: int) -> list[Frame]:
        """All frames until so many answers have ended, in the order they came."""
        heard: list[Frame] = []
        while count:
            heard.append(self.frame())
            count -= heard[-1]["type"] in {*TERMINAL, "error"}
        return heard

    def answer(self) -> list[Frame]:
        """All frames until an answer has ended; it is alone on the connection."""
        return self.until_ends(1)

    def response(self, text: Any, **fields: Any) -> Frame:
        """The response to a request, which is answered."""
        self.ask(text, **fields)
        last = self.answer()[-1]
        assert last["type"] in TERMINAL, last
        return last["response"]

    def refusal(self) -> Frame:
        """The next frame, which is an error."""
        frame = self.frame()
        assert frame["type"] == "error", frame
        return frame


@contextmanager
def wired(url: str, **options: Any) -> Iterator[Wire]:
    """A connection to the gateway at ``url``."""
    where = url.replace("http", "ws", 1) + "/v1/responses"
    with connect(where, max_size=None, compression=None, **options) as socket:
        yield Wire(socket)


def of_lane(frames: list[Frame], stream_id: str | None) -> list[Frame]:
    """The frames of one lane."""
    return [frame for frame in frames if frame.get("stream_id") == stream_id]


def said(response: Frame) -> str:
    """The text of a response."""
    return "".join(
        part["text"]
        for item in response["output"]
        for part in item.get("content", ())
        if part["type"] == "output_text"
    )
