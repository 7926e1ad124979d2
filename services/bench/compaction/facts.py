"""Facts that are planted in a conversation, and whether a text still holds them.

A fact is held when its value stands in the text letter by letter: a paraphrase is no identifier.
"""

import random
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta

import msgspec

KINDS = ("identifier", "number", "name", "path", "url", "date", "decision")
PLACES = ("user", "assistant", "tool")
_PLACES_DEALT = ("user", "user", "tool", "user", "assistant")
"""Users say most of what matters later; the rest is found by tools, or comes from the model."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_ADJECTIVES = _words(
    "amber birch cobalt copper crimson granite indigo ivory jade linen maple olive pewter quartz"
    " russet sable slate teal umber walnut"
)
_NOUNS = _words(
    "archive awning beacon bench cabinet cellar console ferry garden kiosk ladder lamp loom mirror"
    " pavilion pump shelf sofa table turbine"
)
_FIRST_NAMES = _words(
    "Aurelie Benedikt Chiara Dagny Emeka Farida Gustavo Hanneke Ilmari Jovana Katarzyna Lorcan"
    " Mireille Nkechi Oswaldo Petronella Quirin Rosalba Soledad Tadeusz"
)
_LAST_NAMES = _words(
    "Abernathy Brankovic Castellanos Dombrowski Eriksen Fitzwilliam Grzelak Huisman Ibarra"
    " Jankauskas Kowalczyk Lindqvist Mwangi Nakagawa Oyelaran Papadakis Rautavaara Szabo"
    " Tennenbaum Villanueva"
)
_CHOICES = (
    "by courier instead of by post",
    "without the second coat of varnish",
    "only after the audit has ended",
    "in two halves a week apart",
    "with the supplier from Ghent",
    "on the older of the two machines",
    "at our cost and not at theirs",
)
_VERBS = ("send", "repair", "replace", "store", "rebuild", "insure", "photograph")
_MONTHS = _words(
    "January February March April May June July August September October November December"
)
_FOLDERS = ("billing", "exports", "fixtures", "migrations", "reports", "scans")
_SUFFIXES = ("csv", "json", "log", "pdf", "py", "sql", "toml")


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """``value`` is what must be found again; ``statement`` says it in turn ``turn``, from 1."""

    id: str
    turn: int
    kind: str
    place: str
    value: str
    statement: str
    question: str


def facts(chosen: random.Random, *, turns: int, count: int) -> tuple[Fact, ...]:
    """``count`` facts spread evenly over ``turns`` turns; no two of one thing or value."""
    things = [f"{adjective} {noun}" for adjective in _ADJECTIVES for noun in _NOUNS]
    chosen.shuffle(things)
    made: list[Fact] = []
    values: set[str] = set()
    while len(made) < count:
        kind = KINDS[len(made) % len(KINDS)]
        value, statement, question = _WRITERS[kind](chosen, things[len(made) % len(things)])
        if value in values:
            continue
        values.add(value)
        made.append(
            Fact(
                id=f"fact_{len(made) + 1}",
                turn=1 + len(made) * turns // count,
                kind=kind,
                place=_PLACES_DEALT[len(made) // len(KINDS) % len(_PLACES_DEALT)],
                value=value,
                statement=statement,
                question=question,
            )
        )
    return tuple(made)


def held(facts: Iterable[Fact], texts: Sequence[str]) -> tuple[Fact, ...]:
    """Those whose value stands in one of the texts, and not only as a part of a longer word."""
    return tuple(fact for fact in facts if any(found(fact.value, text) for text in texts))


def found(value: str, text: str) -> bool:
    """Whether ``value`` stands in ``text``; spaces and line ends are all one."""
    if value in text:
        return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None
    words = r"\s+".join(map(re.escape, value.split()))
    return " " in value and re.search(rf"(?<!\w){words}(?!\w)", text) is not None


Written = tuple[str, str, str]
"""Value, statement, question."""


def _identifier(chosen: random.Random, thing: str) -> Written:
    letters = "".join(chosen.choices("ABCDEFGHJKLMNPRSTVWXYZ", k=3))
    number = chosen.randint(10_000, 99_999)
    value = chosen.choice(
        [f"{letters}-{number}", f"{letters}{number}", f"{letters.lower()}_{number}", f"#{number}"]
    )
    return value, f"The {thing} is filed under {value}.", f"Under what is the {thing} filed?"


def _number(chosen: random.Random, thing: str) -> Written:
    cents = chosen.randint(100_000, 999_999)
    value = chosen.choice([f"{cents / 100:,.2f}", f"{cents / 100:.2f}", f"{cents}"])
    return value, f"The {thing} comes to {value} in all.", f"What does the {thing} come to?"


def _name(chosen: random.Random, thing: str) -> Written:
    value = f"{chosen.choice(_FIRST_NAMES)} {chosen.choice(_LAST_NAMES)}"
    return (
        value,
        f"Whoever asks about the {thing} should talk to {value}.",
        f"Who should be asked about the {thing}?",
    )


def _path(chosen: random.Random, thing: str) -> Written:
    stem = thing.replace(" ", "_")
    folder, suffix = chosen.choice(_FOLDERS), chosen.choice(_SUFFIXES)
    value = chosen.choice(
        [
            f"/srv/{folder}/{stem}_{chosen.randint(10, 99)}.{suffix}",
            f"{folder}/{chosen.randint(2019, 2026)}/{stem}.{suffix}",
        ]
    )
    return value, f"Everything about the {thing} is in {value}.", f"Which file has the {thing}?"


def _url(chosen: random.Random, thing: str) -> Written:
    host = chosen.choice(("docs.example.com", "status.example.org", "shop.example.net"))
    value = f"https://{host}/{thing.replace(' ', '-')}/{chosen.randint(1_000, 9_999)}"
    return value, f"The page of the {thing} is {value} now.", f"Where is the page of the {thing}?"


def _date(chosen: random.Random, thing: str) -> Written:
    day = date(2026, 1, 1) + timedelta(days=chosen.randint(0, 1_500))
    value = chosen.choice(
        [f"{day}", f"{day.day} {_MONTHS[day.month - 1]} {day.year}", f"{day:%d.%m.%Y}"]
    )
    return value, f"The {thing} has to be ready on {value}.", f"When must the {thing} be ready?"


def _decision(chosen: random.Random, thing: str) -> Written:
    value = f"{chosen.choice(_VERBS)} the {thing} {chosen.choice(_CHOICES)}"
    statement = chosen.choice(
        ["We decided to {}.", "Decision: we {}.", "Agreed: we will {}.", "Let's {} then."]
    ).format(value)
    return value, statement, f"What did we decide about the {thing}?"


_WRITERS: dict[str, Callable[[random.Random, str], Written]] = {
    "identifier": _identifier,
    "number": _number,
    "name": _name,
    "path": _path,
    "url": _url,
    "date": _date,
    "decision": _decision,
}
