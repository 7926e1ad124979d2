import re
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from schemas import envelope
from schemas import events as e
from services.projector import view
from services.projector.views import VIEWS
from tests.builders import (
    AT,
    added,
    call,
    compacted,
    compaction_item,
    completed,
    created,
    failed,
    in_turn,
    message,
    output,
    raw,
    requested,
    said,
)
from tests.projector.builders import Log, applied, contents, rows

NAIVE = AT.replace(tzinfo=None)
ITEMS = """
SELECT position, item_id, origin, response_id, deleted_at FROM items
ORDER BY sequence, position, item_id
"""
"""In the order of joining; items of a chain by id."""


SUMMARY = "What was said."


def at(sequence):
    return NAIVE + timedelta(seconds=sequence - 1)


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def views(open_database):
    return open_database()


def test_a_created_conversation_has_a_row(log, views):
    log.commit("c1", created(topic="tea"), project="acme")
    applied(views, log.messages)

    assert rows(views, "FROM conversations") == [
        ("c1", "acme", False, at(1), at(1), None, '{"topic":"tea"}', 0, 0, 0, 1)
    ]


def test_updates_and_deletion_of_a_conversation_change_its_row(log, views):
    log.commit("c1", created(topic="tea"))
    log.commit("c1", e.ConversationUpdated(metadata={"topic": "coffee"}))
    log.commit("c1", e.ConversationDeleted())
    applied(views, log.messages, size=1)

    assert rows(views, "FROM conversations") == [
        ("c1", "default", False, at(1), at(3), at(3), '{"topic":"coffee"}', 0, 0, 0, 3)
    ]


def test_items_added_by_hand_have_contiguous_positions(log, views):
    log.commit("c1", created(), added(message("m1"), message("m2")))
    log.commit("c1", added(call("a"), output("a", tokens=7)))
    applied(views, log.messages)

    assert rows(
        views, "SELECT position, item_id, type, role, call_id, name, tokens FROM items"
    ) == [
        (0, "m1", "message", "user", None, None, 1),
        (1, "m2", "message", "user", None, None, 1),
        (2, "fc_a", "function_call", None, "a", "look", 1),
        (3, "fco_a", "function_call_output", None, "a", None, 7),
    ]
    assert rows(views, "SELECT DISTINCT response_id, origin, project, added_at FROM items") == [
        (None, "added", "default", at(1)),
        (None, "added", "default", at(2)),
    ]
    assert rows(views, "SELECT items, tokens, sequence FROM conversations") == [(4, 10, 2)]


def test_an_item_is_kept_byte_for_byte(log, views):
    odd = raw({"id": "m1", "type": "message", "n": 1.0, "text": "naïve \U0001f375  \\u0000 </s>"})
    log.commit("c1", created(), e.ItemsAdded(items=(odd,), tokens=(1,)))
    applied(views, log.messages)

    assert rows(views, "SELECT item FROM items") == [(bytes(odd).decode(),)]


def test_a_turns_items_appear_when_it_completes_input_first(log, views):
    log.commit("c1", created(), added(message("m1")))
    log.commit("c1", requested("r1", message("m2"), message("m3")))
    applied(views, log.messages)
    assert rows(views, "SELECT item_id FROM items") == [("m1",)]

    log.commit("c1", completed("r1", said("s1"), said("s2"), total=12))
    applied(views, log.messages)
    assert rows(views, ITEMS) == [
        (0, "m1", "added", None, None),
        (1, "m2", "input", "r1", None),
        (2, "m3", "input", "r1", None),
        (3, "s1", "output", "r1", None),
        (4, "s2", "output", "r1", None),
    ]
    assert rows(views, "SELECT items, turns, tokens FROM conversations") == [(5, 1, 12)]


def test_items_of_a_chain_have_no_position(log, views):
    log.commit("c1", created(hidden=True), requested("r1", message("m1"), on_line=False))
    log.commit("c1", completed("r1", said("s1")))
    applied(views, log.messages)

    assert rows(views, ITEMS) == [
        (None, "m1", "input", "r1", None),
        (None, "s1", "output", "r1", None),
    ]
    assert rows(views, "SELECT hidden, items, turns FROM conversations") == [(True, 0, 1)]


