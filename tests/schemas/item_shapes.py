"""Items of every type: the contract's samples, and shapes made up from the SDK's own classes."""

import json
import types
import typing
from pathlib import Path
from typing import Any, Literal, Union

import pydantic
from hypothesis import strategies as st
from openai.types.conversations import ConversationItem
from openai.types.responses import ResponseInputItem, ResponseItem, ResponseOutputItem

from schemas.item_types import ROLES, TYPES

SAMPLES = Path(__file__).parents[1] / "contract" / "samples"
STORED: list[dict[str, Any]] = json.loads((SAMPLES / "items_all_variants.json").read_text())
"""Every type as it is stored."""
MINIMAL: list[dict[str, Any]] = json.loads(
    (SAMPLES / "input_items_all_variants_minimal.json").read_text()
)
"""Every type as a client may send it at the least, references and a trigger among them."""

CONVERSATION_ITEM = pydantic.TypeAdapter(ConversationItem)
RESPONSE_ITEM = pydantic.TypeAdapter(ResponseItem)


def named(items: list[dict[str, Any]]) -> list[str]:
    """Names of samples: their type and place."""
    return [f"{index}-{item.get('type', 'easy')}" for index, item in enumerate(items)]


def classes_of(union: object) -> list[type[pydantic.BaseModel]]:
    """The classes of a union, however nested."""
    if typing.get_origin(union) is typing.Annotated:
        return classes_of(typing.get_args(union)[0])
    if typing.get_origin(union) in {Union, types.UnionType}:
        return [one for member in typing.get_args(union) for one in classes_of(member)]
    return [union] if isinstance(union, type) and issubclass(union, pydantic.BaseModel) else []


def type_of(kind: type[pydantic.BaseModel]) -> str:
    """The item type a class of the SDK describes."""
    annotation = kind.model_fields["type"].annotation
    return next(
        name
        for part in (annotation, *typing.get_args(annotation))
        for name in typing.get_args(part)
        if isinstance(name, str)
    )


def by_type(union: object) -> dict[str, list[type[pydantic.BaseModel]]]:
    """The classes of a union by the item type they describe; messages have several."""
    found: dict[str, list[type[pydantic.BaseModel]]] = {}
    for kind in classes_of(union):
        found.setdefault(type_of(kind), []).append(kind)
    return found


SENT = by_type(ResponseInputItem)
LISTED = by_type(ResponseItem)
IN_CONVERSATIONS = by_type(ConversationItem)
ANSWERED = by_type(ResponseOutputItem)


def is_what_the_sdk_describes(body: dict[str, Any], adapter: pydantic.TypeAdapter[Any]) -> bool:
    """Whether the SDK's class of its type takes it without a conversion, and gives it back."""
    model = adapter.validate_python(body, strict=True)
    return (
        type_of(type(model)) == body["type"]
        and model.model_dump(mode="json", exclude_unset=True, by_alias=True) == body
    )


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=5,
)
NAME = st.text("abc_", min_size=1, max_size=8)
TOOL = st.fixed_dictionaries(
    {
        "type": st.just("function"),
        "name": NAME,
        "parameters": st.none() | st.dictionaries(TEXT, JSON, max_size=2),
        "strict": st.none() | st.booleans(),
    }
)
_OF_TYPE = {
    str: TEXT,
    int: st.integers(-(2**31), 2**31),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    object: JSON,
}
_ANYWHERE = {"call_id": NAME, "name": NAME, "namespace": NAME, "approval_request_id": NAME}


def values_of(annotation: Any) -> st.SearchStrategy[Any]:
    """Values the SDK's annotation allows."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return values_of(arguments[0])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in {Union, types.UnionType}:
        return st.one_of([values_of(argument) for argument in arguments])
    if origin in {list, typing.List}:  # noqa: UP006 - the SDK's spelling
        return st.lists(values_of(arguments[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(TEXT, values_of(arguments[1]), max_size=2)
    if annotation is type(None):
        return st.none()
    if annotation in _OF_TYPE:
        return _OF_TYPE[annotation]
    return bodies_of(annotation)


def bodies_of(
    kind: type[pydantic.BaseModel], **known: st.SearchStrategy[Any]
) -> st.SearchStrategy[dict[str, Any]]:
    """Objects a class of the SDK describes, optional fields absent, null or there."""
    required, optional = {}, {}
    for name, field in kind.model_fields.items():
        values = known[name] if name in known else values_of(field.annotation)
        if name in _ANYWHERE and name not in known:
            nullable = type(None) in typing.get_args(field.annotation)
            values = _ANYWHERE[name] | st.none() if nullable else _ANYWHERE[name]
        always = field.is_required() or name in known
        if name == "logprobs":
            # Both lists of a text stand in everything this server stores.
            always, values = True, values.filter(lambda value: value is not None)
        (required if always else optional)[field.alias or name] = values
    return st.fixed_dictionaries(required, optional=optional)


def listed_items() -> st.SearchStrategy[dict[str, Any]]:
    """Items as this server lists them, of every type."""
    return st.one_of(
        [_listed(kind) for kinds in LISTED.values() for kind in kinds]
        + [_listed(IN_CONVERSATIONS["message"][0])]
    )


def _listed(kind: type[pydantic.BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    name = type_of(kind)
    shape = TYPES[name]
    known: dict[str, st.SearchStrategy[Any]] = {
        "id": NAME.map(lambda end: f"{shape.prefix}_{end}"),
    }
    if shape.status_stored:
        annotation = kind.model_fields["status"].annotation
        known["status"] = values_of(annotation).filter(lambda status: status is not None)
    if name in {"tool_search_output", "additional_tools"}:
        known["tools"] = st.lists(TOOL, max_size=2)
    if name == "additional_tools":
        known["role"] = st.just("developer")
    if name == "message" and "unknown" in typing.get_args(kind.model_fields["role"].annotation):
        known["role"] = st.sampled_from(ROLES)
    return bodies_of(kind, **known).map(_of_its_role)


def _of_its_role(body: dict[str, Any]) -> dict[str, Any]:
    if body["type"] == "message" and body["role"] == "user" and body.get("phase"):
        return {**body, "phase": None}
    return body
