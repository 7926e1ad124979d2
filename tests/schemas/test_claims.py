import json

import pytest

from schemas.claims import Claim, acceptable, decode, encode, fingerprint, fingerprint_of_turn

BODY = {"model": "m", "input": [{"role": "user", "content": "é 😀"}], "temperature": 1.5}


def test_equal_json_is_the_same_request_however_it_is_written():
    wide = json.dumps(BODY, indent=2).encode()
    turned = json.dumps(dict(reversed(BODY.items())), ensure_ascii=False).encode()
    assert wide != turned
    assert fingerprint_of_turn(wide) == fingerprint_of_turn(turned)
    assert fingerprint_of_turn(wide) == fingerprint("POST", "/v1/responses", turned)


@pytest.mark.parametrize(
    "other",
    [
        {**BODY, "input": []},
        {**BODY, "temperature": 1.6},
        {**BODY, "stream": True},
        {**BODY, "user": None},
        {**BODY, "input": "é 😀"},
    ],
)
def test_another_body_is_another_request(other: dict[str, object]):
    asked, given = json.dumps(BODY).encode(), json.dumps(other).encode()
    assert fingerprint_of_turn(asked) != fingerprint_of_turn(given)


def test_another_path_or_method_is_another_request():
    told = {
        fingerprint("POST", "/v1/conversations", b"{}"),
        fingerprint("POST", "/v1/conversations/conv_1/items", b"{}"),
        fingerprint("GET", "/v1/conversations", b"{}"),
        fingerprint("POST", "/v1/conversations", b""),
    }
    assert len(told) == 4


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b'"\\ud800"', b"[" * 5000, b"1e999"])
def test_what_is_no_json_is_what_it_is(payload: bytes):
    assert fingerprint_of_turn(payload) == fingerprint_of_turn(payload)
    assert fingerprint_of_turn(payload) != fingerprint_of_turn(payload + b" x")


@pytest.mark.parametrize("key", ["a", "~" * 255, "5f3c-11", "*.>", '"quoted"', "a/b?c=d"])
def test_a_key_is_made_of_visible_ascii_characters(key: str):
    assert acceptable(key)


@pytest.mark.parametrize("key", ["", "a" * 256, "a b", "a\n", "\x7f", "é", "a\t"])
def test_nothing_else_is_a_key(key: str):
    assert not acceptable(key)


def test_a_claim_is_read_as_it_was_written():
    claim = Claim(id="resp_1", conversation_id="conv_1", fingerprint="f")
    assert decode(encode(claim)) == claim
