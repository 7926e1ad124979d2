import json

import msgspec

from tests.whole.running import MODEL, Running, listed, message


class Sent(msgspec.Struct):
    """A request the model was sent, its input raw."""

    input: list[msgspec.Raw]


def test_a_listing_after_a_write_is_never_stale_at_any_gateway(
    shared: Running, second_gateway: str
):
    with shared.client() as client:
        conversation = client.conversations.create()
    path = f"/v1/conversations/{conversation.id}/items"
    stale = []

    with shared.http() as first, shared.http(second_gateway) as second:
        for number in range(1_000):
            body = json.dumps({"items": [message(f"number {number}")]})
            written, other = (first, second) if number % 2 else (second, first)
            created = written.post(path, content=body)
            assert created.status_code == 200
            for reader in (written, other):
                newest = reader.get(path, params={"limit": "1"})
                if newest.json()["data"] != created.json()["data"]:
                    stale.append((number, reader.base_url))
                assert newest.headers["Turnlog-Sequence"] == created.headers["Turnlog-Sequence"]
        assert stale == []
        assert len(listed(second, conversation.id)) == 1_000


def test_the_next_turn_sends_what_is_stored_byte_for_byte(shared: Running):
    odd = 'first \\ "quoted" \u2028 ünï 👩‍👩‍👧 \x01 \t </script> '
    with shared.client() as client, shared.http() as http:
        conversation = client.conversations.create(items=[message("seed", "developer")])
        path = "/v1/responses"
        # Spaces, an escaped letter and unknown fields: what clients write is what is kept.
        text = json.dumps(odd + "marker-bytes \u00fc")
        body = (
            f'{{ "model": "{MODEL}", "conversation": "{conversation.id}", "input": [ {{"role":'
            f'"user", "x_extra": [ 1.50 ], "content": [ {{"type":"input_text", "text": {text} }} ]'
            "} ] }"
        )
        assert http.post(path, content=body).status_code == 200
        stored = listed(http, conversation.id)
        client.responses.create(model=MODEL, input="second-bytes", conversation=conversation.id)
        after = listed(http, conversation.id)

    first, second = shared.received_with("marker-bytes")
    sent = [bytes(raw) for raw in msgspec.json.decode(second, type=Sent).input]
    assert b'{"type":"input_text", "text": ' in stored[1]
    assert b'"x_extra":[ 1.50 ]' in stored[1]
    assert sent[:-1] == stored
    assert sent == after[:-1]
    assert [bytes(raw) for raw in msgspec.json.decode(first, type=Sent).input] == stored[:2]
