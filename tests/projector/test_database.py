import os
import random
import threading
from collections.abc import Sequence

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from schemas import envelope
from services.conversation.history import Turn
from services.conversation.state import Conversation
from services.projector.database import (
    CheckpointMoved,
    CommitUnreadable,
    Database,
    Frozen,
)
from services.projector.settings import ProjectorSettings
from tests.builders import added, completed, created, message, requested, said
from tests.projector.builders import (
    KINDS,
    NAME,
    Action,
    Log,
    applied,
    contents,
    opened,
    played,
    rows,
)
from tests.projector.serving import until

ACTIONS = st.lists(
    st.builds(Action, st.integers(0, 2), st.integers(0, KINDS - 1), st.integers(0, 5)),
    min_size=1,
    max_size=60,
)
HISTORIES = settings(
    max_examples=int(os.environ.get("TURNLOG_TEST_HISTORIES", "15")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def story() -> Log:
    log = Log()
    log.commit("c1", created(), added(message("m1")))
    log.commit("c1", requested("r1", message("m2")))
    log.commit("c1", completed("r1", said("s1")))
    return log


def in_slices(database: Database, messages: Sequence[object], cuts: random.Random) -> Database:
    """Deliver in batches of any size, some twice, and close and open the file now and then."""
    position = 0
    while position < len(messages):
        size = cuts.randint(1, 8)
        again = cuts.randint(0, min(position, 5))
        database.apply(messages[position - again : position + size], log=NAME)
        if cuts.random() < 0.2:
            database.close()
            database = opened(database.path.parent)
        position += size
    return database


@HISTORIES
@given(actions=ACTIONS, cuts=st.randoms(use_true_random=False))
# An item and the summary made of it leave in one commit: two deletions at one time.
@example(actions=[Action(0, 0, 0), Action(0, 9, 1), Action(0, 7, 0)], cuts=random.Random(0))
def test_however_a_log_is_delivered_the_views_are_the_same(tmp_path_factory, actions, cuts):
    log = played(actions)
    directory = tmp_path_factory.mktemp("views")
    once = opened(directory / "once")
    sliced = in_slices(opened(directory / "sliced"), log.messages, cuts)
    try:
        applied(once, log.messages)
        assert contents(sliced) == contents(once)
        again = contents(once)
        applied(once, log.messages)
        assert contents(once) == again
        agree_with_folds(once, log)
    finally:
        once.close()
        sliced.close()


def agree_with_folds(database: Database, log: Log) -> None:
    """Every view says what the rules know."""
    for (project, conversation_id), state in log.states.items():
        own = f"WHERE project = '{project}' AND conversation_id = '{conversation_id}'"
        line = [
            (position, item.id, item.tokens, bytes(item.raw).decode(), position in state.removed)
            for position, item in enumerate(state.line.upwards(0))
        ]
        shown = "position, item_id, tokens, item, deleted_at IS NOT NULL"
        assert line == rows(
            database,
            f"SELECT {shown} FROM items {own} AND position IS NOT NULL ORDER BY position",
        )
        shown = "items, turns, tokens, hidden, deleted_at IS NOT NULL, metadata ->> 'n'"
        turns: list[Turn] = [*state.turns.upwards(0), *state.running]
        assert rows(database, f"SELECT {shown} FROM conversations {own}") == [
            (
                len(state.line) - len(state.removed),
                len(turns),
                state.tokens,
                state.hidden,
                state.deleted,
                state.metadata.get("n"),
            )
        ]
        shown = "response_id, status, attempts, parent_response_id, on_line, deleted_at IS NOT NULL"
        assert rows(database, f"SELECT {shown} FROM turns {own} ORDER BY response_id") == sorted(
            (
                turn.id,
                turn.status,
                turn.attempt,
                turn.parent,
                turn.on_line,
                turn.id in state.responses_deleted,
            )
            for turn in turns
        )
        agree_on_compactions_and_calls(database, own, state)
    assert rows(database, "SELECT sequence, number, type FROM events ORDER BY ALL") == [
        (each.sequence, number, stored.type)
        for each in log.messages
        for number, stored in enumerate(envelope.decode(each.payload).events)
    ]


def agree_on_compactions_and_calls(database: Database, own: str, state: Conversation) -> None:
    standing = {each.item.id for each in state.compactions} | {
        turn.compaction.item_id for turn in state.turns.upwards(0) if turn.compaction
    }
    found = rows(database, f"SELECT item_id FROM compactions {own} AND reverted_at IS NULL")
    assert {item_id for (item_id,) in found} >= standing
    on_line = "response_id IS NULL AND reverted_at IS NULL ORDER BY sequence"
    assert rows(database, f"SELECT item_id, covered FROM compactions {own} AND {on_line}") == [
        (each.item.id, each.covered)
        for each in state.compactions
        if each.item.id not in {row[0] for row in _in_turns(database, own)}
    ]
    calls = [
        (position, item.call_id, position in state.removed)
        for position, item in enumerate(state.line.upwards(0))
        if item.type == "function_call"
    ]
    shown = "position, call_id, deleted_at IS NOT NULL"
    assert calls == rows(
        database,
        f"SELECT {shown} FROM tool_calls {own} AND position IS NOT NULL ORDER BY position",
    )


def _in_turns(database: Database, own: str) -> list[tuple[object, ...]]:
    return rows(database, f"SELECT item_id FROM compactions {own} AND response_id IS NOT NULL")


def test_a_rebuild_equals_the_views_it_replaces(open_database):
    log = story()
    database = open_database("views")
    applied(database, log.messages, size=1)
    before = contents(database)

    database.reset()
    assert database.sequence == 0
    assert contents(database)["conversations"].startswith("0:")

    applied(database, log.messages)
    assert contents(database) == before


def test_a_turn_that_runs_while_the_file_is_closed_keeps_its_input(tmp_path):
    log = story()
    database = opened(tmp_path)
    applied(database, log.messages[:2])
    database.close()
    database = opened(tmp_path)
    applied(database, log.messages[2:])

    assert [row[0] for row in rows(database, "SELECT item_id FROM items ORDER BY position")] == [
        "m1",
        "m2",
        "s1",
    ]
    database.close()


@pytest.mark.parametrize("release", ["ours", "another"])
def test_views_are_let_go_of_while_a_statement_still_reads_them(tmp_path, release):
    database = opened(tmp_path / "views")
    applied(database, story().messages)
    views: Database | Frozen = database
    if release == "another":
        database.close()
        views = Frozen(database.path, ProjectorSettings(data_dir=str(tmp_path / "views")))
    cursor = views.cursor()
    told: list[object] = []

    def read() -> None:
        told.extend(cursor.execute("SELECT sleep_ms(1000), count(*) FROM items").fetchall())

    def reads() -> bool:
        try:
            cursor.fetchone()
        except duckdb.Error as error:
            return "busy" in str(error)
        return False

    reading = threading.Thread(target=read)
    reading.start()
    until(reads)
    views.close()
    reading.join()
    assert [count for _, count in told] == [3]
    cursor.close()
    again = opened(tmp_path / "views")
    assert again.sequence == len(story().messages)
    again.close()


def test_a_batch_is_refused_once_the_stored_sequence_has_moved(open_database):
    log = story()
    database = open_database()
    applied(database, log.messages[:1])
    cursor = database.cursor()
    cursor.execute("UPDATE projection SET sequence = 7")
    cursor.close()

    with pytest.raises(CheckpointMoved):
        applied(database, log.messages[1:])
    assert rows(database, "SELECT count(*) FROM turns") == [(0,)]


def test_a_batch_of_another_log_is_refused(open_database):
    log = story()
    database = open_database()
    applied(database, log.messages[:1])

    with pytest.raises(CheckpointMoved):
        database.apply(log.messages[1:], log="another log")


@pytest.mark.parametrize(
    ("payload", "headers"),
    [
        (b"no json", {envelope.OUTLINE_HEADER: "{}"}),
        (b"{}", {envelope.OUTLINE_HEADER: "{}"}),
        (None, {}),
        (None, {envelope.OUTLINE_HEADER: "nonsense"}),
    ],
    ids=["not JSON", "not a commit", "no outline", "not an outline"],
)
def test_an_unreadable_commit_stops_after_everything_before_it(open_database, payload, headers):
    log = story()
    readable = len(log.messages)
    log.store(payload or log.messages[0].payload, headers)
    log.commit("c2", created())
    database = open_database()

    with pytest.raises(CommitUnreadable) as caught:
        applied(database, log.messages)
    assert caught.value.sequence == readable + 1
    assert database.sequence == readable
    assert rows(database, "SELECT count(*) FROM turns") == [(1,)]


@pytest.mark.parametrize(
    "change",
    [
        ('"turn_completed","version":3', '"turn_completed","version":99'),
        ('"turn_completed"', '"turn_dreamt"'),
        ('"total_tokens":0', '"total_tokens":"many"'),
        ('"tokens":[1]', '"tokens":[1,2]'),
    ],
    ids=["a version from the future", "an unknown event", "usage that is none", "tokens too many"],
)
def test_an_event_that_cannot_be_projected_stops_too(open_database, change):
    log = story()
    completion = log.messages.pop()
    payload = completion.payload.decode().replace(*change).encode()
    assert payload != completion.payload
    log.messages.append(completion._replace(payload=payload))
    database = open_database()

    with pytest.raises(CommitUnreadable) as caught:
        applied(database, log.messages)
    assert caught.value.sequence == 3
    assert database.sequence == 2


def test_no_one_else_can_change_what_the_file_may_do(open_database):
    cursor = open_database().cursor()
    with pytest.raises(duckdb.InvalidInputException):
        cursor.execute("SET enable_external_access = true")
    cursor.close()
