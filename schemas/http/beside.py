"""What stands beside the bodies of the HTTP contract: in paths, queries and headers."""

import msgspec

from schemas import claims, shapes
from schemas.http import checks
from schemas.http.history import COMMITS_MAX
from schemas.http.listing import TEXT_LENGTH_MAX, TIMES, TOKENS_MAX
from schemas.ids import CONVERSATION_PREFIX, RESPONSE_PREFIX
from schemas.shapes import Shape
from schemas.turn_requests import INTERRUPT, QUEUE, REJECT

OVERLAP_HEADER = "Turnlog-Overlap"
"""What happens to a turn whose conversation is busy."""
KEY_HEADER = "Idempotency-Key"
"""Names a request, so that it can be sent again without being done again."""

AFTER_HEADER = "Turnlog-After-Sequence"
"""A sequence of the log that an answer must stand at, or behind."""


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A value beside the body; ``place`` is ``path``, ``query`` or ``header``."""

    name: str
    place: str = "query"
    required: bool = False
    says: str
    shape: Shape


CONVERSATION = Parameter(
    name="conversation_id",
    place="path",
    says="Id of the conversation.",
    shape=shapes.identifier(CONVERSATION_PREFIX),
)
ITEM = Parameter(name="item_id", place="path", says="Id of the item.", shape=shapes.TEXT)
RESPONSE = Parameter(
    name="response_id",
    place="path",
    says="Id of the response.",
    shape=shapes.identifier(RESPONSE_PREFIX),
)
MODEL = Parameter(name="model", place="path", says="Name of the model.", shape=shapes.TEXT)
INCLUDE = Parameter(
    name="include[]",
    says="Further data to include in items; `include` is taken as well.",
    shape=shapes.array(shapes.one_of(checks.INCLUDABLE)),
)
PAGE = (
    Parameter(
        name="limit",
        says="Most items in the page.",
        shape={**shapes.integer(least=1, most=100), "default": 20},
    ),
    Parameter(
        name="order",
        says="Newest (`desc`) or oldest (`asc`) first.",
        shape={**shapes.one_of(("asc", "desc")), "default": "desc"},
    ),
    Parameter(
        name="after",
        says="Id of the item the page begins behind, in this order: `last_id` of the page before.",
        shape=shapes.TEXT,
    ),
    INCLUDE,
)
_TIME = shapes.any_of(
    shapes.integer(least=0, most=10**11 - 1), {**shapes.TEXT, "format": "date-time"}
)
LISTING = (
    PAGE[0],
    PAGE[1],
    Parameter(
        name="after",
        says="Id of the conversation the page begins behind: `last_id` of the page before.",
        shape=shapes.TEXT,
    ),
    *(
        Parameter(
            name=name,
            says=f"Those that were {name.replace('_after', ' at or after').replace('_', ' ')} "
            "this time, in unix seconds or as a date and time.",
            shape=_TIME,
        )
        for name in TIMES
    ),
    Parameter(
        name="model",
        says="Those with a turn this model has answered, or was asked to.",
        shape=shapes.text(most=TEXT_LENGTH_MAX),
    ),
    Parameter(
        name="tokens_min",
        says="Those whose next window has so many tokens, or more.",
        shape=shapes.integer(least=0, most=TOKENS_MAX),
    ),
    Parameter(
        name="tokens_max",
        says="Those whose next window has so many tokens, or fewer.",
        shape=shapes.integer(least=0, most=TOKENS_MAX),
    ),
    Parameter(
        name="text",
        says="Those in which this is said, in upper or lower case.",
        shape=shapes.text(most=TEXT_LENGTH_MAX),
    ),
)
OVERLAP = Parameter(
    name=OVERLAP_HEADER,
    place="header",
    says="What happens if a turn is running in the conversation: `reject` answers 400 "
    "`conversation_locked`, `queue` waits for the turns before, `interrupt` has the "
    "one that runs end as cancelled.",
    shape={**shapes.one_of((REJECT, QUEUE, INTERRUPT)), "default": REJECT},
)
KEY = Parameter(
    name=KEY_HEADER,
    place="header",
    says="A key of the client's choice, under which the same request can be sent again: it is done "
    "once and answered alike each time, for a day. With another path or body it is refused with "
    "409 `idempotency_key_reused`. A request that was refused before it was done is asked anew. "
    "It means nothing to a turn of which nothing is stored.",
    shape=shapes.text(pattern=claims.KEY_PATTERN),
)
AFTER = Parameter(
    name=AFTER_HEADER,
    place="header",
    says="A sequence of the log, as in the `Turnlog-Sequence` of an earlier answer: this one knows "
    "it, and all before it. If the log does not come to it in five seconds, 503 says so.",
    shape=shapes.integer(least=0),
)
REPLAY = (
    Parameter(
        name="stream",
        says="Answer server-sent events from the first.",
        shape=shapes.BOOLEAN,
    ),
    Parameter(
        name="starting_after",
        says="With `stream`: begin behind the event of this `sequence_number`.",
        shape=shapes.integer(least=0),
    ),
    Parameter(
        name="include_obfuscation",
        says="With `stream`: pad deltas, so that their length tells nothing.",
        shape=shapes.BOOLEAN,
    ),
)
_SEQUENCE_OR_TIME = shapes.any_of(
    shapes.integer(least=0, most=2**53),
    {**shapes.TEXT, "format": "date-time"},
)
AT = Parameter(
    name="at",
    says="A sequence of the log, or a time: the state after the last commit that is not later. "
    "Without it: now.",
    shape=_SEQUENCE_OR_TIME,
)
FROM = Parameter(
    name="from", required=True, says="The earlier point, as `at`.", shape=_SEQUENCE_OR_TIME
)
TO = Parameter(
    name="to", says="The later point, as `at`; without it: now.", shape=_SEQUENCE_OR_TIME
)
COMMITS = (
    Parameter(
        name="limit",
        says="Most commits in the page.",
        shape={**shapes.integer(least=1, most=COMMITS_MAX), "default": 20},
    ),
    Parameter(
        name="after",
        says="Sequence the page begins behind: `last_sequence` of the page before.",
        shape={**shapes.integer(least=0, most=2**53), "default": 0},
    ),
)
