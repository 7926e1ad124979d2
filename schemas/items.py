"""Items: from what clients send to what is stored, adding only what the contract adds.

Content is carried through as the client's own bytes. What is added: ``id``, ``type`` and
``status`` where absent, parts around a string content, and the few fields that are always there
when an item is read (contract 2, trap 11): the two lists of an ``output_text``, ``detail`` of an
image, ``pending_safety_checks`` of a computer's call, ``execution`` of a search for tools.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from schemas import item_fields, item_types
from schemas.http import checks
from schemas.http.checks import Fields
from schemas.http.errors import Invalid, NotFound
from schemas.ids import acceptable
from schemas.item_types import TYPES, ItemType

Mint = Callable[[str], str]
"""Prefix to fresh id."""
Accept = Callable[[str, str], None]
"""Raises `Invalid` for ``encrypted_content`` this server did not write, in an item of that id."""


class Head(msgspec.Struct, frozen=True):
    """The fields of a stored item that rules ask for."""

    type: str
    id: str = ""
    call_id: str | None = None
    role: str | None = None
    name: str | None = None


_fields = msgspec.json.Decoder(Fields).decode
_head = msgspec.json.Decoder(Head).decode
_encode = msgspec.json.Encoder().encode
_LOOSE = {
    name: tuple(field for field in ("call_id", "role", "name") if field not in shape.group.fields)
    for name, shape in TYPES.items()
}
"""Fields of a `Head` that are strings even where a type has no such field."""
_NAMES = {name: msgspec.Raw(_encode(name)) for name in TYPES}
_ABSENT = msgspec.Raw()
_NONE: Mapping[str, msgspec.Raw] = {}
_completed = msgspec.Raw(_encode(item_types.COMPLETED))
_by_client, _by_server = msgspec.Raw(b'"client"'), msgspec.Raw(b'"server"')
_empty = msgspec.Raw(b"[]")
_QUOTE, _BRACE = b'"{'


def head(raw: msgspec.Raw) -> Head:
    """What rules ask of a stored item."""
    return _head(raw)


class _Sealed(msgspec.Struct):
    encrypted_content: str


_sealed = msgspec.json.Decoder(_Sealed).decode


def sealed(raw: msgspec.Raw) -> str:
    """The ``encrypted_content`` of a stored compaction item."""
    return _sealed(raw).encrypted_content


def compaction(item_id: str, encrypted_content: str) -> msgspec.Raw:
    """The stored form of a compaction this server makes."""
    return msgspec.Raw(
        _encode({"id": item_id, "type": "compaction", "encrypted_content": encrypted_content})
    )


class _Written(msgspec.Struct, frozen=True):
    type: str
    id: str | None = None


_written = msgspec.json.Decoder(_Written).decode


def adopted(raw: msgspec.Raw, item_id: str, *, status: str = item_types.COMPLETED) -> msgspec.Raw:
    """An item a model wrote, under an id of ours, with what the contract wants beside.

    ``status`` is the item's where the model gave it none.
    """
    fields = _fields(raw)
    shape = TYPES.get(_written(raw).type)
    fields = {"id": msgspec.Raw(_encode(item_id)), **{k: v for k, v in fields.items() if k != "id"}}
    if shape is not None:
        _complete(fields, shape, status=msgspec.Raw(_encode(status)))
    return msgspec.Raw(_encode(fields))


def prefix_of(raw: msgspec.Raw) -> str:
    """The id prefix for an item a model wrote; of a type we do not know, the model's own."""
    known = _written(raw)
    shape = TYPES.get(known.type)
    return shape.prefix if shape else (known.id or "").partition("_")[0] or "item"


def from_text(value: msgspec.Raw, *, mint: Mint) -> msgspec.Raw:
    """The user message a plain string ``input`` stands for."""
    given = {"role": msgspec.Raw(b'"user"'), "content": value}
    return _stored(given, "message", "input", mint=mint)


def from_array(
    values: Iterable[msgspec.Raw],
    param: str,
    *,
    mint: Mint,
    accept: Accept,
    known: Mapping[str, msgspec.Raw] = _NONE,
) -> tuple[msgspec.Raw, ...]:
    """Stored forms of the items in a request, in their order.

    ``known`` holds the stored items that references may name.
    """
    items: list[msgspec.Raw] = []
    for index, raw in enumerate(values):
        place = f"{param}[{index}]"
        given = checks.fields(raw, place)
        match name := _type(given, place):
            case item_types.REFERENCE:
                items.append(_referred(given, place, known))
            case item_types.TRIGGER:
                raise _misplaced(place)
            case _:
                item = _stored(given, name, place, mint=mint)
                if name == "compaction":
                    accept(sealed(item), head(item).id)
                items.append(item)
    return tuple(items)


def references(values: Iterable[msgspec.Raw], param: str) -> tuple[str, ...]:
    """Ids of the items a request only refers to, in their order."""
    return tuple(
        _reference_id(checks.fields(raw, f"{param}[{index}]"), f"{param}[{index}]")
        for index, raw in enumerate(values)
        if _opening_type(raw) == item_types.REFERENCE
    )


