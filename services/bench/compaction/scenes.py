"""Scenes of generated conversations: customers and orders, code and its tests, figures and tables.

Each is a few turns about the same things, with the tools a clerk or an agent would call.
"""

import random
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import msgspec

Said = dict[str, Any]
"""An item as a client sends it."""
Turn = tuple[Said, ...]
"""A user's message and what came of it."""
Mint = Callable[[], str]
"""A call id nobody has yet."""

_GOODS = ("desk lamp", "oak chair", "rug", "kettle", "wall clock", "bookend", "vase", "blanket")
_CARRIERS = ("Nordpost", "Swiftline", "Parcelo", "Redwing")
_CITIES = ("Utrecht", "Porto", "Leeds", "Graz", "Tampere", "Lyon", "Aarhus", "Valencia")
_STREETS = ("Harbour Road", "Mill Lane", "Station Street", "Long Acre", "Chapel Hill")
_CUSTOMERS = ("Marta Silva", "Jonas Weber", "Priya Raman", "Tom Okafor", "Lena Vogel", "Ali Demir")
_STATES = ("packed", "handed over", "in transit", "at the depot", "delivered", "returned")
_MODULES = ("orders", "billing", "search", "export", "session", "webhook", "quota", "mailer")
_VERBS = ("parse", "load", "merge", "retry", "render", "flush", "split", "validate")
_NOUNS = ("batch", "invoice", "cursor", "token", "header", "row", "window", "queue")
_FAULTS = (
    "expected {0} rows, got {1}",
    "KeyError: 'field_{0}'",
    "timeout after {0} ms, {1} attempts",
    "assert {0} == {1}",
)
_REGIONS = ("north", "south", "east", "west", "online")

_SMALL_TALK = (
    (
        "What surprises me is that nobody has noticed before, although quite a few people must "
        "have looked at the very same thing in the meantime."
    ),
    (
        "I am asking because the others here want to know what to expect, and I would rather tell "
        "them something definite than guess."
    ),
    "I have been waiting for quite some time and would like to understand what happens next.",
    "My colleague had the same trouble last month, and it went away by itself.",
    "There is no hurry, but it would be good to have it settled before the end of the week.",
    "I have looked through the mails you sent me and could not find anything about it.",
    "Sorry for asking again, I only want to be sure that nothing gets lost.",
    "I tried it twice, once on my phone and once on the big computer, with the same result.",
)
_ANSWERS = (
    (
        "I have looked at what came before as well, and it fits together with what you describe, "
        "so there is no reason to think that anything else is wrong with it."
    ),
    (
        "What usually helps in such a case is to begin with the simplest explanation and to leave "
        "the rest as it is until that has been ruled out."
    ),
    (
        "Should it turn out otherwise, we can still go back to how it was before, since nothing of "
        "what has been done so far is final."
    ),
    (
        "To be on the safe side I would keep both versions for a while and compare them once more "
        "when the others have had a chance to look."
    ),
    "Let me know if that does not settle it.",
    "I would wait until tomorrow before doing anything else.",
    "Nothing more has to be done on your side for now.",
    "If it happens again, the same steps should help.",
    (
        "I have also compared it with how the others do it, and found nothing that would speak "
        "against doing the same here, apart from the effort it takes to explain it to everybody."
    ),
    "I have left a note so that whoever looks next finds all of this.",
)

_encode = msgspec.json.Encoder().encode


def message(role: str, text: str) -> Said:
    """A message of one text."""
    return {"type": "message", "role": role, "content": text}


def scene(chosen: random.Random, *, mint: Mint) -> Iterator[Turn]:
    """A few turns about one matter."""
    return chosen.choice((_support, _code, _figures))(chosen, mint)


def _support(chosen: random.Random, mint: Mint) -> Iterator[Turn]:
    order = f"ORD-{chosen.randint(100_000, 999_999)}"
    customer, carrier, city = map(chosen.choice, (_CUSTOMERS, _CARRIERS, _CITIES))
    goods = chosen.sample(_GOODS, k=chosen.randint(1, 3))
    tracking = f"{carrier[:2].upper()}{chosen.randint(10**8, 10**9 - 1)}"
    found = {
        "order_id": order,
        "customer": customer,
        "status": chosen.choice(_STATES),
        "placed_at": _day(chosen),
        "items": [
            {"name": name, "quantity": chosen.randint(1, 4), "price": _price(chosen)}
            for name in goods
        ],
        "carrier": carrier,
        "tracking": tracking,
        "address": {
            "street": f"{chosen.choice(_STREETS)} {chosen.randint(1, 180)}",
            "postcode": f"{chosen.randint(1_000, 9_999)}",
            "city": city,
        },
        "payment": {"method": "card", "ending": f"{chosen.randint(1_000, 9_999)}"},
        "history": [
            {"at": _day(chosen), "state": state} for state in _STATES[: chosen.randint(1, 4)]
        ],
    }
    yield (
        message("user", f"Hello, {customer} here. Where is my {goods[0]}? {_some(chosen)}"),
        message("assistant", f"Gladly. What is the number of the order, please? {_more(chosen)}"),
    )
    yield (
        message("user", f"It is {order}. {_some(chosen)}"),
        *_called(mint, "get_order", {"order_id": order}, found),
        message(
            "assistant",
            f"Your order {order} is {found['status']}: {' and '.join(goods)}, sent with {carrier} "
            f"to {city}. {_more(chosen)}",
        ),
    )
    if chosen.choice((True, False)):
        event = {"at": _day(chosen), "place": city, "state": chosen.choice(_STATES)}
        yield (
            message("user", f"And what does {carrier} say about it? {_some(chosen)}"),
            *_called(mint, "track_parcel", {"tracking": tracking}, {"events": [event]}),
            message(
                "assistant",
                f"{carrier} last saw {tracking} on {event['at']}: {event['state']}. "
                f"{_more(chosen)}",
            ),
        )
    if chosen.choice((True, False)):
        amount = _price(chosen)
        given = {"order_id": order, "amount": amount}
        yield (
            message("user", f"Then I want some money back for the {goods[-1]}, please."),
            *_called(mint, "refund", given, {"refund_id": f"RF{chosen.randint(1000, 9999)}"}),
            message("assistant", f"I have refunded {amount} euros. {_more(chosen)}"),
        )


