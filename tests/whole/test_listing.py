"""``GET /v1/turnlog/conversations`` on real processes."""

import time

import pytest

from tests.whole.running import MODEL, Running, message

PATH = "/v1/turnlog/conversations"


@pytest.fixture
def http(shared: Running):
    with shared.http() as client:
        yield client


def test_what_was_just_written_is_found_page_by_page(shared: Running, http):
    begun = int(time.time())
    with shared.client() as client:
        made = [
            client.conversations.create(metadata={"test": "listing", "number": str(number)})
            for number in range(5)
        ]
        client.conversations.delete(made.pop(2).id)
        client.conversations.items.create(made[0].id, items=[message("Quite a NEEDLE")])
        client.responses.create(model=MODEL, input="[[anything]]", conversation=made[1].id)
    after = {"Turnlog-After-Sequence": str(shared.last_sequence())}

    def page(**query: object) -> dict:
        asked = {"metadata.test": "listing", "created_after": begun, **query}
        answer = http.get(PATH, params=asked, headers=after)
        assert answer.status_code == 200, answer.text
        told: dict = answer.json()
        assert int(answer.headers["Turnlog-Sequence"]) >= int(after["Turnlog-After-Sequence"])
        return told

    ids = [one.id for one in made]
    first = page(limit=3, order="asc")
    assert ([one["id"] for one in first["data"]], first["has_more"]) == (ids[:3], True)
    assert (first["object"], first["first_id"], first["last_id"]) == ("list", ids[0], ids[2])
    rest = page(limit=3, order="asc", after=first["last_id"])
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (ids[3:], False)
    assert [one["id"] for one in page()["data"]] == ids[::-1]
    (one,) = page(text="needle")["data"]
    assert one == {
        "id": ids[0],
        "object": "conversation",
        "created_at": made[0].created_at,
        "metadata": {"test": "listing", "number": "0"},
        "updated_at": one["updated_at"],
        "items": 1,
        "turns": 0,
        "tokens": one["tokens"],
    }
    assert [one["id"] for one in page(model=MODEL)["data"]] == [ids[1]]
    assert [one["id"] for one in page(**{"metadata.number": "3"})["data"]] == [ids[2]]
    assert page(text="nobody has said this")["data"] == []


@pytest.mark.parametrize(
    ("query", "status", "param", "code"),
    [
        ({"limit": "0"}, 400, "limit", "integer_below_min_value"),
        ({"order": "up"}, 400, "order", "invalid_value"),
        ({"created_after": "yesterday"}, 400, "created_after", "invalid_value"),
        ({"updated_before": "2026-13-01"}, 400, "updated_before", "invalid_value"),
        ({"tokens_min": "x"}, 400, "tokens_min", "invalid_type"),
        ({"text": "x" * 1001}, 400, "text", "string_above_max_length"),
        ({"metadta.topic": "x"}, 400, "metadta.topic", "unknown_parameter"),
        ({"after": "conv_0"}, 404, "after", None),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_query_is_checked(http, query, status, param, code):
    answer = http.get(PATH, params=query)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == (param, code)