def without_trigger(
    values: Sequence[msgspec.Raw], param: str
) -> tuple[Sequence[msgspec.Raw], bool]:
    """The input without the ``compaction_trigger`` at its end, and whether there was one."""
    for index, raw in enumerate(values):
        if _opening_type(raw) == item_types.TRIGGER:
            if index < len(values) - 1:
                raise _misplaced(f"{param}[{index}]")
            return values[:-1], True
    return values, False


class _Opening(msgspec.Struct):
    """What tells the type of an item apart; empty where it is absent."""

    type: msgspec.Raw = _ABSENT
    id: msgspec.Raw = _ABSENT
    role: msgspec.Raw = _ABSENT
    content: msgspec.Raw = _ABSENT


_opening = msgspec.json.Decoder(_Opening).decode


def _opening_type(raw: msgspec.Raw) -> object:
    """The type of an item that was not checked yet, whatever stands there."""
    if memoryview(raw)[0] != _BRACE:
        return None
    found = _opening(raw)
    if found.type and not checks.is_null(found.type):
        return checks.plain(found.type)
    bare = found.id and not found.role and not found.content
    return item_types.REFERENCE if bare else "message"


def _type(given: Fields, param: str) -> str:
    raw = given.get("type")
    if raw is None or checks.is_null(raw):
        # Easy messages leave their type out, and so do references (contract 2).
        bare = "id" in given and "role" not in given and "content" not in given
        return item_types.REFERENCE if bare else "message"
    name = checks.plain(raw)
    if isinstance(name, str) and name in TYPES:
        return name
    place = f"{param}.type"
    return checks.one_of(checks.text(raw, place), item_types.NAMES, place)


def _reference_id(given: Fields, param: str) -> str:
    if "id" not in given:
        raise checks.missing(f"{param}.id")
    return checks.text(given["id"], f"{param}.id")


def _referred(given: Fields, param: str, known: Mapping[str, msgspec.Raw]) -> msgspec.Raw:
    wanted = _reference_id(given, param)
    if wanted in known:
        return known[wanted]
    raise NotFound(
        f"Item with id '{wanted}' not found. Items are not persisted when `store` is set to "
        "false. Try again with `store` set to true, or remove this item from your input.",
        param="input",
    )


def _misplaced(param: str) -> Invalid:
    return Invalid(
        f"Invalid value: '{item_types.TRIGGER}'. It may only be the last item of the input of a "
        "response, and is never stored.",
        param=f"{param}.type",
        code="invalid_value",
    )


def _stored(given: Fields, name: str, param: str, *, mint: Mint) -> msgspec.Raw:
    shape = TYPES[name]
    for field in _LOOSE[name]:
        raw = given.get(field)
        if raw is not None and not checks.is_null(raw):
            item_fields.text(raw, f"{param}.{field}")
    fields = {**given, **item_fields.read(given, shape.group, param)}
    fields["id"] = _id(given, shape, param, mint=mint)
    fields["type"] = _NAMES[name]
    _check_status(given, shape, param)
    if name == "message":
        _complete_message(fields, param)
    _complete(fields, shape, status=_completed)
    ordered = {key: fields[key] for key in shape.order if key in fields}
    ordered.update(fields)
    return msgspec.Raw(_encode(ordered))


def _complete(fields: Fields, shape: ItemType, *, status: msgspec.Raw) -> None:
    """Add what is stored where it was left out."""
    if shape.status_stored and checks.is_null(fields.get("status")):
        fields["status"] = status
    for name, raw in shape.added.items():
        if checks.is_null(fields.get(name)):
            fields[name] = raw
    if "execution" in shape.group.fields and checks.is_null(fields.get("execution")):
        # What a server searches by itself has no call id.
        fields["execution"] = _by_server if checks.is_null(fields.get("call_id")) else _by_client


def _id(given: Fields, shape: ItemType, param: str, *, mint: Mint) -> msgspec.Raw:
    raw = given.get("id")
    if raw is None or checks.is_null(raw):
        return msgspec.Raw(_encode(mint(shape.prefix)))
    place = f"{param}.id"
    value = checks.text(raw, place)
    if shape.prefixes:
        if not (value.startswith(shape.prefixes) and acceptable(value)):
            checks.named(value, shape.prefixes[0], place)
    elif not acceptable(value):
        raise Invalid(
            f"Invalid '{place}': '{value[:64]}'. Expected an ID that contains letters, numbers, "
            "underscores, or dashes, but this value contained additional characters.",
            param=place,
            code="invalid_value",
        )
    return raw


def _check_status(given: Fields, shape: ItemType, param: str) -> None:
    place = f"{param}.status"
    if "status" not in given:
        if shape.status_sent:
            raise checks.missing(place)
    elif shape.status and (shape.status_sent or not checks.is_null(given["status"])):
        shape.status(given["status"], place)


def _complete_message(fields: Fields, param: str) -> None:
    role, content = checks.plain(fields["role"]), fields["content"]
    if role == "user" and not checks.is_null(fields.get("phase")):
        place = f"{param}.phase"
        raise Invalid(f"Unknown parameter: '{place}'.", param=place, code="unknown_parameter")
    if memoryview(content)[0] == _QUOTE:
        if role == "assistant":
            part = {
                "type": "output_text",
                "annotations": _empty,
                "logprobs": _empty,
                "text": content,
            }
        else:
            part = {"type": "input_text", "text": content}
        fields["content"] = msgspec.Raw(_encode([part]))