def _code(chosen: random.Random, mint: Mint) -> Iterator[Turn]:
    module, verb, noun = chosen.choice(_MODULES), chosen.choice(_VERBS), chosen.choice(_NOUNS)
    name, file = f"{verb}_{noun}", f"services/{module}/{noun}s.py"
    fault = chosen.choice(_FAULTS).format(chosen.randint(2, 900), chosen.randint(2, 900))
    line = chosen.randint(10, 400)
    yield (
        message(
            "user",
            f"The test of {name} fails since this morning. Can you look at it? {_some(chosen)}",
        ),
        *_called(
            mint,
            "run_tests",
            {"path": f"tests/{module}"},
            {
                "passed": chosen.randint(20, 300),
                "failed": 2,
                "seconds": round(chosen.uniform(0.4, 30), 2),
                "failures": [
                    {"test": f"test_{name}", "file": file, "line": line, "says": fault},
                    {"test": f"test_{name}_twice", "file": file, "line": line, "says": "the same"},
                ],
            },
        ),
        message("assistant", f"It fails in {file}, line {line}: {fault}. {_more(chosen)}"),
    )
    source = (
        f"def {name}({noun}s, limit):\n    for {noun} in {noun}s[:limit]:\n"
        f"        if not {noun}.ready:\n            continue\n        yield {noun}.{verb}()\n\n\n"
        f"def {name}_all(source, *, limit={chosen.randint(10, 500)}):\n"
        f"    {noun}s = sorted(source.{noun}s(), key=lambda {noun}: {noun}.created_at)\n"
        f"    if len({noun}s) > limit:\n"
        f"        log.warning('{module}.{noun}s_cut', count=len({noun}s), limit=limit)\n"
        f"    return list({name}({noun}s, limit))\n"
    )
    yield (
        message("user", f"Good. {_some(chosen)}"),
        *_called(mint, "read_file", {"path": file}, {"text": source, "from_line": line - 3}),
        message(
            "assistant",
            f"`{name}` leaves out what is not ready, and the test counts on all of them. Either "
            f"the limit is applied after that, or the test is wrong. {_more(chosen)}",
        ),
    )
    if chosen.choice((True, True, False)):
        passed = {"passed": chosen.randint(20, 300), "failed": 0}
        yield (
            message(
                "user", f"Apply the limit afterwards, and run the tests again. {_some(chosen)}"
            ),
            *_called(mint, "edit_file", {"path": file, "line": line}, {"changed_lines": 2}),
            *_called(mint, "run_tests", {"path": f"tests/{module}"}, passed),
            message(
                "assistant", f"Done: {passed['passed']} tests pass now, none fails. {_more(chosen)}"
            ),
        )


def _figures(chosen: random.Random, mint: Mint) -> Iterator[Turn]:
    table, year = f"{chosen.choice(_MODULES)}_daily", chosen.randint(2019, 2026)
    rows: list[dict[str, Any]] = [
        {
            "region": region,
            "count": chosen.randint(10, 9_000),
            "average": _price(chosen),
            "largest": {"customer": f"C-{chosen.randint(1_000, 9_999)}", "amount": _price(chosen)},
        }
        for region in chosen.sample(_REGIONS, k=chosen.randint(3, 5))
    ]
    best = max(rows, key=lambda row: row["count"])
    yield (
        message("user", f"How did we do in {year}, by region? {_some(chosen)}"),
        *_called(
            mint,
            "run_query",
            {"table": table, "year": year, "group_by": "region", "order_by": "count"},
            {"rows": rows, "took_ms": chosen.randint(2, 900)},
        ),
        message(
            "assistant",
            f"Most came from {best['region']}: {best['count']} with {best['average']} on average. "
            f"{_more(chosen)}",
        ),
    )
    yield (
        message("user", f"Is that more than usual? {_some(chosen)}"),
        message(
            "assistant",
            "A little. The year before it was about the same, and the differences between the "
            "regions are smaller than what a single large customer makes of them. "
            f"{_more(chosen)}",
        ),
    )


def _called(mint: Mint, name: str, given: Said, found: Said) -> Turn:
    call_id = mint()
    return (
        {
            "type": "function_call",
            "call_id": call_id,
            "name": name,
            "arguments": _encode(given).decode(),
        },
        {"type": "function_call_output", "call_id": call_id, "output": _encode(found).decode()},
    )


def _some(chosen: random.Random) -> str:
    return " ".join(chosen.sample(_SMALL_TALK, k=chosen.randint(2, 4)))


def _more(chosen: random.Random) -> str:
    return " ".join(chosen.sample(_ANSWERS, k=chosen.randint(3, 6)))


def _day(chosen: random.Random) -> str:
    return str(date(2024, 1, 1) + timedelta(days=chosen.randint(0, 900)))


def _price(chosen: random.Random) -> float:
    return round(chosen.uniform(5, 400), 2)
