"""Items: from what clients send to what is stored, adding only what the contract adds.

Content is carried through as the client's own bytes. What is added: ``id``, ``type`` and
``status`` where absent, parts around a string content, and the two lists every ``output_text``
part must have (contract 2, trap 11).
"""

from collections.abc import Callable, Iterable

import msgspec

from schemas.http import checks
from schemas.http.checks import Fields
from schemas.http.errors import Invalid, NotFound

Mint = Callable[[str], str]
"""Prefix to fresh id."""
Accept = Callable[[str, str], None]
"""Raises `Invalid` for ``encrypted_content`` this server did not write, in an item of that id."""

ROLES = ("assistant", "system", "developer", "user")


class ItemType(msgspec.Struct, frozen=True):
    """How one type is stored: id prefix, key order, fields a client must send, own status."""

    prefix: str
    order: tuple[str, ...]
    required: tuple[str, ...]
    status: bool = True


TYPES: dict[str, ItemType] = {
    "message": ItemType(
        "msg", ("id", "type", "status", "content", "phase", "role"), ("role", "content")
    ),
    "function_call": ItemType(
        "fc",
        ("id", "type", "status", "arguments", "call_id", "name"),
        ("call_id", "name", "arguments"),
    ),
    "function_call_output": ItemType(
        "fc", ("id", "type", "status", "output", "call_id"), ("call_id", "output")
    ),
    "reasoning": ItemType("rs", ("id", "type", "summary"), ("summary",), status=False),
    "compaction": ItemType(
        "cmp", ("id", "type", "encrypted_content"), ("encrypted_content",), status=False
    ),
}
"""Every item type this server stores."""


class Head(msgspec.Struct, frozen=True):
    """The fields of a stored item that rules ask for."""

    type: str
    id: str = ""
    call_id: str | None = None
    role: str | None = None
    name: str | None = None


_READ = ("call_id", "role", "name")
"""Fields of a `Head` that are strings wherever they stand."""

_fields = msgspec.json.Decoder(Fields).decode
_head = msgspec.json.Decoder(Head).decode
_encode = msgspec.json.Encoder().encode
_completed = msgspec.Raw(b'"completed"')
_empty = msgspec.Raw(b"[]")


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


def adopted(raw: msgspec.Raw, item_id: str) -> msgspec.Raw:
    """An item a model wrote, under an id of ours, with the ``status`` the contract wants."""
    fields = _fields(raw)
    shape = TYPES.get(head(raw).type)
    fields = {"id": msgspec.Raw(_encode(item_id)), **{k: v for k, v in fields.items() if k != "id"}}
    if shape is not None and shape.status and checks.is_null(fields.get("status")):
        fields["status"] = _completed
    return msgspec.Raw(_encode(fields))


def prefix_of(raw: msgspec.Raw) -> str:
    """The id prefix for an item a model wrote; of a type we do not know, the model's own."""
    known = head(raw)
    shape = TYPES.get(known.type)
    return shape.prefix if shape else known.id.partition("_")[0] or "item"


def from_text(value: msgspec.Raw, *, mint: Mint) -> msgspec.Raw:
    """The user message a plain string ``input`` stands for."""
    return stored({"role": msgspec.Raw(b'"user"'), "content": value}, "input", mint=mint)


def from_array(
    values: Iterable[msgspec.Raw], param: str, *, mint: Mint, accept: Accept
) -> tuple[msgspec.Raw, ...]:
    """Stored forms of the items in a request, in their order."""
    items: list[msgspec.Raw] = []
    for index, raw in enumerate(values):
        place = f"{param}[{index}]"
        given = checks.fields(raw, place)
        item = stored(given, place, mint=mint)
        if _type(given, place) == "compaction":
            accept(sealed(item), head(item).id)
        items.append(item)
    return tuple(items)


