"""What a model was sent, in one canonical form for both APIs.

A conversation that lost, gained, changed or reordered anything has other entries and so another
digest; the same textual conversation has the same ones through either API.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from schemas.http.errors import Invalid

CHARACTERS_PER_TOKEN = 4
DIGEST_LENGTH = 8
ENTRY_TOKENS = 3
"""What a chat template adds around each message, roughly."""

_SEALED = "simulated."

_encode = msgspec.json.Encoder(order="sorted").encode


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One item as it is digested; ``role`` is system, user, assistant, tool or empty."""

    role: str
    type: str
    text: str


def digest_of(entries: Sequence[Entry]) -> str:
    """First 8 hex digits of SHA-256 over ``[["role","type","text"],…]``: compact JSON, UTF-8.

    Instructions are the first entry, a system message; developer messages count as system ones;
    empty instructions are none. Texts: a message's parts joined by newlines (a part without text
    is its JSON, keys sorted); a call's ``call_id name arguments`` (``input`` of a custom tool),
    role assistant; an output's ``call_id output``, role tool; anything else its JSON, keys sorted,
    without ``id`` and ``status``. Names of types are those of the Responses API.
    """
    return fingerprint_of(entries)[:DIGEST_LENGTH]


def fingerprint_of(entries: Sequence[Entry]) -> str:
    """All 64 hex digits of what `digest_of` shortens."""
    return hashlib.sha256(_encode(entries)).hexdigest()


def entries_of_input(given: object, *, instructions: object = None) -> tuple[Entry, ...]:
    """Entries of a Responses request: its ``instructions``, then its ``input``."""
    entries: list[Entry] = []
    if instructions:
        entries.append(Entry("system", "message", text_of(instructions)))
    if isinstance(given, str):
        entries.append(Entry("user", "message", given))
    else:
        entries.extend(_of_item(item) for item in _objects(given, "input"))
    return tuple(entries)


def entries_of_messages(messages: object) -> tuple[Entry, ...]:
    """Entries of a Chat Completions request; one message may be several (text, then calls)."""
    entries: list[Entry] = []
    custom: set[object] = set()
    for message in _objects(messages, "messages"):
        role = _role(message)
        content = message.get("content") or message.get("refusal")
        if role == "tool":
            call_id = str(message.get("tool_call_id"))
            kind = "custom_tool_call_output" if call_id in custom else "function_call_output"
            entries.append(Entry("tool", kind, f"{call_id} {text_of(content)}"))
            continue
        calls = message.get("tool_calls") or ()
        if content or not calls:
            entries.append(Entry(role, "message", text_of(content)))
        for call in _objects(calls, "messages.tool_calls") if calls else ():
            if call.get("type") == "custom":
                custom.add(str(call.get("id")))
            entries.append(_of_call(call))
    return tuple(entries)


def text_of(content: object) -> str:
    """The text of a string or of parts; parts without text as their JSON."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        return _encode(content).decode()
    return "\n".join(_text_of_part(part) for part in content)


def tokens_in(text: str) -> int:
    """Size of a text: a quarter of its characters, rounded up."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def tokens_of(entries: Iterable[Entry]) -> int:
    """Size of what the model read, the same for the same entries."""
    return sum(tokens_in(entry.text) + ENTRY_TOKENS for entry in entries)


def sealed(text: str) -> str:
    """A summary as the simulator gives it away, and reads it again; nobody else is meant to."""
    return _SEALED + base64.urlsafe_b64encode(text.encode()).decode()


def _opened(blob: str) -> str:
    try:
        return base64.urlsafe_b64decode(blob.removeprefix(_SEALED)).decode()
    except ValueError:
        raise Invalid(
            "The encrypted content could not be verified.", code="invalid_encrypted_content"
        ) from None


def _text_of_part(part: object) -> str:
    if isinstance(part, dict):
        for name in ("text", "refusal"):
            if isinstance(part.get(name), str):
                return str(part[name])
    return part if isinstance(part, str) else _encode(part).decode()


def _of_call(call: Mapping[str, Any]) -> Entry:
    if call.get("type") == "custom":
        inner = call.get("custom") or {}
        text = f"{call.get('id')} {inner.get('name')} {inner.get('input')}"
        return Entry("assistant", "custom_tool_call", text)
    inner = call.get("function") or {}
    text = f"{call.get('id')} {inner.get('name')} {inner.get('arguments')}"
    return Entry("assistant", "function_call", text)


def _of_item(item: Mapping[str, Any]) -> Entry:
    match item.get("type") or "message":
        case "message":
            return Entry(_role(item), "message", text_of(item.get("content")))
        case "function_call":
            text = f"{item.get('call_id')} {item.get('name')} {item.get('arguments')}"
            return Entry("assistant", "function_call", text)
        case "function_call_output":
            text = f"{item.get('call_id')} {text_of(item.get('output'))}"
            return Entry("tool", "function_call_output", text)
        case "custom_tool_call":
            text = f"{item.get('call_id')} {item.get('name')} {item.get('input')}"
            return Entry("assistant", "custom_tool_call", text)
        case "custom_tool_call_output":
            text = f"{item.get('call_id')} {text_of(item.get('output'))}"
            return Entry("tool", "custom_tool_call_output", text)
        case "compaction" if str(item.get("encrypted_content")).startswith(_SEALED):
            return Entry("system", "message", _opened(str(item["encrypted_content"])))
        case other:
            rest = {key: value for key, value in item.items() if key not in ("id", "status")}
            return Entry(_role(item), str(other), _encode(rest).decode())


def _role(item: Mapping[str, Any]) -> str:
    role = str(item.get("role") or "")
    return "system" if role == "developer" else role


def _objects(given: object, param: str) -> Iterable[dict[str, Any]]:
    if not isinstance(given, list):
        raise Invalid(
            f"Invalid type for '{param}': expected an array of objects.",
            param=param,
            code="invalid_type",
        )
    for index, item in enumerate(given):
        if not isinstance(item, dict):
            raise Invalid(
                f"Invalid type for '{param}[{index}]': expected an object.",
                param=f"{param}[{index}]",
                code="invalid_type",
            )
        yield item