def test_nothing_of_a_failed_turn_joins(log, views):
    log.commit("c1", created(), requested("r1", message("m1")))
    log.commit("c1", failed("r1"), added(message("m2")))
    applied(views, log.messages)

    assert rows(views, ITEMS) == [(0, "m2", "added", None, None)]


def test_positions_are_right_when_one_commit_adds_twice(log, views):
    log.commit("c1", created(), requested("r1", message("m1")))
    log.commit(
        "c1",
        added(message("a1")),
        completed("r1", said("s1")),
        e.BudgetCrossed(tokens=3, budget=2),
        added(message("a2")),
    )
    applied(views, log.messages)

    assert rows(views, "SELECT position, item_id FROM items ORDER BY position") == [
        (0, "a1"),
        (1, "m1"),
        (2, "s1"),
        (3, "a2"),
    ]


def test_a_compaction_takes_a_position_and_its_reversal_deletes_it(log, views):
    log.commit("c1", created(), added(message("m1"), message("m2")))
    log.commit("c1", compacted(compaction_item("p1"), covered=1, before=2, after=1))
    log.commit("c1", added(message("m3")))
    log.commit("c1", e.CompactionReverted(item_id="p1"))
    applied(views, log.messages)

    assert rows(views, ITEMS) == [
        (0, "m1", "added", None, None),
        (1, "m2", "added", None, None),
        (2, "p1", "compaction", None, at(4)),
        (3, "m3", "added", None, None),
    ]
    assert rows(views, "SELECT items FROM conversations") == [(3,)]


@pytest.mark.parametrize("size", [1, 100])
def test_a_compaction_in_a_turn_is_an_item_of_its_output_until_it_is_reverted(log, views, size):
    log.commit("c1", created(), added(message("m1")), requested("r1", message("m2")))
    done = in_turn("p1", covered=1, before=2, after=2)
    log.commit("c1", completed("r1", compaction_item("p1"), said("s1"), compaction=done))
    applied(views, log.messages, size=size)
    standing = [
        (0, "m1", "added", None, None),
        (1, "m2", "input", "r1", None),
        (2, "p1", "output", "r1", None),
        (3, "s1", "output", "r1", None),
    ]
    assert rows(views, ITEMS) == standing
    assert rows(views, "SELECT items FROM conversations") == [(4,)]
    assert rows(views, "SELECT type FROM items WHERE item_id = 'p1'") == [("compaction",)]

    log.commit("c1", e.CompactionReverted(item_id="p1"))
    applied(views, log.messages, size=size)
    assert rows(views, ITEMS) == [(*row[:-1], at(3)) if row[1] == "p1" else row for row in standing]
    assert rows(views, "SELECT items, tokens FROM conversations") == [(3, 3)]


def test_a_summary_of_what_was_deleted_meanwhile_joins_and_leaves_in_one_commit(log, views):
    log.commit("c1", created(), added(message("m1")), requested("r1", message("m2")))
    log.commit("c1", e.ItemDeleted(item_id="m1"))
    done = in_turn("p1", covered=1, before=2, after=2)
    log.commit(
        "c1",
        completed("r1", compaction_item("p1"), said("s1"), compaction=done),
        e.CompactionReverted(item_id="p1"),
    )
    applied(views, log.messages)
    assert rows(views, ITEMS) == [
        (0, "m1", "added", None, at(2)),
        (1, "m2", "input", "r1", None),
        (2, "p1", "output", "r1", at(3)),
        (3, "s1", "output", "r1", None),
    ]
    assert rows(views, "SELECT items FROM conversations") == [(2,)]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_of_items_with_one_id_the_newest_of_that_time_is_deleted(log, views, size):
    log.commit("c1", created(), added(message("m1")))
    log.commit("c1", e.ItemDeleted(item_id="m1"))
    log.commit("c1", added(message("m1")))
    log.commit("c1", e.ItemDeleted(item_id="m1"))
    log.commit("c1", added(message("m1")))
    log.commit("c2", created(), added(message("m1")))
    log.commit("c1", created(), added(message("m1")), project="other")
    applied(views, log.messages, size=size)

    found = rows(
        views, "SELECT project, conversation_id, position, deleted_at FROM items ORDER BY ALL"
    )
    assert found == [
        ("default", "c1", 0, at(2)),
        ("default", "c1", 1, at(4)),
        ("default", "c1", 2, None),
        ("default", "c2", 0, None),
        ("other", "c1", 0, None),
    ]


