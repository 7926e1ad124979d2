"""Content that is legal and odd, or legal and nearly too much: every process must live with it."""

import json

import httpx2

from tests.whole.running import (
    MODEL,
    Running,
    another_gateway,
    listed,
    message,
    output_of,
    standing,
    together,
    until,
)

NUL = "a\u0000b"
DEPTHS = (10, *range(40, 160, 4), *range(200, 1_000, 50))
"""Around the depth at which bodies are refused, and that at which Python stops reading JSON."""


def views_are_alive(running: Running) -> bool:
    """Whether the projector has read the whole log."""
    answer = running.ask_sql("SELECT count(*) FROM items")
    assert answer.error is None, answer.error
    return running.health()[0] == 200


def agreed(running: Running, http: httpx2.Client, conversation_id: str) -> list[bytes]:
    """Items of a conversation, the same in HTTP, log and views."""
    from_log = standing(running.fold(conversation_id))
    rows = running.sql(
        f"SELECT item FROM items WHERE conversation_id = '{conversation_id}' ORDER BY position"
    )
    assert listed(http, conversation_id) == from_log
    assert [row[0].encode() for row in rows] == from_log
    return from_log


def test_nul_characters_are_kept_everywhere(wounded: Running):
    call = {"type": "function_call", "call_id": NUL, "name": NUL, "arguments": NUL}
    with wounded.client() as client, wounded.http() as http:
        conversation = client.conversations.create(
            metadata={NUL: NUL}, items=[message(NUL), call, output_of(NUL, NUL)]
        )
        response = client.responses.create(
            model=MODEL, input=NUL, conversation=conversation.id, metadata={NUL: NUL}, user=NUL
        )
        agreed(wounded, http, conversation.id)

    assert response.metadata == {NUL: NUL}
    assert views_are_alive(wounded)


def test_huge_numbers_and_repeated_keys_are_kept_as_written(wounded: Running):
    item = b'{"role":"user","content":"x","big":1%b,"small":-1e-400,"x":1,"x":2}' % (b"0" * 300)
    with wounded.client() as client, wounded.http() as http:
        conversation = client.conversations.create()
        path = f"/v1/conversations/{conversation.id}/items"
        assert http.post(path, content=b'{"items":[%b]}' % item).status_code == 200
        (kept,) = agreed(wounded, http, conversation.id)

    assert b'"big":1' + b"0" * 300 + b"," in kept
    assert views_are_alive(wounded)


def test_a_body_just_below_the_limit_is_taken_whole(wounded: Running):
    large = "ünd " * (1200 * 1024)
    with wounded.client() as client, wounded.http() as http:
        conversation = client.conversations.create()
        client.conversations.items.create(conversation.id, items=[message(large)])
        (kept,) = agreed(wounded, http, conversation.id)
        response = client.responses.create(
            model=MODEL, input=[message("[[say short]]")], conversation=conversation.id
        )

    assert json.loads(kept)["content"][0]["text"] == large
    assert response.output_text == "short"
    assert views_are_alive(wounded)


def test_an_item_of_one_huge_word_is_taken(wounded: Running):
    # As a picture in base64 is.
    picture = {"type": "input_image", "image_url": "data:image/png;base64," + "QUJD" * 600_000}
    with wounded.client() as client, wounded.http() as http:
        conversation = client.conversations.create()
        client.conversations.items.create(
            conversation.id,
            items=[{"role": "user", "content": [picture]}, message("x" * 2_000_000)],
        )
        assert len(agreed(wounded, http, conversation.id)) == 2


def test_a_listing_larger_than_a_message_is_answered(wounded: Running):
    with wounded.client() as client, wounded.http() as http:
        conversation = client.conversations.create()
        for _ in range(3):
            client.conversations.items.create(conversation.id, items=[message("x " * 2_000_000)])

        assert len(listed(http, conversation.id)) == 3
        response = client.responses.create(
            model=MODEL, input="[[say all of it]]", conversation=conversation.id
        )
        assert response.output_text == "all of it"


def test_a_turn_of_one_huge_word_ends(wounded: Running):
    with wounded.http(timeout=60) as http:
        answer = http.post("/v1/responses", json={"model": MODEL, "input": "x" * 4_000_000})

    assert answer.status_code in {200, 400, 413}
    assert until(lambda: wounded.turns_waiting() == 0)


def test_a_turn_as_deep_as_is_accepted_ends(wounded: Running):
    def turn(depth: int) -> int:
        schema = "[" * depth + "]" * depth
        body = (
            f'{{"model":"{MODEL}","input":"x","tools":[{{"type":"function","name":"f",'
            f'"parameters":{{"x":{schema}}}}}]}}'
        )
        with wounded.http(timeout=60) as http:
            return http.post("/v1/responses", content=body).status_code

    found = set(together(turn, DEPTHS[::6], workers=4))

    assert found == {200, 400}
    assert until(lambda: wounded.turns_waiting() == 0)
    assert views_are_alive(wounded)


def test_an_item_as_deep_as_is_accepted_can_be_read_by_every_process(wounded: Running):
    # Last in the file: what it plants stays in the log.
    statuses = {}
    paths = {}
    with wounded.client() as client, wounded.http() as http:
        for depth in DEPTHS:
            conversation = client.conversations.create()
            nested = "[" * depth + "]" * depth
            body = f'{{"items":[{{"role":"user","content":"x","deep":{nested}}}]}}'
            paths[depth] = f"/v1/conversations/{conversation.id}/items"
            statuses[depth] = http.post(paths[depth], content=body).status_code
    with another_gateway(wounded) as cold, wounded.http(cold) as http:
        unreadable = {
            depth: answer.status_code
            for depth, path in paths.items()
            if (answer := http.get(path)).status_code != 200
        }

    assert unreadable == {}
    assert views_are_alive(wounded)
    assert set(statuses.values()) == {200, 400}
