from typing import get_args

from openai.types.responses import ResponseStreamEvent

from schemas.http import event_types

SDK = {
    get_args(kind.model_fields["type"].annotation)[0]: kind
    for kind in get_args(ResponseStreamEvent.__origin__)
}
"""The SDK's class of every event it knows."""


def test_the_types_are_those_of_the_sdk():
    ours = [
        *event_types.TYPES,
        *event_types.BEGINNINGS,
        *event_types.TERMINAL,
        event_types.ERROR,
    ]
    assert sorted(ours) == sorted(SDK)
    assert len(ours) == 59


def test_their_fields_are_those_the_sdk_demands():
    for name, kind in event_types.TYPES.items():
        demanded = {key for key, field in SDK[name].model_fields.items() if field.is_required()}
        optional = {"annotation"} & SDK[name].model_fields.keys()
        assert set(kind.fields) == (demanded | optional) - {"type", "sequence_number"}, name


def test_what_adds_to_an_item_is_among_the_fields():
    for name, kind in event_types.TYPES.items():
        assert {kind.place, kind.piece} - {None} <= set(kind.fields), name