@pytest.mark.parametrize("size", [1, 100])
def test_a_turn_has_one_row_from_its_request_to_its_end(log, views, size):
    log.commit("c1", created(), requested("r1", message("m1"), parent="r0", store=False))
    applied(views, log.messages, size=size)
    columns = "status, attempts, parent_response_id, on_line, stored, model, input_items, sequence"
    assert rows(views, f"SELECT {columns} FROM turns") == [
        ("in_progress", 1, "r0", True, False, "simulator", 1, 1)
    ]

    log.commit("c1", e.TurnStarted(response_id="r1", attempt=2, responder="other"))
    applied(views, log.messages, size=size)
    assert rows(views, f"SELECT {columns} FROM turns") == [
        ("in_progress", 2, "r0", True, False, "simulator", 1, 2)
    ]

    log.commit("c1", completed("r1", said("s1"), status="incomplete", total=5))
    applied(views, log.messages, size=size)
    assert rows(views, f"SELECT {columns} FROM turns") == [
        ("incomplete", 2, "r0", True, False, "simulator", 1, 3)
    ]
    assert rows(views, "SELECT requested_at, ended_at, duration_ms, reason FROM turns") == [
        (at(1), at(3), 2000, "max_output_tokens")
    ]
    assert rows(views, "SELECT output_items, total_tokens, error_code FROM turns") == [(1, 5, None)]
    assert rows(views, "FROM turns_running") == []


def test_a_failed_turn_says_why_and_counts_nothing(log, views):
    log.commit("c1", created(), requested("r1", message("m1")))
    log.commit("c1", failed("r1"))
    applied(views, log.messages)

    columns = "status, error_code, output_items, input_tokens, total_tokens"
    assert rows(views, f"SELECT {columns} FROM turns") == [
        ("failed", "server_error", 0, None, None)
    ]
    assert rows(views, "FROM token_usage") == []


def test_a_deleted_response_keeps_its_turn_and_its_items(log, views):
    log.commit("c1", created(), requested("r1", message("m1")))
    log.commit("c1", completed("r1", said("s1")))
    log.commit("c1", e.ResponseDeleted(response_id="r1"))
    applied(views, log.messages, size=2)

    assert rows(views, "SELECT deleted_at, sequence FROM turns") == [(at(3), 2)]
    assert rows(views, "SELECT count(*), count(deleted_at) FROM items") == [(2, 0)]


def test_usage_is_the_providers_own_count(log, views):
    log.commit("c1", created(), requested("r1", message("m1")))
    counted = e.TurnCompleted(
        response_id="r1",
        status="completed",
        items=(),
        tokens=(),
        usage=raw(
            {
                "input_tokens": 10,
                "input_tokens_details": {"cache_write_tokens": 2, "cached_tokens": 4},
                "output_tokens": 5,
                "output_tokens_details": {"reasoning_tokens": 3},
                "total_tokens": 15,
            }
        ),
        model="gpt",
    )
    log.commit("c1", counted)
    applied(views, log.messages)

    assert rows(views, "FROM token_usage") == [
        ("r1", "c1", "default", "gpt", at(2), 10, 4, 2, 5, 3, 15, 2)
    ]
    columns = "input_tokens, cached_tokens, output_tokens, reasoning_tokens, total_tokens, model"
    assert rows(views, f"SELECT {columns} FROM turns") == [(10, 4, 5, 3, 15, "gpt")]


