"""The shapes of what a streamed response is made of (contract 3.4)."""

from schemas import shapes
from schemas.http.event_types import BEGINNINGS, ERROR, TERMINAL, TYPES
from schemas.shapes import Shape

EVENTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((*sorted(BEGINNINGS), *sorted(TERMINAL)), ("response",)),
    ERROR: ("code", "message", "param"),
    **{name: kind.fields for name, kind in TYPES.items()},
}
"""Every event a stream may hold, with the fields it always has."""

_FIELDS: dict[str, Shape] = {
    "response": shapes.ref("Response"),
    "item": shapes.ref("Item"),
    "part": shapes.ref("ContentPart"),
    "annotation": shapes.OBJECT,
    "logprobs": shapes.array(shapes.OBJECT),
    "output": shapes.array(shapes.OBJECT),
}
"""Fields that are neither texts nor, as the end of their name says, counted from 0."""

_SPECIAL: dict[tuple[str, str], Shape] = {
    (ERROR, "code"): shapes.nullable(shapes.TEXT),
    (ERROR, "param"): shapes.nullable(shapes.TEXT),
    ("response.shell_call_output_content.delta", "delta"): shapes.OBJECT,
}
"""Fields whose name means something else in other events."""


def described() -> dict[str, Shape]:
    """Shapes by name: the union of all events, and each of them."""
    names = {event: shapes.name_of(event) + "Event" for event in EVENTS}
    events = {name: _event(event) for event, name in names.items()}
    says = "The data of one event; `sequence_number` counts them from 0, gapless."
    return {
        "ServerSentEvent": _sent(),
        "ResponseStreamEvent": shapes.union(names, says=says),
        **events,
    }


def _sent() -> Shape:
    """One event as it is framed, the way OpenAPI 3.2 describes what streams are made of."""
    fields = {
        "event": shapes.one_of(EVENTS),
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": shapes.ref("ResponseStreamEvent"),
        },
    }
    says = f"One of the events of a stream. Its last is one of {', '.join(sorted(TERMINAL))}."
    return shapes.record(fields, required=fields, says=says)


def _event(event: str) -> Shape:
    fields = {
        "type": shapes.exactly(event),
        **{name: _field(event, name) for name in EVENTS[event]},
        "sequence_number": shapes.integer(least=0),
    }
    padding = {"obfuscation": _PADDING} if event.endswith(".delta") else {}
    return shapes.record({**fields, **padding}, required=fields)


_PADDING = shapes.described(
    shapes.TEXT, "Random characters where they are asked for: lengths then tell nothing."
)


def _field(event: str, name: str) -> Shape:
    known = _SPECIAL.get((event, name)) or _FIELDS.get(name)
    return known or (shapes.integer(least=0) if name.endswith("_index") else shapes.TEXT)
