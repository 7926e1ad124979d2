import json

import pytest

from schemas import events as e
from services.conversation import commands as c
from services.conversation.refusals import (
    ConversationUnknown,
    DuplicateItem,
    ItemUnknown,
    ResponseInFlight,
    ResponseUnknown,
)
from tests.builders import (
    CONVERSATION_ID,
    added,
    completed,
    created,
    failed,
    listed,
    message,
    request,
    requested,
    said,
)
from tests.specification import given

EDITS = [
    c.UpdateConversation(metadata={"a": "b"}),
    c.DeleteConversation(),
    c.AddItems(items=(message("msg_9"),)),
    c.DeleteItem(item_id="msg_1"),
]


def test_a_conversation_is_created_with_its_metadata():
    given().when(c.CreateConversation(metadata={"topic": "cats"})).then(created(topic="cats"))


def test_a_conversation_created_with_items_has_them_in_the_same_commit():
    items = (message("msg_1"), said("msg_2"))
    given().when(c.CreateConversation(items=items)).then(created(), added(*items))


def test_creating_a_conversation_again_grants_nothing():
    given(created(topic="cats")).when(c.CreateConversation(metadata={"topic": "cats"})).then()


def test_a_conversation_cannot_be_created_with_one_item_twice():
    command = c.CreateConversation(items=(message("msg_1"), message("msg_1")))
    given().when(command).refuses(DuplicateItem)


@pytest.mark.parametrize("command", EDITS, ids=lambda command: type(command).__name__)
@pytest.mark.parametrize(
    "history",
    [
        (),
        (created(hidden=True), added(message("msg_1"))),
        (created(), added(message("msg_1")), e.ConversationDeleted()),
    ],
    ids=["never_created", "hidden", "deleted"],
)
def test_what_clients_cannot_see_they_cannot_edit(history, command):
    refused = given(*history).when(command).refuses(ConversationUnknown)
    assert (refused.status, json.loads(refused.body())) == (
        404,
        {
            "error": {
                "message": f"Conversation with id '{CONVERSATION_ID}' not found.",
                "type": "invalid_request_error",
                "param": None,
                "code": None,
            }
        },
    )


def test_metadata_is_replaced_as_a_whole():
    done = (
        given(created(a="1", b="2"))
        .when(c.UpdateConversation(metadata={"b": "3"}))
        .then(e.ConversationUpdated(metadata={"b": "3"}))
    )
    assert done.state.metadata == {"b": "3"}


def test_an_update_that_changes_nothing_grants_nothing():
    given(created(a="1")).when(c.UpdateConversation(metadata={"a": "1"})).then()


def test_a_conversation_is_deleted_once():
    deleted = given(created()).when(c.DeleteConversation()).then(e.ConversationDeleted())
    deleted.when(c.DeleteConversation()).refuses(ConversationUnknown)


def test_items_are_added_in_their_order():
    items = (message("msg_2"), message("msg_1"))
    done = given(created()).when(c.AddItems(items=items)).then(added(*items))
    assert listed(done.state) == ["msg_2", "msg_1"]


def test_adding_no_items_grants_nothing():
    given(created()).when(c.AddItems(items=())).then()


def test_an_item_id_is_on_the_line_once():
    history = given(created(), added(message("msg_1")))
    refused = history.when(c.AddItems(items=(message("msg_1", "other"),))).refuses(DuplicateItem)
    assert (refused.status, refused.param, refused.code, refused.message) == (
        400,
        "input",
        None,
        "Duplicate item found with id msg_1. Remove duplicate items from your input and try again.",
    )


def test_one_call_cannot_add_an_item_twice():
    command = c.AddItems(items=(message("msg_1"), message("msg_2"), message("msg_1")))
    given(created()).when(command).refuses(DuplicateItem)


def test_an_item_id_is_free_again_once_its_item_was_deleted():
    history = given(created(), added(message("msg_1")), e.ItemDeleted(item_id="msg_1"))
    done = history.when(c.AddItems(items=(message("msg_1", "new"),))).then(
        added(message("msg_1", "new"))
    )
    assert listed(done.state) == ["msg_1"]
    assert done.state.window() == (message("msg_1", "new"),)


def test_an_item_added_again_can_be_deleted_again():
    history = given(
        created(),
        added(message("msg_1")),
        e.ItemDeleted(item_id="msg_1"),
        added(message("msg_1", "new")),
    )
    done = history.when(c.DeleteItem(item_id="msg_1")).then(e.ItemDeleted(item_id="msg_1"))
    assert listed(done.state) == []


def test_an_item_is_deleted_once():
    history = given(created(), added(message("msg_1"), message("msg_2")))
    done = history.when(c.DeleteItem(item_id="msg_1")).then(e.ItemDeleted(item_id="msg_1"))
    assert listed(done.state) == ["msg_2"]
    refused = done.when(c.DeleteItem(item_id="msg_1")).refuses(ItemUnknown)
    assert (refused.status, refused.param, refused.code, refused.message) == (
        404,
        None,
        None,
        "Item with id 'msg_1' not found in conversation.",
    )


def test_an_item_of_a_running_turn_cannot_be_deleted_yet():
    history = given(created(), requested("resp_1", message("msg_1")))
    history.when(c.DeleteItem(item_id="msg_1")).refuses(ItemUnknown)


def test_items_may_be_added_and_deleted_while_a_turn_runs():
    history = given(created(), added(message("msg_1")), requested("resp_1", message("msg_2")))
    history.when(c.AddItems(items=(message("msg_3"),))).then(added(message("msg_3")))
    history.when(c.DeleteItem(item_id="msg_1")).then(e.ItemDeleted(item_id="msg_1"))


def test_an_item_id_that_a_running_turn_will_put_on_the_line_cannot_be_added_beside_it():
    history = given(created(), requested("resp_1", message("msg_1")))
    history.when(c.AddItems(items=(message("msg_1"),))).refuses(DuplicateItem)


def test_a_response_is_deleted_once_and_its_items_stay():
    history = given(
        created(), requested("resp_1", message("msg_1")), completed("resp_1", said("msg_2"))
    )
    done = history.when(c.DeleteResponse(response_id="resp_1")).then(
        e.ResponseDeleted(response_id="resp_1")
    )
    assert listed(done.state) == ["msg_1", "msg_2"]
    refused = done.when(c.DeleteResponse(response_id="resp_1")).refuses(ResponseUnknown)
    assert (refused.status, refused.param, refused.code, refused.message) == (
        404,
        None,
        None,
        "Response with id 'resp_1' not found.",
    )


def test_a_failed_response_can_be_deleted():
    history = given(created(), requested("resp_1", message("msg_1")), failed("resp_1"))
    history.when(c.DeleteResponse(response_id="resp_1")).then(
        e.ResponseDeleted(response_id="resp_1")
    )


def test_a_running_response_cannot_be_deleted():
    history = given(created(), requested("resp_1", message("msg_1")))
    refused = history.when(c.DeleteResponse(response_id="resp_1")).refuses(ResponseInFlight)
    assert (refused.status, refused.param, refused.code, refused.message) == (
        400,
        None,
        None,
        "Cannot delete an in-flight response.",
    )


def test_a_response_that_was_not_to_be_stored_cannot_be_deleted():
    history = given(
        created(), requested("resp_1", message("msg_1"), store=False), completed("resp_1")
    )
    history.when(c.DeleteResponse(response_id="resp_1")).refuses(ResponseUnknown)


def test_a_deleted_conversation_takes_no_turn():
    history = given(created(), e.ConversationDeleted())
    history.when(request("resp_1", message("msg_1"))).refuses(ConversationUnknown)
