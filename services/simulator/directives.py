"""Orders to the simulator inside the last user text: ``[[name value]]``, any number of them.

Whatever is not one of `HELP`, or cannot be read, is ordinary text.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from services.simulator.faults import NONE, HttpError, Place, Trouble

WAIT_S_MAX = 600.0
DELAY_S_MAX = 60.0
WORDS_MAX = 100_000
ERROR_STATUSES = range(400, 600)
HOSTED = (
    "web_search",
    "file_search",
    "code_interpreter",
    "image_generation",
    "mcp",
    "mcp_list_tools",
    "mcp_approval_request",
    "computer",
    "shell",
    "local_shell",
    "apply_patch",
    "tool_search",
    "programmatic_tool_calling",
    "compaction",
    "future",
)
"""What can be hosted: types of tools, and what comes without one."""
FAILING = frozenset(
    {
        "web_search",
        "file_search",
        "code_interpreter",
        "image_generation",
        "mcp",
        "mcp_list_tools",
        "shell",
    }
)
"""What can also fail."""
REFUSAL = "I'm sorry, but I can't help with that."

HELP = """\b
Directives, read from the last user text; * are those Chat Completions has no form for:
What is answered
  [[say EXACT TEXT]]       an answer of exactly this text
  [[words 200]]            an answer of so many words
  [[refuse]]               a refusal; [[refuse TEXT]] says which
  [[reasoning]]            reasoning before it: summary (default), text or both
  [[commentary TEXT]]      a message before the calls (in Chat the content beside them), or
                           before the answer *
  [[call NAME {json}]]     call a function; several are parallel calls
  [[call NAME TEXT]]       call a custom tool; so does {json} if NAME is offered as one
  [[hosted TYPE]]          use a hosted tool, offered or not; several run in order *
  [[hosted TYPE failed]]   and it fails: code_interpreter, file_search, image_generation,
                           mcp, mcp_list_tools, shell, web_search *
  [[incomplete]]           half an answer, cut by max_output_tokens; [[incomplete REASON]]
                           by content_filter, say; hosted calls are not cut
  [[no-usage]]             no usage is told
How it is sent
  [[wait 2]]               seconds before the first byte
  [[delay 0.05]]           seconds before each delta; before a plain answer, once
  [[gate NAME]]            nothing before POST /simulator/gates/NAME has opened it, for good;
                           [[gate NAME 3]] lets three deltas pass, [[gate NAME last]] all but
                           the terminal event, nothing of a plain answer
  [[queued]]               response.queued after response.created *
  [[keepalive]]            {"type":"keepalive"} before each delta; in Chat a comment
  [[unknown-event]]        an event of a type to come before each item; in Chat a chunk
What goes wrong
  [[error 429 7]]          an HTTP error of this status; Retry-After of so many seconds
                           (429, 503 and 529 have 1 anyway)
  [[error 400 CODE]]       and of this code; [[error 502 html]] is a proxy's page
  [[fail]]                 response.failed after half of the answer; in Chat an error
  [[failed CODE]]          and of this code: rate_limit_exceeded, say
  [[error-event flat]]     an error event before that response.failed; or nested
  [[malformed]]            a line in the middle that is no JSON; [[malformed shape]] is
                           JSON of a wrong shape, [[malformed list]] a list
  [[unfinished]]           a clean end without the terminal event
  [[drop]]                 the connection is cut in the middle; [[drop 3]] after three
                           deltas (or steps of a hosted tool), [[drop first]] before the
                           first byte, [[drop last]] before the terminal event
  [[hang]]                 nothing is answered until the client leaves; [[hang 3]] after
                           three deltas
  times=2                  within any of these (once is times=1): only the first two
                           requests with this text have trouble, as [[error 503 times=2]]
