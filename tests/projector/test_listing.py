"""Conversations that match, on the database alone."""

from datetime import timedelta

import msgspec
import pytest

from schemas import queries
from schemas.queries import Listing, ListingAnswer
from services.projector.listing import listed
from tests.builders import AT, added, call, completed, created, message, output, requested, said
from tests.projector.builders import Log, applied, opened

ALL = ["c5", "c4", "c3", "c2", "c1"]


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    log = Log()
    log.commit("c1", created(topic="tea", user="a"), added(message("m1", "Where is my ORDER?")))
    log.commit("c2", created(topic="tea", **{'we"ird.key': "x"}), added(message("m2", "50% off")))
    log.commit("c3", created(topic="milk", note="O'Neill"), added(call("l1"), output("l1")))
    log.commit("c4", created(), requested("r1", message("q1", "Grüße\n“quoted”")))
    log.commit("c4", completed("r1", said("a1", "An answer"), total=7))
    log.commit("c5", created(), added(message("m5", "Where is my order?"), message("m6", "Hm")))
    log.commit("hidden", created(hidden=True, topic="tea"))
    log.commit("c1", added(message("later", "more", tokens=90)))
    log.commit("c1", created(topic="tea"), project="other")
    database = opened(tmp_path_factory.mktemp("views"))
    applied(database, log.messages)
    cursor = database.cursor()
    cursor.execute("UPDATE items SET deleted_at = now() WHERE item_id = 'm5'")
    cursor.close()
    yield database
    database.close()


def asked(views, **fields: object) -> ListingAnswer:
    question = msgspec.convert({"project": "default", **fields}, Listing)
    return listed(views.cursor(), question)


def found(views, **fields: object) -> list[str]:
    return [one.conversation_id for one in asked(views, **fields).conversations]


def at(seconds: int) -> str:
    return (AT + timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize(
    ("fields", "ids"),
    [
        ({}, ALL),
        ({"newest_first": False}, ALL[::-1]),
        ({"project": "other"}, ["c1"]),
        ({"project": "nobody' OR 1=1 --"}, []),
        ({"metadata": {"topic": "tea"}}, ["c2", "c1"]),
        ({"metadata": {"topic": "tea", "user": "a"}}, ["c1"]),
        ({"metadata": {"topic": "te"}}, []),
        ({"metadata": {'we"ird.key': "x"}}, ["c2"]),
        ({"metadata": {"note": "O'Neill"}}, ["c3"]),
        ({"metadata": {"x' OR '1'='1": "' OR 1=1 --"}}, []),
        ({"created_after": at(1), "created_before": at(3)}, ["c3", "c2"]),
        ({"updated_after": at(5)}, ["c5", "c1"]),
        ({"updated_before": at(2)}, ["c2"]),
        ({"model": "model"}, []),
        ({"tokens_min": 90}, ["c1"]),
        ({"tokens_max": 1}, ["c2"]),
        ({"text": "order"}, ["c1"]),
        ({"text": "ORDER?"}, ["c1"]),
        ({"text": "50%"}, ["c2"]),
        ({"text": "50_"}, []),
        ({"text": "grüße\n“QUOTED”"}, ["c4"]),
        ({"text": "an answer"}, ["c4"]),
        ({"text": "input_text"}, []),
        ({"text": "message"}, []),
        ({"text": "' OR 1=1 --"}, []),
        ({"text": "order", "metadata": {"topic": "milk"}}, []),
    ],
)
def test_those_that_match_are_listed(views, fields, ids):
    assert found(views, **fields) == ids


def test_a_model_is_that_of_any_turn(views):
    cursor = views.cursor()
    ((model,),) = cursor.execute("SELECT model FROM turns").fetchall()
    cursor.close()
    assert found(views, model=model) == ["c4"]


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_join_without_gap_or_repetition(views, newest_first):
    pages, after = [], None
    while True:
        page = asked(views, limit=2, after=after, newest_first=newest_first)
        pages.append([one.conversation_id for one in page.conversations])
        if not page.has_more:
            break
        after = pages[-1][-1]
    wanted = ALL if newest_first else ALL[::-1]
    assert pages == [wanted[:2], wanted[2:4], wanted[4:]]


@pytest.mark.parametrize("after", ["nothing", "hidden"])
def test_a_page_cannot_begin_behind_what_the_project_has_not(views, after):
    assert asked(views, after=after).code == queries.UNKNOWN


def test_what_is_listed_says_how_much_it_holds(views):
    (one,) = asked(views, text="an answer").conversations
    assert (one.items, one.turns, one.created_at, one.updated_at) == (
        *(2, 1),
        *(AT + timedelta(seconds=3), AT + timedelta(seconds=4)),
    )
    assert bytes(one.metadata) == b"{}"
