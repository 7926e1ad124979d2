"""The shapes of items: as clients send them, and as they are stored and read back (contract 2)."""

from collections.abc import Iterable

from schemas import item_fields, shapes
from schemas.item_types import REFERENCE, TRIGGER, TYPES, ItemType
from schemas.shapes import Shape


def described() -> dict[str, Shape]:
    """Shapes by name of every item and content part, sent and stored."""
    parts = item_fields.MESSAGE_PARTS
    stored = {name: f"{shapes.name_of(name)}Item" for name in TYPES}
    sent = {name: f"{shapes.name_of(name)}ItemParam" for name in TYPES}
    sent |= {TRIGGER: "CompactionTriggerParam", REFERENCE: "ItemReferenceParam"}
    return {
        # Not told apart by their type, which messages and references may leave out.
        "InputItemParam": shapes.any_named(
            sent.values(),
            says="An item of the input of a response: any that may be kept, or a trigger.",
        ),
        "ItemParam": shapes.any_named(
            (each for name, each in sent.items() if name != TRIGGER),
            says="An item as it is sent; whatever a client was answered may be sent again.",
        ),
        "Item": shapes.union(
            stored,
            says="An item as it is kept. A model may write items of other types: kept as they are.",
        ),
        "ContentPart": shapes.union(
            {name: item_fields.part_name(name, stored=True) for name in parts}
        ),
        **{sent[name]: _sent(name, kind) for name, kind in TYPES.items()},
        sent[TRIGGER]: shapes.record(
            {"type": shapes.exactly(TRIGGER)},
            required=("type",),
            says="The last item of the input of a response: answer a compaction and nothing else.",
        ),
        sent[REFERENCE]: _reference(),
        **{stored[name]: _stored(name, kind) for name, kind in TYPES.items()},
        **{
            item_fields.part_name(name, stored=each): item_fields.part_shape(
                name, part, stored=each
            )
            for each in (False, True)
            for name, part in parts.items()
        },
    }


def _sent(name: str, kind: ItemType) -> Shape:
    shape = item_fields.record_shape(kind.group, stored=False)
    front = {"id": shapes.nullable(shapes.identifier(*kind.prefixes)), "type": shapes.exactly(name)}
    status = _status(kind, stored=False)
    required = ["type", *shape.get("required", ())]
    if kind.status_sent:
        required.append("status")
    else:
        status = {key: shapes.nullable(value) for key, value in status.items()}
    if name == "message":
        # Easy messages leave their type out.
        front["type"] = shapes.nullable(front["type"])
        required.remove("type")
    shape = _with(shape, {**front, **status}, required, kind)
    return {**shape, **_ONLY_OTHERS_HAVE_PHASES} if name == "message" else shape


_ONLY_OTHERS_HAVE_PHASES: Shape = {
    "if": {"properties": {"role": shapes.exactly("user")}},
    "then": {"properties": {"phase": shapes.NULL}},
}


def _stored(name: str, kind: ItemType) -> Shape:
    shape = item_fields.record_shape(kind.group, stored=True)
    status = _status(kind, stored=True)
    if not kind.status_stored:
        status = {key: shapes.nullable(value) for key, value in status.items()}
    fields = {"id": shapes.TEXT, "type": shapes.exactly(name), **status}
    required = ["id", "type", *shape.get("required", ()), *kind.added]
    if kind.status_stored:
        required.append("status")
    if name == "message":
        # A string was made a part of.
        fields["content"] = shapes.array(shapes.ref("ContentPart"))
    return _with(shape, fields, required, kind)


def _with(shape: Shape, fields: dict[str, Shape], required: Iterable[str], kind: ItemType) -> Shape:
    every = {**fields, **shape["properties"], **fields}
    ordered = {name: every[name] for name in kind.order if name in every}
    return shapes.record({**ordered, **every}, required=required)


def _status(kind: ItemType, *, stored: bool) -> dict[str, Shape]:
    if kind.status is None:
        return {}
    return {"status": item_fields.shape(kind.status, stored=stored)}


def _reference() -> Shape:
    shape = shapes.record(
        {"id": shapes.TEXT, "type": shapes.nullable(shapes.exactly(REFERENCE))},
        required=("id",),
        says="An item that is kept already, by its id.",
    )
    # With one of these it is a message that left its type out.
    return {**shape, "not": {"anyOf": [{"required": ["role"]}, {"required": ["content"]}]}}