DELETE /simulator/requests starts the count of times again, and closes all gates.
Types of hosted tools
  web_search file_search code_interpreter image_generation mcp mcp_list_tools
  mcp_approval_request computer shell local_shell apply_patch tool_search
  programmatic_tool_calling compaction future (an item of a type to come)
"""

_WORDS = re.compile(r"\[\[([a-z-]+)((?:\s+[\w.=-]+)*)\s*\]\]")
_FREE = re.compile(r"\[\[(say|refuse|commentary)\s(.*?)\]\]", re.DOTALL)
_CALL = re.compile(r"\[\[call\s+([\w-]+)\s*")
_END = re.compile(r"\s*\]\]")

_read_json = json.JSONDecoder().raw_decode


class Gate(msgspec.Struct, frozen=True):
    """Where an answer waits until a gate is open."""

    name: str
    place: Place


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """How an answer is sent; no less true to the contract for it."""

    wait_s: float = 0.0
    delay_s: float = 0.0
    gate: Gate | None = None
    queued: bool = False
    keepalive: bool = False
    unknown_event: bool = False
    usage: bool = True


class Directives(msgspec.Struct, kw_only=True):
    """What the last user text orders; ``rest`` is that text without the orders."""

    rest: str = ""
    words: int | None = None
    say: str | None = None
    refuse: str | None = None
    reasoning: Literal["summary", "text", "both"] | None = None
    commentary: str | None = None
    incomplete: str | None = None
    """Why the answer is only half."""
    calls: list[tuple[str, str]] = []
    """Names and arguments (as they were written, empty if there were none), in order."""
    hosted: list[tuple[str, bool]] = []
    """Types of hosted tools, and whether they fail."""
    delivery: Delivery = Delivery()
    trouble: Trouble = NONE


def read(text: str) -> Directives:
    """The directives in a text."""
    directives = Directives()
    kept: list[str] = []
    position = 0
    while (start := text.find("[[", position)) >= 0:
        kept.append(text[position:start])
        end = _take(directives, text, start)
        if end is None:
            kept.append("[[")
        position = start + 2 if end is None else end
    kept.append(text[position:])
    directives.rest = " ".join("".join(kept).split())
    return directives


def _take(directives: Directives, text: str, start: int) -> int | None:
    if call := _CALL.match(text, start):
        return _take_call(directives, text, call)
    if free := _FREE.match(text, start):
        setattr(directives, free[1], free[2])
        return free.end()
    words = _WORDS.match(text, start)
    if words is None or words[1] not in _FORMS:
        return None
    part, field, reader = _FORMS[words[1]]
    try:
        _set(directives, part, field, reader, words[2].split())
    except ValueError:
        return None
    return words.end()


def _take_call(directives: Directives, text: str, call: re.Match[str]) -> int | None:
    end = call.end()
    if text.startswith("{", end):
        try:
            _, after = _read_json(text, end)
        except (ValueError, RecursionError):
            return None
    else:
        after = text.find("]]", end)
    closing = _END.match(text, after) if after >= 0 else None
    if closing is None:
        return None
    directives.calls.append((call[1], text[end:after].strip()))
    return closing.end()


Reader = Callable[[list[str]], Any]
"""From the words behind a directive's name to its value; raises `ValueError`."""


def _set(directives: Directives, part: str, field: str, reader: Reader, words: list[str]) -> None:
    match part:
        case "trouble":
            times = [_times(word) for word in words if _is_times(word)]
            value = reader([word for word in words if not _is_times(word)])
            changes = {field: value} | ({"times": times[-1]} if times else {})
            directives.trouble = msgspec.structs.replace(directives.trouble, **changes)
        case "delivery":
            changes = {field: reader(words)}
            directives.delivery = msgspec.structs.replace(directives.delivery, **changes)
        case _ if field == "hosted":
            directives.hosted.append(reader(words))
        case _:
            setattr(directives, field, reader(words))


def _is_times(word: str) -> bool:
    return word == "once" or word.startswith("times=")


