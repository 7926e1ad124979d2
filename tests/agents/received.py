"""What the model received, in a form in which two ways to keep state can be compared."""

import json
from typing import Any

from tests.whole.running import Running

Sent = dict[str, Any]

ADDED = ("id", "status")
"""What a server gives to each item it keeps."""
STATELESS = ("store", "stream")
"""What Turnlog always tells the model: it keeps the state itself."""


def requests(running: Running) -> list[Sent]:
    """Every request the model was sent, oldest first, each whole and in its normal form."""
    return [_normal_request(json.loads(bytes(each.body))) for each in running.received()]


def _normal_request(body: dict[str, Any]) -> Sent:
    kept = {name: value for name, value in body.items() if name not in STATELESS}
    return {**kept, "input": [normal(item) for item in body["input"]]}


def normal(item: dict[str, Any]) -> dict[str, Any]:
    """An item without what keeping it adds; everything else is as it came.

    Without its `ADDED`; with the type that an easy message leaves out, and its text as a part.
    """
    kept = {"type": "message"} | {key: value for key, value in item.items() if key not in ADDED}
    if isinstance(kept.get("content"), str):
        kind = "output_text" if kept["role"] == "assistant" else "input_text"
        kept["content"] = [{"type": kind, "text": kept["content"]}]
    return kept
