"""Orders to the simulator inside the last user text: ``[[name value]]``, any number of them.

Whatever is not one of `HELP`, or cannot be read, is ordinary text.
"""

import json
import re

import msgspec

DELAY_S_MAX = 60.0
WORDS_MAX = 100_000
ERROR_STATUSES = range(400, 600)

HELP = """\b
Directives, read from the last user text; * are those Chat Completions has no form for:
What is answered
  [[say EXACT TEXT]]       an answer of exactly this text
  [[words 200]]            an answer of so many words
  [[refuse]]               a refusal; [[refuse TEXT]] says which
  [[reasoning]]            reasoning before it: summary (default), text or both
  [[commentary TEXT]]      a message before the calls, or before the answer *
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
  [[queued]]               response.queued after response.created *
  [[keepalive]]            {"type":"keepalive"} before each delta; in Chat a comment
  [[unknown-event]]        an event of a type to come before each item; in Chat a chunk
What goes wrong
  [[error 429 7]]          an HTTP error of this status; Retry-After of so many seconds
                           (429, 503 and 529 have 1 anyway)
  [[error 400 CODE]]       and of this code
  [[fail]]                 response.failed after half of the answer
  [[failed CODE]]          and of this code: rate_limit_exceeded, say
  [[error-event flat]]     an error event before that response.failed; or nested
  [[malformed]]            a line in the middle that is no JSON; [[malformed shape]] is
                           JSON of a wrong shape, [[malformed list]] a list
  [[unfinished]]           a clean end without the terminal event
  [[drop]]                 the connection is cut in the middle; [[drop 3]] after three
                           deltas, [[drop first]] before the first byte, [[drop last]]
                           before the terminal event
  [[hang]]                 nothing is answered until the client leaves; [[hang 3]] after
                           three deltas
  times=2                  within any of these (once is times=1): only the first two
                           requests with this text have trouble, as [[error 503 times=2]]
Types of hosted tools
  web_search file_search code_interpreter image_generation mcp mcp_list_tools
  mcp_approval_request computer shell local_shell apply_patch tool_search
  programmatic_tool_calling compaction future (an item of a type to come)
"""

_SIMPLE = re.compile(r"\[\[(?:(fail|incomplete|drop)|(delay|words|error)\s+(\d+(?:\.\d+)?))\s*\]\]")
_SAY = re.compile(r"\[\[say\s(.*?)\]\]", re.DOTALL)
_CALL = re.compile(r"\[\[call\s+([\w-]+)\s*")
_END = re.compile(r"\s*\]\]")

_read_json = json.JSONDecoder().raw_decode


class Directives(msgspec.Struct, kw_only=True):
    """What the last user text orders; ``rest`` is that text without the orders."""

    rest: str = ""
    delay_s: float = 0.0
    words: int | None = None
    error: int | None = None
    say: str | None = None
    fail: bool = False
    incomplete: bool = False
    drop: bool = False
    calls: list[tuple[str, str]] = []
    """Names and arguments (JSON as it was written), in order."""


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
    if simple := _SIMPLE.match(text, start):
        return simple.end() if _set(directives, *simple.groups()) else None
    if say := _SAY.match(text, start):
        directives.say = say[1]
        return say.end()
    if call := _CALL.match(text, start):
        return _take_call(directives, text, call)
    return None


def _set(directives: Directives, flag: str | None, name: str | None, value: str | None) -> bool:
    number = float(value or 0)
    match flag or name:
        case "fail":
            directives.fail = True
        case "incomplete":
            directives.incomplete = True
        case "drop":
            directives.drop = True
        case "delay":
            directives.delay_s = min(number, DELAY_S_MAX)
        case "words":
            directives.words = min(int(number), WORDS_MAX)
        case _:
            directives.error = int(number) if int(number) in ERROR_STATUSES else None
            return directives.error is not None
    return True


def _take_call(directives: Directives, text: str, call: re.Match[str]) -> int | None:
    arguments, end = "{}", call.end()
    if text.startswith("{", end):
        try:
            _, after = _read_json(text, end)
        except (ValueError, RecursionError):
            return None
        arguments, end = text[end:after], after
    closing = _END.match(text, end)
    if closing is None:
        return None
    directives.calls.append((call[1], arguments))
    return closing.end()