def _times(word: str) -> int:
    return 1 if word == "once" else int(word.removeprefix("times="))


def _bare(value: object) -> Reader:
    def reader(words: list[str]) -> object:
        if words:
            raise ValueError(words)
        return value

    return reader


def _seconds(most: float) -> Reader:
    def reader(words: list[str]) -> float:
        (word,) = words
        if not re.fullmatch(r"\d+(\.\d+)?", word):
            raise ValueError(word)
        return min(float(word), most)

    return reader


def _one_of(values: Sequence[str], *, default: str | None = None) -> Reader:
    def reader(words: list[str]) -> str:
        (word,) = words or ([] if default is None else [default])
        if word not in values:
            raise ValueError(word)
        return word

    return reader


def _count(words: list[str]) -> int:
    (word,) = words
    return min(_natural(word), WORDS_MAX)


def _natural(word: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", word):
        raise ValueError(word)
    return int(word)


def _name(words: list[str]) -> str:
    (word,) = words
    return word


def _place(default: Place) -> Reader:
    def reader(words: list[str]) -> Place:
        if not words:
            return default
        match words:
            case ["first" | "middle" | "last" as named]:
                return named
            case [word]:
                return _natural(word)
            case _:
                raise ValueError(words)

    return reader


def _gate(words: list[str]) -> Gate:
    name, *place = words
    return Gate(name, _place("first")(place))


def _error(words: list[str]) -> HttpError:
    match [(word, word.isdecimal()) for word in words]:
        case [(status, True)]:
            wait, code = None, None
        case [(status, True), (wait, True)]:
            code = None
        case [(status, True), (code, False)]:
            wait = None
        case [(status, True), (wait, True), (code, False)]:
            pass
        case _:
            raise ValueError(words)
    if _natural(status) not in ERROR_STATUSES:
        raise ValueError(words)
    retry_after_s = None if wait is None else _natural(wait)
    return HttpError(status=int(status), retry_after_s=retry_after_s, code=code)


def _hosted(words: list[str]) -> tuple[str, bool]:
    kind, *rest = words
    failed = rest == ["failed"] and kind in FAILING
    if kind not in HOSTED or (rest and not failed):
        raise ValueError(words)
    return kind, failed


_FORMS: dict[str, tuple[str, str, Reader]] = {
    "words": ("answer", "words", _count),
    "refuse": ("answer", "refuse", _bare(REFUSAL)),
    "reasoning": (
        "answer",
        "reasoning",
        _one_of(("summary", "text", "both"), default="summary"),
    ),
    "incomplete": (
        "answer",
        "incomplete",
        _one_of(
            ("max_output_tokens", "max_messages", "content_filter", "steered"),
            default="max_output_tokens",
        ),
    ),
    "hosted": ("answer", "hosted", _hosted),
    "wait": ("delivery", "wait_s", _seconds(WAIT_S_MAX)),
    "delay": ("delivery", "delay_s", _seconds(DELAY_S_MAX)),
    "gate": ("delivery", "gate", _gate),
    "queued": ("delivery", "queued", _bare(value=True)),
    "keepalive": ("delivery", "keepalive", _bare(value=True)),
    "unknown-event": ("delivery", "unknown_event", _bare(value=True)),
    "no-usage": ("delivery", "usage", _bare(value=False)),
    "error": ("trouble", "error", _error),
    "fail": ("trouble", "failed", _bare("server_error")),
    "failed": ("trouble", "failed", _name),
    "error-event": ("trouble", "error_event", _one_of(("flat", "nested"))),
    "malformed": ("trouble", "malformed", _one_of(("json", "shape", "list"), default="json")),
    "unfinished": ("trouble", "unfinished", _bare(value=True)),
    "drop": ("trouble", "drop", _place("middle")),
    "hang": ("trouble", "hang", _place("first")),
}
"""Directives of plain words: where each is kept, and how it is read."""