@pytest.mark.parametrize("size", [1, 100])
def test_a_compaction_has_a_row_that_says_when_it_was_reverted(log, views, size):
    log.commit("c1", created(), added(message("m1"), message("m2"), message("m3")))
    log.commit("c1", compacted(compaction_item("p1"), covered=2, kept=("m1",), before=3, after=2))
    second_one = compacted(compaction_item("p2"), covered=3, before=2, after=1)
    how = {"method": "extract", "fallback": "timeout", "covered_from": 2}
    anchors = {"anchors_found": 7, "anchors_kept": 6}
    log.commit("c1", msgspec.structs.replace(second_one, **how, **anchors))
    applied(views, log.messages, size=size)
    first = (2, 0, 1, 3, 2, 0, 0, SUMMARY, at(2), None, 2)
    second = (3, 2, 0, 2, 1, 7, 6, SUMMARY, at(3), None, 3)
    assert rows(views, "FROM compactions ORDER BY sequence") == [
        ("p1", "c1", "default", None, "summary", None, *first),
        ("p2", "c1", "default", None, "extract", "timeout", *second),
    ]

    log.commit("c1", e.CompactionReverted(item_id="p1"))
    log.commit("c2", created(), e.CompactionReverted(item_id="p2"))
    applied(views, log.messages, size=size)
    shown = "item_id, reverted_at"
    assert rows(views, f"SELECT {shown} FROM compactions ORDER BY sequence") == [
        ("p1", at(4)),
        ("p2", None),
    ]


def test_a_compaction_in_a_turn_names_the_turn(log, views):
    log.commit("c1", created(), added(message("m1")), requested("r1", message("m2")))
    done = in_turn("p1", covered=1, before=2, after=2)
    log.commit("c1", completed("r1", compaction_item("p1"), said("s1"), compaction=done))
    log.commit("c1", completed("unknown", compaction_item("p2"), compaction=done))
    applied(views, log.messages)

    shown = "item_id, response_id, covered, tokens_before, tokens_after, made_at, sequence"
    assert rows(views, f"SELECT {shown} FROM compactions") == [("p1", "r1", 1, 2, 2, at(2), 2)]


def test_every_event_is_in_the_index(log, views):
    log.commit("c1", created(), requested("r1", message("m1")), project="acme")
    log.commit("c1", completed("r1", said("s1")), e.BudgetCrossed(tokens=3, budget=2))
    applied(views, log.messages)

    assert rows(views, "SELECT * EXCLUDE (version, bytes) FROM events ORDER BY ALL") == [
        (1, 0, "c1", "acme", "conversation_created", at(1), "test", None),
        (1, 1, "c1", "acme", "turn_requested", at(1), "test", "r1"),
        (2, 0, "c1", "default", "turn_completed", at(2), "test", "r1"),
        (2, 1, "c1", "default", "budget_crossed", at(2), "test", None),
    ]
    stored = [stored for each in log.messages for stored in envelope.decode(each.payload).events]
    assert rows(views, "SELECT type, version, bytes FROM events ORDER BY sequence, number") == [
        (each.type, each.version, len(each.data)) for each in stored
    ]


def test_an_end_without_a_request_changes_nothing_but_its_conversation(log, views):
    log.commit("c1", created())
    before = contents(log_views := views)
    log.commit("c1", completed("unknown", said("s1")), failed("unknown"))
    applied(log_views, log.messages)

    after = contents(views)
    assert {name for name in after if after[name] != before[name]} == {
        *("conversations", "events", "sequence")
    }


def test_every_view_has_its_statements():
    for each in VIEWS:
        assert {view.TABLES, *each.INCOMING} <= set(view.statements(each))


def test_every_column_has_a_comment(views):
    text = "".join(view.statements(each)[view.TABLES] for each in VIEWS)
    found = rows(views, "SELECT DISTINCT column_name FROM duckdb_columns() WHERE NOT internal")
    for (column,) in found:
        if column not in {"log", "versions"}:
            assert re.search(rf"(^    |AS ){column}\b.* -- \w", text, re.MULTILINE), column


def test_every_view_is_in_the_registry():
    folder = Path(str(VIEWS[0].__file__)).parent
    assert {path.stem for path in folder.glob("*.sql")} == {view.name(each) for each in VIEWS}
