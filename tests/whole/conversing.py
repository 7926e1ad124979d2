"""Whole conversations, recorded or made up, led over HTTP as an application leads them."""

import json
import os
import random
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from openai import OpenAI

from tests.whole.running import MODEL, function, message, output_of

CHUNK = 20
_NAME = re.compile(r"[\w-]+")
_WORDS = [
    "order",
    "parcel",
    "lamp",
    "refund",
    "Lissabon",
    "Straße",
    "žluťoučký",
    "kůň",
    "订单",
    "退款",
    "谢谢",
    "ありがとう",
    "注文",
    "спасибо",
    "заказ",
    "مرحبا",
    "طلب",
    "שלום",
    "👩\u200d👩\u200d👧\u200d👦",
    "🇵🇹",
    "é",
    "\u2028",
    "\u200b",
    "\ufeff",
    "<b>",
    "&",
    '"',
    "\\",
    "\\u0041",
    "/",
    "\t",
    "{}",
    "[]",
    "';",
    "DROP",
    "TABLE",
    "items;--",
    "%s",
    "${x}",
    "\x7f",
    "\x01",
]


class Recorded(msgspec.Struct, frozen=True):
    """A conversation to lead; ``items`` as clients write them."""

    id: str
    items: list[dict[str, Any]]
    tools: list[dict[str, Any]] = []
    instructions: str | None = None


