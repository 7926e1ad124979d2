"""An answer of the Chat Completions API as the contract's items and events (pure).

Chat does not say where a thing ends: reasoning ends where something else begins, a message where
calls begin or the model reasons again, and all that is open at the end of the answer.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from schemas.http.responses import Usage
from services import ids
from services.model import Answer

Event = dict[str, Any]

_encode = msgspec.json.Encoder().encode

_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why an answer is incomplete, by how chat says that it finished."""

_FIELDS = {"output_text": "text", "refusal": "refusal", "reasoning_text": "text"}
"""Parts by their type: the field that grows."""


class _Kind(msgspec.Struct, frozen=True):
    item: str
    prefix: str
    field: str
    events: str


_FUNCTION = _Kind("function_call", "fc", "arguments", "function_call_arguments")
_CUSTOM = _Kind("custom_tool_call", "ctc", "input", "custom_tool_call_input")


class ChatAnswer:
    """Tells an answer delta by delta; a whole message is one delta."""

    def __init__(self) -> None:
        self._items: list[dict[str, Any]] = []
        self._speaking: int | None = None
        self._calls: dict[int, int] = {}
        self._unnamed: dict[int, tuple[str | None, str]] = {}
        self._reason: str | None = None

    def take(self, delta: dict[str, Any], logprobs: dict[str, Any] | None) -> Iterator[Event]:
        """Events of one delta."""
        if reasoned := delta.get("reasoning_content") or delta.get("reasoning"):
            yield from self._say("reasoning_text", reasoned)
        if content := delta.get("content"):
            yield from self._content(content, logprobs or {})
        if refused := delta.get("refusal"):
            yield from self._say("refusal", refused)
        for annotation in delta.get("annotations") or ():
            yield from self._annotate(annotation)
        for place, call in enumerate(delta.get("tool_calls") or ()):
            yield from self._call(call.get("index", place), call)
        if called := delta.get("function_call"):
            yield from self._call(0, {"function": called})

    def end(self, finished: str | None) -> Iterator[Event]:
        """Events that close what is open; ``finished`` is why the model stopped."""
        if self._unnamed:
            raise KeyError("name")
        self._reason = _REASONS.get(finished or "")
        speaking = set() if self._speaking is None else {self._speaking}
        for index in sorted(speaking.union(self._calls.values())):
            yield from self._close(index, "incomplete" if self._reason else "completed")

    def answer(self, used: dict[str, Any] | None, model: str) -> Answer:
        """The whole of what was told."""
        return Answer(
            status="incomplete" if self._reason else "completed",
            items=tuple(msgspec.Raw(_encode(item)) for item in self._items),
            usage=msgspec.Raw(_encode(usage(used))),
            model=model,
            reason=self._reason,
        )

    def _content(self, content: Any, logprobs: dict[str, Any]) -> Iterator[Event]:
        if isinstance(content, str):
            yield from self._say("output_text", content, _logprobs(logprobs.get("content")))
            return
        for part in content:
            match part["type"]:
                case "text" | "output_text":
                    yield from self._say("output_text", part["text"])
                case "refusal":
                    yield from self._say("refusal", part["refusal"])
                case "thinking":
                    yield from self._say("reasoning_text", _thought(part["thinking"]))
                case _:
                    continue

    def _say(self, kind: str, text: str, logprobs: Iterable[Event] = ()) -> Iterator[Event]:
        if not text:
            return
        yield from self._turn_to("reasoning" if kind == "reasoning_text" else "message")
        assert self._speaking is not None
        index, item = self._speaking, self._items[self._speaking]
        parts = item["content"]
        if not parts or parts[-1]["type"] != kind:
            yield from self._close_part(index, item)
            part: dict[str, Any] = {"type": kind}
            if kind == "output_text":
                part |= {"annotations": [], "logprobs": []}
            part[_FIELDS[kind]] = ""
            parts.append(part)
            yield self._part("content_part.added", index, part=dict(part))
        parts[-1][_FIELDS[kind]] += text
        if kind != "output_text":
            yield self._part(f"{kind}.delta", index, delta=text)
            return
        # The part's own list grows on; the event keeps what it was told with.
        likely = list(logprobs)
        parts[-1]["logprobs"] = parts[-1]["logprobs"] + likely
        yield self._part("output_text.delta", index, delta=text, logprobs=likely)

    def _turn_to(self, kind: str | None) -> Iterator[Event]:
        """End what the model said before, if this is something else, and begin it."""
        if self._speaking is not None and self._items[self._speaking]["type"] != kind:
            index, self._speaking = self._speaking, None
            yield from self._close(index, "completed")
        if self._speaking is not None or kind is None:
            return
        self._speaking = len(self._items)
        if kind == "message":
            item = {
                "id": ids.item_id("msg"),
                "type": "message",
                "status": "in_progress",
                "content": [],
                "role": "assistant",
            }
        else:
            item = {"id": ids.item_id("rs"), "type": "reasoning", "summary": [], "content": []}
        yield from self._begin(item)

    def _annotate(self, annotation: dict[str, Any]) -> Iterator[Event]:
        """A citation of the text said last; others than of a URL the contract has no form for."""
        cited = annotation.get("url_citation")
        parts = [] if self._speaking is None else self._items[self._speaking]["content"]
        if not cited or not parts or parts[-1]["type"] != "output_text":
            return
        told = {"type": "url_citation", **cited}
        known = parts[-1]["annotations"]
        parts[-1]["annotations"] = [*known, told]
        assert self._speaking is not None
        yield self._part(
            "output_text.annotation.added",
            self._speaking,
            annotation=told,
            annotation_index=len(known),
        )

    def _call(self, number: int, call: dict[str, Any]) -> Iterator[Event]:
        kind = _CUSTOM if call.get("custom") else _FUNCTION
        said = call.get("custom") or call.get("function") or {}
        piece = said.get(kind.field) or ""
        if not isinstance(piece, str):
            # Some servers give the object that the string should hold.
            piece = _encode(piece).decode()
        call_id, known = call.get("id"), self._calls.get(number)
        if known is not None and call_id and self._items[known]["call_id"] != call_id:
            # Some servers give all calls one number, and tell them one after the other.
            del self._calls[number]
            yield from self._close(known, "completed")
            known = None
        if known is None:
            first_id, first = self._unnamed.pop(number, (None, ""))
            call_id, piece = call_id or first_id, first + piece
            if not said.get("name"):
                self._unnamed[number] = (call_id, piece)
                return
            yield from self._turn_to(None)
            known = self._calls[number] = len(self._items)
            yield from self._begin(_called(kind, call_id or ids.call_id(), said["name"]))
        item = self._items[known]
        if piece:
            item[kind.field] += piece
            yield _event(f"{kind.events}.delta", known, item_id=item["id"], delta=piece)

    def _begin(self, item: dict[str, Any]) -> Iterator[Event]:
        self._items.append(item)
        yield _event("output_item.added", len(self._items) - 1, item=dict(item))

    def _close(self, index: int, status: str) -> Iterator[Event]:
        item = self._items[index]
        match item["type"]:
            case "function_call":
                yield _event(
                    "function_call_arguments.done",
                    index,
                    item_id=item["id"],
                    name=item["name"],
                    arguments=item["arguments"],
                )
            case "custom_tool_call":
                yield _event(
                    "custom_tool_call_input.done", index, item_id=item["id"], input=item["input"]
                )
            case _:
                yield from self._close_part(index, item)
        if "status" in item or status != "completed":
            item["status"] = status
        yield _event("output_item.done", index, item=item)

    def _close_part(self, index: int, item: dict[str, Any]) -> Iterator[Event]:
        if not item["content"]:
            return
        part = item["content"][-1]
        kind, field = part["type"], _FIELDS[part["type"]]
        likely = {"logprobs": part["logprobs"]} if kind == "output_text" else {}
        yield self._part(f"{kind}.done", index, **{field: part[field]}, **likely)
        yield self._part("content_part.done", index, part=part)

    def _part(self, name: str, index: int, **fields: Any) -> Event:
        item = self._items[index]
        place = len(item["content"]) - 1
        return _event(name, index, content_index=place, item_id=item["id"], **fields)