def stored(given: Fields, param: str, *, mint: Mint) -> msgspec.Raw:
    """The stored form of one item."""
    name = _type(given, param)
    shape = TYPES[name]
    for field in shape.required:
        if field not in given:
            raise checks.missing(f"{param}.{field}")
    for field in _READ:
        if not checks.is_null(given.get(field)):
            checks.text(given[field], f"{param}.{field}")
    fields = dict(given)
    fields["id"] = _id(given, shape, param, mint=mint)
    fields["type"] = msgspec.Raw(_encode(name))
    if shape.status and checks.is_null(fields.get("status")):
        fields["status"] = _completed
    match name:
        case "message":
            fields["content"] = _content(given, param)
        case "reasoning":
            checks.array(given["summary"], f"{param}.summary")
        case _:
            _check_strings(given, shape, param)
    ordered = {key: fields[key] for key in shape.order if key in fields}
    ordered.update(fields)
    return msgspec.Raw(_encode(ordered))


def _type(given: Fields, param: str) -> str:
    raw = given.get("type")
    if raw is None or checks.is_null(raw):
        # Easy messages leave their type out, and so do references (contract 2).
        name = "message" if "role" in given or "id" not in given else "item_reference"
    else:
        name = checks.text(raw, f"{param}.type")
    if name == "item_reference":
        raise _reference_unknown(given, param)
    return checks.one_of(name, tuple(TYPES), f"{param}.type")


def _reference_unknown(given: Fields, param: str) -> NotFound:
    if "id" not in given:
        raise checks.missing(f"{param}.id")
    wanted = checks.text(given["id"], f"{param}.id")
    return NotFound(
        f"Item with id '{wanted}' not found. Items are not persisted when `store` is set to "
        "false. Try again with `store` set to true, or remove this item from your input.",
        param="input",
    )


def _id(given: Fields, shape: ItemType, param: str, *, mint: Mint) -> msgspec.Raw:
    raw = given.get("id")
    if raw is None or checks.is_null(raw):
        return msgspec.Raw(_encode(mint(shape.prefix)))
    checks.named(checks.text(raw, f"{param}.id"), shape.prefix, f"{param}.id")
    return raw


def _check_strings(given: Fields, shape: ItemType, param: str) -> None:
    for field in shape.required:
        if field == "output" and checks.first_byte(given[field]) == b"[":
            _parts(given[field], f"{param}.{field}")
            continue
        checks.text(given[field], f"{param}.{field}")


def _content(given: Fields, param: str) -> msgspec.Raw:
    role = checks.one_of(checks.text(given["role"], f"{param}.role"), ROLES, f"{param}.role")
    raw, place = given["content"], f"{param}.content"
    if checks.first_byte(raw) == b'"':
        if role == "assistant":
            part = {"type": "output_text", "annotations": _empty, "logprobs": _empty, "text": raw}
        else:
            part = {"type": "input_text", "text": raw}
        return msgspec.Raw(_encode([part]))
    if checks.first_byte(raw) != b"[":
        raise Invalid(
            f"Invalid type for '{place}': expected one of an array of objects or a string, "
            f"but got {checks.kind(raw)} instead.",
            param=place,
            code="invalid_type",
        )
    return _parts(raw, place)


_PART_FIELDS = {
    "input_text": ("text",),
    "output_text": ("text",),
    "text": ("text",),
    "refusal": ("refusal",),
    "summary_text": ("text",),
    "reasoning_text": ("text",),
    "input_image": (),
    "input_file": (),
}


def _parts(raw: msgspec.Raw, param: str) -> msgspec.Raw:
    parts: list[msgspec.Raw] = []
    changed = False
    for index, part in enumerate(checks.array(raw, param)):
        place = f"{param}[{index}]"
        fields = checks.fields(part, place)
        if "type" not in fields:
            raise checks.missing(f"{place}.type")
        name = checks.one_of(
            checks.text(fields["type"], f"{place}.type"), tuple(_PART_FIELDS), f"{place}.type"
        )
        for field in _PART_FIELDS[name]:
            if field not in fields:
                raise checks.missing(f"{place}.{field}")
            checks.text(fields[field], f"{place}.{field}")
        lists = [f for f in ("annotations", "logprobs") if checks.is_null(fields.get(f))]
        if name == "output_text" and lists:
            fields.update(dict.fromkeys(lists, _empty))
            part, changed = msgspec.Raw(_encode(fields)), True  # noqa: PLW2901
        parts.append(part)
    return msgspec.Raw(_encode(parts)) if changed else raw