def recorded(seeds: Iterable[int] = range(12)) -> list[Recorded]:
    """Those of the file the environment names, else ones made up from ``seeds``."""
    path = os.environ.get("TURNLOG_TEST_CONVERSATIONS")
    if not path:
        return [made_up(seed) for seed in seeds]
    most = int(os.environ.get("TURNLOG_TEST_CONVERSATIONS_MAX", "100"))
    lines = Path(path).read_bytes().splitlines()
    # Spread over the file: its parts are of different kinds.
    chosen = lines[:: max(1, len(lines) // most)][:most]
    return [msgspec.json.decode(line, type=Recorded) for line in chosen]


def made_up(seed: int) -> Recorded:
    """The conversation of a seed: always the same."""
    dice = random.Random(seed)
    tools = [function("look_up", name="string"), function("file-claim", text="string")]
    items: list[dict[str, Any]] = []
    for turn in range(dice.randint(2, 6)):
        large = seed % 6 == 0 and turn == 1
        items.append(message(_text(dice, 40_000 if large else dice.randint(1, 60))))
        calls = [_call(dice, f"{seed}_{turn}_{n}") for n in range(dice.choice((0, 0, 1, 1, 2, 3)))]
        items += calls
        items += [output_of(call["call_id"], _text(dice, 12)) for call in calls]
        if dice.random() < 0.4:
            later = _call(dice, f"{seed}_{turn}_later")
            items += [later, output_of(later["call_id"], _text(dice, 3))]
        items.append(message(_text(dice, 5), "assistant"))
    return Recorded(f"made-up/{seed}", items, tools, _text(dice, 8) if seed % 2 else None)


def _text(dice: random.Random, words: int) -> str:
    return " ".join(dice.choices(_WORDS, k=words))


def _call(dice: random.Random, name: str) -> dict[str, Any]:
    arguments = json.dumps(
        {"name": _text(dice, 4), "deep": [{"n": dice.random()}, None, dice.random() < 0.5]},
        ensure_ascii=dice.random() < 0.5,
        indent=dice.choice((None, 1)),
    )
    return {
        "type": "function_call",
        "call_id": f"call_{name}",
        "name": dice.choice(("look_up", "file-claim")),
        "arguments": arguments,
    }


class Led(msgspec.Struct):
    """A conversation that was led, or a chain of responses, and what it took.

    ``parent`` is the last response of a chain, ``waiting`` what is sent with its next turn.
    """

    id: str = ""
    parent: str | None = None
    waiting: list[dict[str, Any]] = []
    turns: int = 0
    calls: int = 0
    added: int = 0


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked in one turn, with the answer; nothing of either where items were added."""

    asked: dict[str, Any] = {}
    response: Any = None


def lead(
    client: OpenAI,
    given: Recorded,
    *,
    chain: bool = False,
    seen: Callable[[Led, Step], None] = lambda _led, _step: None,
) -> Led:
    """Lead one conversation to its end, or the same as a ``chain`` of responses.

    ``seen`` is told of each step once it is done.

    A user's message is a turn. The calls right behind it are provoked from the model and their
    outputs sent in the turn after it; later calls are added by hand with theirs, to a chain with
    the next message.
    """
    led = Led()
    if not chain:
        led.id = client.conversations.create(metadata={"recorded": given.id[:512]}).id
    for said, calls, rest in _exchanges(given.items):
        orders = "".join(f" [[call {call['name']} {call['arguments']}]]" for call, _ in calls)
        response = _turn(client, led, given, [message(_content(said) + orders)], seen)
        outputs = []
        asked = [item for item in response.output if item.type == "function_call"]
        if calls:
            wanted = [(call["name"], call["arguments"]) for call, _ in calls]
            assert [(item.name, item.arguments) for item in asked] == wanted
        for index, item in enumerate(asked):
            told = calls[index][1]["output"] if index < len(calls) else "nothing found"
            outputs.append(output_of(item.call_id, told))
            led.calls += 1
        if outputs:
            answer = _turn(client, led, given, outputs, seen)
            assert [item.type for item in answer.output] == ["message"]
        if chain:
            led.waiting = rest
            continue
        for at in range(0, len(rest), CHUNK):
            part = rest[at : at + CHUNK]
            created = client.conversations.items.create(led.id, items=part)
            assert len(created.data) == len(part)
            led.added += len(part)
            seen(led, Step())
    return led


def _turn(
    client: OpenAI,
    led: Led,
    given: Recorded,
    items: list[dict[str, Any]],
    seen: Callable[[Led, Step], None],
) -> Any:
    asked: dict[str, Any] = {"instructions": given.instructions} if given.instructions else {}
    if led.id:
        asked["conversation"] = led.id
    elif led.parent:
        asked["previous_response_id"] = led.parent
    body = {"model": MODEL, "input": [*led.waiting, *items], "tools": given.tools, **asked}
    response = client.responses.create(**body)
    assert response.status == "completed", response
    led.turns += 1
    led.parent, led.waiting = response.id, []
    seen(led, Step(asked=body, response=response))
    return response


def _content(item: dict[str, Any]) -> str:
    content = item["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


Pair = tuple[dict[str, Any], dict[str, Any]]


def _exchanges(
    items: list[dict[str, Any]],
) -> Iterator[tuple[dict[str, Any], list[Pair], list[dict[str, Any]]]]:
    """Each user's message, the calls right behind it with their outputs, later calls and theirs."""
    outputs = {item["call_id"]: item for item in items if item["type"] == "function_call_output"}
    starts = [n for n, item in enumerate(items) if item.get("role") == "user"]
    for start, end in zip(starts, [*starts[1:], len(items)], strict=True):
        behind = items[start + 1 : end]
        calls = [item for item in behind if item["type"] == "function_call"]
        direct = 0
        while direct < len(behind) and _provokable(behind[direct]):
            direct += 1
        provoked = [(call, outputs[call["call_id"]]) for call in behind[:direct]]
        later = [call for call in calls if call not in behind[:direct]]
        rest = [each for call in later for each in (call, outputs[call["call_id"]])]
        yield items[start], provoked, rest


def _provokable(item: dict[str, Any]) -> bool:
    if item["type"] != "function_call" or not _NAME.fullmatch(item["name"]):
        return False
    try:
        return isinstance(json.loads(item["arguments"]), dict) and item["arguments"][0] == "{"
    except ValueError:
        return False