def _event(name: str, index: int, /, **fields: Any) -> Event:
    """Keys as the wire has them, with a place for the number: type first, then the alphabet."""
    fields |= {"output_index": index, "sequence_number": None}
    return {"type": f"response.{name}", **dict(sorted(fields.items()))}


def _called(kind: _Kind, call_id: str, name: str) -> dict[str, Any]:
    said = {kind.field: "", "call_id": call_id, "name": name}
    head = {"id": ids.item_id(kind.prefix), "type": kind.item, "status": "in_progress"}
    return head | dict(sorted(said.items()))


def _thought(thinking: Any) -> str:
    """The text of what a model thought, told as text or in parts of it."""
    if isinstance(thinking, str):
        return thinking
    return "".join(part["text"] for part in thinking)


def _logprobs(given: Any) -> list[dict[str, Any]]:
    """Tokens with their likelihoods, the bytes of each always there (contract 2)."""
    return [
        {
            **_token(token),
            "top_logprobs": [_token(each) for each in token.get("top_logprobs") or ()],
        }
        for token in given or ()
    ]


def _token(token: dict[str, Any]) -> dict[str, Any]:
    text, spelled = token["token"], token.get("bytes")
    return {
        "token": text,
        "bytes": list(text.encode()) if spelled is None else spelled,
        "logprob": token["logprob"],
    }


def usage(given: dict[str, Any] | None) -> Usage:
    """A count of tokens in the contract's shape; what was not counted is zero."""
    counted = given or {}
    prompt = counted.get("prompt_tokens_details") or {}
    completion = counted.get("completion_tokens_details") or {}
    read, written = _count(counted, "prompt_tokens"), _count(counted, "completion_tokens")
    return Usage(
        input_tokens=read,
        input_tokens_details=Usage.InputDetails(
            cache_write_tokens=_count(prompt, "cache_write_tokens"),
            cached_tokens=_count(prompt, "cached_tokens"),
        ),
        output_tokens=written,
        output_tokens_details=Usage.OutputDetails(
            reasoning_tokens=_count(completion, "reasoning_tokens")
        ),
        total_tokens=_count(counted, "total_tokens") or read + written,
    )


def _count(counted: dict[str, Any], name: str) -> int:
    value = counted.get(name)
    return value if isinstance(value, int) else 0
