"""What clients may send: the shapes of request bodies, from the rules they are checked by.

A field that is not required may be null, which is as if it were not there.
"""

from collections.abc import Iterable, Mapping

from schemas import shapes
from schemas.http import parameter_shapes, parameters
from schemas.http.conversations import ITEMS_MAX
from schemas.http.sources import INPUT_LENGTH_MAX
from schemas.http.sql import ROWS, ROWS_MAX, STATEMENT_LENGTH_MAX, TIME_S
from schemas.ids import CONVERSATION_PREFIX, RESPONSE_PREFIX
from schemas.shapes import Shape

_CONVERSATION_ID = shapes.identifier(CONVERSATION_PREFIX)
_ITEM = shapes.ref("ItemParam")

_MODEL: Shape = shapes.described(shapes.TEXT, "Name of the model.")


def _input(item: str) -> Shape:
    return shapes.described(
        shapes.any_of(shapes.text(most=INPUT_LENGTH_MAX), shapes.array(shapes.ref(item))),
        "What is new: a user's text, or items.",
    )


_CONVERSATION: Shape = shapes.described(
    shapes.any_of(_CONVERSATION_ID, shapes.record({"id": _CONVERSATION_ID}, required=("id",))),
    "The conversation whose items come before the input, and which the turn joins.",
)
_PREVIOUS: Shape = shapes.described(
    shapes.identifier(RESPONSE_PREFIX), "The response this one follows, without a conversation."
)

_SAYS: dict[str, str] = {
    "background": "Answer at once, run the turn by itself; needs `store`.",
    "background_options": "When a background turn is to be done.",
    "context_management": "Compact the window within the turn once it has so many tokens.",
    "frequency_penalty": "Sent on to the model.",
    "include": "Further data to include in items.",
    "instructions": "A system message for this response only.",
    "max_output_tokens": "Most tokens the answer may have.",
    "max_tool_calls": "Most calls of hosted tools.",
    "parallel_tool_calls": "Whether the model may call several tools at once.",
    "presence_penalty": "Sent on to the model.",
    "prompt": "A template kept by the hosted platform; this server has none, and says 404.",
    "prompt_cache_key": "What similar requests share.",
    "reasoning": "How much the model thinks, and what it tells of that.",
    "safety_identifier": "Which of your users asks.",
    "service_tier": "Sent on to the model.",
    "store": "Keep the response; without a conversation nothing else is kept.",
    "stream": "Answer server-sent events.",
    "stream_options": "Only with `stream`.",
    "text": "How the answer is written: plain, as JSON, by a schema.",
    "tool_choice": "Which tools the model may or must call.",
    "tools": "What the model may call. Hosted ones are the model's to know.",
    "truncation": "What to do with a window that is too long: drop its oldest items, or refuse.",
    "user": "Replaced by `safety_identifier`.",
}
"""What parameters mean, where their name and shape do not say it all."""


def described() -> dict[str, Shape]:
    """Shapes by name of every request body."""
    return {
        "CreateConversationRequest": _body(
            {"items": shapes.array(_ITEM, most=ITEMS_MAX), "metadata": shapes.ref("Metadata")},
            says="A conversation and the items it begins with.",
        ),
        "UpdateConversationRequest": shapes.record(
            {"metadata": shapes.nullable(shapes.ref("Metadata"))},
            required=("metadata",),
            says="The metadata that replaces the old; null for none.",
        ),
        "CreateItemsRequest": _body(
            {"items": shapes.array(_ITEM, most=ITEMS_MAX)},
            required=("items",),
            says="Items to add, in their order.",
        ),
        "CreateResponseRequest": _body(
            {
                **_SOURCES,
                "input": _input("InputItemParam"),
                "conversation": _CONVERSATION,
                **_checked(parameters.CREATE),
            },
            never_null=("model",),
            says="A turn. One of `input`, `conversation`, `previous_response_id` and `prompt` is "
            "needed; `conversation` and `previous_response_id` exclude each other. `model` may "
            "be left out where the response before names it.",
        ),
        "CompactRequest": shapes.record(
            {
                name: shapes.nullable(shape)
                for name, shape in {**_SOURCES, **_checked(parameters.COMPACT)}.items()
            },
            required=("model",),
            says="A window to compact. One of `input` and `previous_response_id` is needed.",
        ),
        "SqlRequest": _sql(),
        "InputTokensRequest": _body(
            {
                **_SOURCES,
                "input": _input("InputItemParam"),
                "conversation": _CONVERSATION,
                **_checked(parameters.INPUT_TOKENS),
            },
            says="A turn that is only counted.",
        ),
        **parameter_shapes.described(),
    }


_SOURCES = {"model": _MODEL, "input": _input("ItemParam"), "previous_response_id": _PREVIOUS}


def _checked(rules: Mapping[str, parameters.Check]) -> dict[str, Shape]:
    """The shapes of what is checked by ``rules``, with what they mean."""
    return {
        name: shapes.described(shape, _SAYS[name]) if name in _SAYS else shape
        for name, shape in ((name, parameter_shapes.shape(rule)) for name, rule in rules.items())
    }


def _sql() -> Shape:
    return _body(
        {
            "statement": shapes.described(
                shapes.text(most=STATEMENT_LENGTH_MAX), "One SELECT, in DuckDB's SQL."
            ),
            "sequence": shapes.described(
                shapes.integer(least=0, most=2**53),
                "A sequence of the log the answer must stand at, or behind.",
            ),
            "time_s_max": {
                "type": "number",
                "minimum": 0.001,
                "maximum": 3600,
                "default": TIME_S,
                "description": "Seconds it may run, until all of the answer is taken.",
            },
            "rows_max": shapes.described(
                shapes.integer(least=0, most=ROWS_MAX),
                f"Most rows to answer; without it {ROWS} in JSON, and all of them in Arrow.",
            ),
        },
        required=("statement",),
        says="A statement that reads the views.",
    )


def _body(
    fields: Mapping[str, Shape],
    *,
    required: Iterable[str] = (),
    never_null: Iterable[str] = (),
    says: str,
) -> Shape:
    solid = {*required, *never_null}
    shaped = {
        name: shape if name in solid else shapes.nullable(shape) for name, shape in fields.items()
    }
    return shapes.record(shaped, required=required, says=says)
